package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/carillon-ws/carillon/bench/client"
	"github.com/carillon-ws/carillon/bench/host"
	"github.com/carillon-ws/carillon/bench/report"
	"github.com/carillon-ws/carillon/bench/wire"
)

// settleTime is how long the gateways are left alone between connecting and the look at their memory.
const settleTime = 2 * time.Second

// conductor leads one run through its phases.
type conductor struct {
	cfg    *config
	fleet  *fleet
	crew   *crew
	pub    wire.Publisher
	status *status
	begun  time.Time
	result *report.Result

	atStart   looks   // before the first connection
	strangers float64 // connections that the gateways had by then
}

// looks is what the machine and the processes of a run showed at one moment.
type looks struct {
	server, bench host.Usage
	memory        host.Memory
}

// conduct is one whole run: preflight, gateways, workers, phases. It hands the result over before it takes everything
// down again, which takes a while when there are many: what was measured should not wait for that, nor be lost to it.
func conduct(ctx context.Context, cfg *config, stderr io.Writer, done func(*report.Result) error) (err error) {
	checked, err := preflight(cfg)
	if err != nil {
		return err
	}
	f, err := findFleet(ctx, cfg, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.stop()) }()
	targets, err := f.targets(ctx)
	if err != nil {
		return err
	}
	if err := checkTargets(ctx, cfg, f, targets); err != nil {
		return err
	}
	pub, err := newPublisher(ctx, cfg, f, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pub.Close()) }()
	plan := newPlan(targets, cfg.workload())
	plan.Speech, plan.Sources = cfg.speech, cfg.sources
	crew, err := assemble(ctx, cfg, plan)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, crew.close()) }()
	defer context.AfterFunc(ctx, crew.abandon)()

	c := &conductor{cfg: cfg, fleet: f, crew: crew, pub: pub, begun: time.Now(), result: newResult(cfg, f, crew)}
	c.result.Preflight = checked
	c.status = startStatus(crew, stderr, cfg.progress)
	m := startMonitor(ctx, c)
	err = c.play(ctx)
	c.result.Series = m.stop()
	c.status.stop()
	if len(c.result.Phases) == 0 {
		return err
	}
	c.result.Finish(cfg.demands) // what was measured before an error is not lost with it
	if err != nil {
		c.result.OK, c.result.Error = false, err.Error()
	}
	if ctx.Err() != nil {
		c.result.Error = "interrupted"
	}
	return errors.Join(err, done(c.result))
}

// play goes through the phases.
func (c *conductor) play(ctx context.Context) error {
	steps := map[string]func(context.Context, *report.Phase) error{
		"ramp": c.ramp, "settle": c.settle, "steady": c.steady, "burst": c.burst, "churn": c.churn, "storm": c.storm,
		"slow": c.slow, "vanish": c.vanish, "kill-redis": c.killRedis, "kill-gateway": c.killGateway, "drain": c.drain,
	}
	for _, name := range c.cfg.phases {
		if err := c.phase(ctx, name, steps[name]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// phase runs one of them and keeps its row.
func (c *conductor) phase(ctx context.Context, name string, step func(context.Context, *report.Phase) error) error {
	c.status.phase(name)
	p := &report.Phase{Name: name, Begin: time.Since(c.begun).Seconds()}
	before, err := c.crew.threads()
	if err != nil {
		return err
	}
	if err := step(ctx, p); err != nil {
		return err
	}
	p.End = time.Since(c.begun).Seconds()
	if p.Busiest, err = c.crew.busy(before); err != nil {
		return err
	}
	c.result.Phases = append(c.result.Phases, p)
	return nil
}

func (c *conductor) look() (l looks, err error) {
	if l.server, err = c.fleet.usage(); err != nil {
		return l, err
	}
	l.bench = c.crew.usage()
	l.memory, err = host.ReadMemory()
	return l, err
}

// ramp connects, upgrades and subscribes every client.
func (c *conductor) ramp(ctx context.Context, p *report.Phase) (err error) {
	if c.atStart, err = c.look(); err != nil {
		return err
	}
	numbers, err := c.fleet.metrics(ctx, false)
	if err != nil {
		return err
	}
	c.strangers = numbers["ws_connections_total"]
	t, took, err := c.crew.ramp(ctx, c.cfg.ramp)
	if err != nil {
		return err
	}
	c.result.Ramp = rampOf(c.crew, t, took)
	p.Connect, p.Curve = &c.result.Ramp.Latency, report.CurveOf(t.Connect)
	connected, err := c.look()
	if err != nil {
		return err
	}
	if c.fleet.local() {
		c.result.Server = &report.Server{Connect: host.CostOf(c.atStart.server, connected.server, uint64(c.crew.connections()))}
	}
	return nil
}

// ramp connects everybody; perSecond 0 is as fast as the server takes them.
func (c *crew) ramp(ctx context.Context, perSecond float64) (*client.Tally, time.Duration, error) {
	start := c.clock.Now()
	c.connect(1, perSecond)
	if err := c.awaitReady(ctx, c.connections(), false); err != nil {
		return nil, 0, err
	}
	took := time.Duration(c.clock.Now() - start)
	t, err := c.tally()
	return t, took, err
}

func rampOf(c *crew, t *client.Tally, took time.Duration) report.Ramp {
	return report.Ramp{
		Connections: c.connections(), Seconds: took.Seconds(), PerSecond: float64(c.connections()) / took.Seconds(),
		Latency: report.Summarize(t.Connect),
	}
}

// settle leaves everything alone, and then looks at what the connections cost.
func (c *conductor) settle(ctx context.Context, _ *report.Phase) error {
	before, err := c.look()
	if err != nil {
		return err
	}
	if err := wait(ctx, c.cfg.settle); err != nil {
		return err
	}
	after, err := c.look()
	if err != nil || c.result.Server == nil {
		return err
	}
	n := float64(c.crew.connections())
	s := c.result.Server
	s.RSSBefore, s.RSSAfter, s.Threads = c.atStart.server.RSS, after.server.RSS, after.server.Threads
	s.PerConnection = float64(s.RSSAfter-s.RSSBefore) / n
	s.IdleCores = (after.server.CPU - before.server.CPU).Seconds() / after.server.At.Sub(before.server.At).Seconds()
	s.SlabEach = float64(after.memory.Slab-c.atStart.memory.Slab) / n
	s.MemoryEach = float64(c.atStart.memory.Available-after.memory.Available) / n
	s.BenchRSSEach = float64(after.bench.RSS-c.atStart.bench.RSS) / n
	if numbers, err := c.fleet.metrics(ctx, false); err == nil { // a figure beside the report, not worth a run
		s.Goroutines = int(numbers["go_goroutines"])
	}
	return nil
}

// newResult says what is going to be measured.
func newResult(cfg *config, f *fleet, c *crew) *report.Result {
	gateways := f.all()
	g := gateways[0]
	r := &report.Result{
		Schema: report.Schema, Kind: "load", Name: cfg.name, When: time.Now().UTC().Truncate(time.Second), Command: os.Args,
		Machine: host.ThisMachine(),
		Target: report.Target{
			URL: g.info.URL, Name: g.info.Name, Version: g.info.Version, PID: g.info.PID, Loops: g.info.Loops,
			Gateways: len(gateways), Own: g.own != nil, RedisEmbedded: g.info.RedisEmbedded,
		},
		Load: report.Load{
			Connections: cfg.connections, Channels: c.load.Channels, Zipf: cfg.zipf, Rate: cfg.rate, Inflight: cfg.inflight,
			Payload: cfg.payload, Seconds: cfg.duration.Seconds(), Ramp: cfg.ramp, Publish: cfg.publish,
		},
		Workers: report.Workers{Processes: len(c.hands)},
	}
	if len(gateways) > 1 {
		for _, g := range gateways {
			r.Target.URLs = append(r.Target.URLs, g.info.URL)
		}
	}
	if threads, err := c.threads(); err == nil {
		r.Workers.Threads = len(threads.cpu)
	}
	for _, h := range c.hands {
		if h.There != nil && h.own == nil {
			r.Workers.Remote = append(r.Workers.Remote, report.Clock{
				Worker: h.where, OffsetUs: h.There.Offset.Microseconds(), BoundUs: h.There.Bound.Microseconds(),
			})
		}
	}
	return r
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
