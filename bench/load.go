package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"time"
)

// settleTime is how long a gateway is left alone between connecting and the look at its memory.
const settleTime = 2 * time.Second

// runLoad is a run without -vs-floor: ramp, settle, steady, report.
func runLoad(ctx context.Context, cfg *config, stdout, stderr io.Writer) (err error) {
	g, err := findTarget(ctx, cfg, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.stop()) }()

	r, err := measure(ctx, cfg, g, stderr)
	if err != nil {
		return err
	}
	printReport(stdout, r)
	if cfg.json != "" {
		if err := writeJSON(cfg.json, r); err != nil {
			return err
		}
	}
	if !r.OK {
		return errUndelivered
	}
	return nil
}

// findTarget is findGateway, or what stands in for one when publications go to a floor server.
func findTarget(ctx context.Context, cfg *config, stderr io.Writer) (*gateway, error) {
	u, err := url.Parse(cfg.redis)
	if err != nil || u.Scheme != floorScheme {
		return findGateway(ctx, cfg, stderr)
	}
	p, err := dialFloor(ctx, u.Host)
	if err != nil {
		return nil, err
	}
	defer p.Close() //nolint:errcheck // the answer has come, or its error is returned
	s, err := p.stats(ctx)
	if err != nil {
		return nil, fmt.Errorf("floor server at %s: %w", cfg.redis, err)
	}
	g := &gateway{info: info{Name: "floor", URL: cfg.url, PID: s.PID, Loops: 1}, redis: cfg.redis, thread: s.Thread}
	g.local = isLocal(s.PID, "http://"+u.Host)
	return g, nil
}

// measure runs the phases against a gateway.
func measure(ctx context.Context, cfg *config, g *gateway, stderr io.Writer) (*result, error) {
	t, err := resolve(ctx, g.info.URL)
	if err != nil {
		return nil, err
	}
	if err := checkLimits(t, cfg.connections); err != nil {
		return nil, err
	}
	pub, err := newPublisher(ctx, g.redis)
	if err != nil {
		return nil, err
	}
	defer pub.Close() //nolint:errcheck // every batch was answered
	e, err := newEngine(t, cfg.connections, cfg.channels, workers())
	if err != nil {
		return nil, err
	}
	defer e.close()
	status := startStatus(e, stderr)
	defer status.stop()

	r := newResult(cfg, g)
	if err := r.connect(ctx, e, g, cfg.ramp, cfg.settle, status.phase); err != nil {
		return nil, err
	}
	status.phase("steady")
	var probe *prober
	if cfg.pingEvery > 0 {
		if probe, err = startProber(ctx, g.info.URL, cfg.pingEvery); err != nil {
			return nil, err
		}
	}
	l := load{rate: cfg.rate, inflight: cfg.inflight, duration: cfg.duration, payload: cfg.payload}
	r.Steady, r.Cost, r.Generator, err = publishAndWatch(ctx, e, pub, l, g)
	if probe != nil {
		var probeErr error
		r.Ping, probeErr = probe.stop()
		err = errors.Join(err, probeErr)
	}
	if err != nil {
		return nil, err
	}
	r.OK = r.Steady.clean()
	return r, r.faults(ctx, e, pub, l, g, cfg, status.phase)
}

// faults are the phases of -slow and -vanish.
func (r *result) faults(ctx context.Context, e *engine, pub publisher, l load, g *gateway, cfg *config, phase func(string)) (err error) {
	if cfg.slow > 0 && e.ready() > 0 {
		phase("slow")
		if r.Slow, err = slowPhase(ctx, e, pub, l, g, cfg.slow, r.Steady); err != nil {
			return err
		}
		r.OK = r.OK && r.Slow.OK
	}
	if cfg.vanish > 0 {
		phase("vanish")
		if r.Vanish, err = vanishPhase(ctx, e, pub, l, g, cfg.vanish, cfg.ramp); err != nil {
			return err
		}
		r.OK = r.OK && r.Vanish.OK
	}
	return nil
}

// connect is the phases ramp and settle: it fills in what they bring.
func (r *result) connect(ctx context.Context, e *engine, g *gateway, perSecond float64, settle time.Duration, phase func(string)) error {
	before, err := g.usage()
	if err != nil {
		return err
	}
	phase("ramp")
	if r.Ramp, err = e.ramp(ctx, perSecond); err != nil {
		return err
	}
	connected, err := g.usage()
	if err != nil {
		return err
	}
	phase("settle")
	if err := wait(ctx, settle); err != nil {
		return err
	}
	if !g.local {
		return nil
	}
	settled, err := g.usage()
	if err != nil {
		return err
	}
	n := uint64(e.connections)
	r.Server = &serverResult{
		RSSBefore: before.rss, RSSAfter: settled.rss,
		PerConnection: float64(settled.rss-before.rss) / float64(n),
		Threads:       settled.threads,
		Connect:       costOf(before, connected, n),
		IdleCores:     (settled.cpu - connected.cpu).Seconds() / settled.at.Sub(connected.at).Seconds(),
	}
	if g.admin != nil {
		r.Server.Goroutines = g.admin.goroutines(ctx)
	}
	return nil
}

// publishAndWatch is the phase steady, with what it costs the gateway (nil when its process is not here) and us.
func publishAndWatch(ctx context.Context, e *engine, pub publisher, l load, g *gateway) (s *steadyResult, cost, self *cpuCost, err error) {
	before, err := g.usage()
	if err != nil {
		return nil, nil, nil, err
	}
	selfBefore := selfUsage()
	if s, err = e.steady(ctx, pub, l); err != nil {
		return nil, nil, nil, err
	}
	self = costOf(selfBefore, selfUsage(), s.Received)
	after, err := g.usage()
	if err != nil && !s.clean() {
		return s, nil, self, nil // the server ended under the load: what the clients saw says more
	}
	if err != nil {
		return nil, nil, nil, err
	}
	if g.local {
		cost = costOf(before, after, s.Received)
	}
	return s, cost, self, nil
}

// usage looks at the gateway's process, if it is here.
func (g *gateway) usage() (usage, error) {
	if !g.local {
		return usage{}, nil
	}
	return readUsage(g.info.PID, g.thread)
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
