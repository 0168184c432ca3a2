package main

import (
	"context"
	"fmt"
	"time"
)

// manyChannels is the number of channels in the scenario of many small ones.
const manyChannels = 1000

// scenario is one set of connections and the loads they are put under, one after the other.
type scenario struct {
	name     string
	channels int
	settle   time.Duration
	steps    []load
}

// The scenarios of -vs-floor, and the places of their steps. They are as long as the figures need (tick samples for
// user time want seconds) and as short as five runs of both servers in a few minutes allow.
const (
	stepOne    = 0 // of broadcast: one publication in flight
	stepFour   = 1
	stepMany   = 2
	stepSpread = 0 // of channels: 200 in flight
	stepIdle   = 1 // of channels: 200 a second
)

func broadcastScenario(payload int) scenario {
	return scenario{name: "broadcast", channels: 1, settle: settleTime, steps: []load{
		stepOne:  {inflight: 1, duration: 3 * time.Second, payload: payload},
		stepFour: {inflight: 4, duration: 2 * time.Second, payload: payload},
		stepMany: {inflight: 24, duration: 2 * time.Second, payload: payload},
	}}
}

func channelsScenario(payload int) scenario {
	return scenario{name: "channels", channels: manyChannels, settle: 500 * time.Millisecond, steps: []load{
		stepSpread: {inflight: 200, duration: 2500 * time.Millisecond, payload: payload},
		stepIdle:   {rate: 200, duration: 4 * time.Second, payload: payload},
	}}
}

// sample is what one scenario showed on one server.
type sample struct {
	connect *cpuCost
	rss     float64 // bytes per connection
	steps   []stepSample
}

type stepSample struct {
	perSecond float64
	cost      *cpuCost
}

// play runs a scenario against a server that was just started.
func (sc *scenario) play(ctx context.Context, g *gateway, connections int) (*sample, error) {
	t, err := resolve(ctx, g.info.URL)
	if err != nil {
		return nil, err
	}
	if err := checkLimits(t, connections); err != nil {
		return nil, err
	}
	pub, err := newPublisher(ctx, g.redis)
	if err != nil {
		return nil, err
	}
	defer pub.Close() //nolint:errcheck // every batch was answered
	e, err := newEngine(t, connections, sc.channels, 1)
	if err != nil {
		return nil, err
	}
	defer e.close()

	var r result
	if err := r.connect(ctx, e, g, 0, sc.settle, func(string) {}); err != nil {
		return nil, err
	}
	s := &sample{connect: r.Server.Connect, rss: r.Server.PerConnection}
	for _, l := range sc.steps {
		steady, cost, _, err := publishAndWatch(ctx, e, pub, l, g)
		if err != nil {
			return nil, err
		}
		if !steady.clean() {
			return nil, fmt.Errorf("%w: %s", errUndelivered, verdict(steady))
		}
		s.steps = append(s.steps, stepSample{perSecond: steady.PerSecond, cost: cost})
	}
	return s, nil
}
