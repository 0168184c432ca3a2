package main

import (
	"context"
	"fmt"
	"time"

	"github.com/carillon-ws/carillon/bench/client"
	"github.com/carillon-ws/carillon/bench/host"
	"github.com/carillon-ws/carillon/bench/report"
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
	connect *host.Cost
	rss     float64 // bytes per connection
	steps   []stepSample
}

type stepSample struct {
	perSecond float64
	cost      *host.Cost
}

// play runs a scenario against a server that was just started.
func (sc *scenario) play(ctx context.Context, g *gateway, connections int) (*sample, error) {
	f := &fleet{gateways: []*gateway{g}, redis: g.redis}
	targets, err := f.targets(ctx)
	if err != nil {
		return nil, err
	}
	pub, err := dialPublisher(ctx, g.redis)
	if err != nil {
		return nil, err
	}
	defer pub.Close() //nolint:errcheck // every batch was answered
	c, err := localCrew(newPlan(targets, client.Workload{Connections: connections, Channels: sc.channels}))
	if err != nil {
		return nil, err
	}
	defer c.close() //nolint:errcheck // what could go wrong has been seen

	before, err := f.usage()
	if err != nil {
		return nil, err
	}
	if _, _, err := c.ramp(ctx, 0); err != nil {
		return nil, err
	}
	connected, err := f.usage()
	if err != nil {
		return nil, err
	}
	if err := wait(ctx, sc.settle); err != nil {
		return nil, err
	}
	settled, err := f.usage()
	if err != nil {
		return nil, err
	}
	s := &sample{
		connect: host.CostOf(before, connected, uint64(connections)),
		rss:     float64(settled.RSS-before.RSS) / float64(connections),
	}
	for _, l := range sc.steps {
		d, cost, _, err := deliverAndWatch(ctx, c, pub, l, f)
		if err != nil {
			return nil, err
		}
		if !d.Clean() {
			return nil, fmt.Errorf("%w: %s", errUndelivered, report.Verdict(d.Delivered))
		}
		s.steps = append(s.steps, stepSample{perSecond: d.PerSecond, cost: cost})
	}
	return s, nil
}
