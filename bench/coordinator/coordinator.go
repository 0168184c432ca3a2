package coordinator

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
	"github.com/carillon-ws/carillon/bench/settings"
	"github.com/carillon-ws/carillon/bench/target"
	"github.com/carillon-ws/carillon/bench/wire"
)

// coordinator leads one run through its phases.
type coordinator struct {
	cfg     *settings.Config
	fleet   *target.Fleet
	workers *Workers
	pub     wire.Publisher
	status  *status
	begun   time.Time
	result  *report.Result

	atStart      snapshot // before the first connection
	othersBefore float64  // connections that the gateways had by then
}

// snapshot is what the machine and the processes of a run showed at one moment.
type snapshot struct {
	server, bench host.Usage
	memory        host.Memory
}

// Conduct is one whole run: preflight, gateways, workers, phases. It workers the result over before it takes everything
// down again, which takes a while when there are many: what was measured should not wait for that, nor be lost to it.
func Conduct(ctx context.Context, cfg *settings.Config, stderr io.Writer, done func(*report.Result) error) (err error) {
	checked, err := preflight(cfg)
	if err != nil {
		return err
	}
	f, err := target.Find(ctx, cfg, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Stop()) }()
	targets, err := f.Targets(ctx)
	if err != nil {
		return err
	}
	if err := checkTargets(ctx, cfg, f, targets); err != nil {
		return err
	}
	pub, err := openPublisher(ctx, cfg, f, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pub.Close()) }()
	plan := NewPlan(targets, cfg.Workload())
	plan.Speech, plan.Sources = cfg.Speech, cfg.Sources
	workers, err := assemble(ctx, cfg, plan)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, workers.Close()) }()
	defer context.AfterFunc(ctx, workers.abandon)()

	c := &coordinator{cfg: cfg, fleet: f, workers: workers, pub: pub, begun: time.Now(), result: newResult(cfg, f, workers)}
	c.result.Preflight = checked
	c.status = startStatus(workers, stderr, cfg.Progress)
	m := startMonitor(ctx, c)
	err = c.play(ctx)
	c.result.Series = m.stop()
	c.status.stop()
	if len(c.result.Phases) == 0 {
		return err
	}
	c.result.Finish(cfg.Demands) // what was measured before an error is not lost with it
	if err != nil {
		c.result.OK, c.result.Error = false, err.Error()
	}
	if ctx.Err() != nil {
		c.result.Error = "interrupted"
	}
	return errors.Join(err, done(c.result))
}

// play goes through the phases.
func (c *coordinator) play(ctx context.Context) error {
	steps := map[string]func(context.Context, *report.Phase) error{
		"ramp": c.ramp, "settle": c.settle, "steady": c.steady, "burst": c.burst, "churn": c.churn, "storm": c.storm,
		"slow": c.slow, "vanish": c.vanish, "kill-redis": c.killRedis, "kill-gateway": c.killGateway, "drain": c.drain,
	}
	for _, name := range c.cfg.Phases {
		if err := c.phase(ctx, name, steps[name]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// phase runs one of them and keeps its row.
func (c *coordinator) phase(ctx context.Context, name string, step func(context.Context, *report.Phase) error) error {
	c.status.phase(name)
	p := &report.Phase{Name: name, Begin: time.Since(c.begun).Seconds()}
	before, err := c.workers.Threads()
	if err != nil {
		return err
	}
	if err := step(ctx, p); err != nil {
		return err
	}
	p.End = time.Since(c.begun).Seconds()
	if p.Busiest, err = c.workers.Busy(before); err != nil {
		return err
	}
	c.result.Phases = append(c.result.Phases, p)
	return nil
}

func (c *coordinator) snapshot() (l snapshot, err error) {
	if l.server, err = c.fleet.Usage(); err != nil {
		return l, err
	}
	l.bench = c.workers.usage()
	l.memory, err = host.ReadMemory()
	return l, err
}

// ramp connects, upgrades and subscribes every client.
func (c *coordinator) ramp(ctx context.Context, p *report.Phase) (err error) {
	if c.atStart, err = c.snapshot(); err != nil {
		return err
	}
	numbers, err := c.fleet.Metrics(ctx, false)
	if err != nil {
		return err
	}
	c.othersBefore = numbers["ws_connections_total"]
	t, took, err := c.workers.Ramp(ctx, c.cfg.Ramp)
	if err != nil {
		return err
	}
	c.result.Ramp = rampOf(c.workers, t, took)
	p.Connect, p.Curve = &c.result.Ramp.Latency, report.CurveOf(t.Connect)
	connected, err := c.snapshot()
	if err != nil {
		return err
	}
	if c.fleet.Local() {
		c.result.Server = &report.Server{Connect: host.CostOf(c.atStart.server, connected.server, uint64(c.workers.connections()))}
	}
	return nil
}

// Ramp connects everybody; perSecond 0 is as fast as the server takes them.
func (c *Workers) Ramp(ctx context.Context, perSecond float64) (*client.Tally, time.Duration, error) {
	start := c.clock.Now()
	c.connect(1, perSecond)
	if err := c.awaitReady(ctx, c.connections(), false); err != nil {
		return nil, 0, err
	}
	took := time.Duration(c.clock.Now() - start)
	t, err := c.tally()
	return t, took, err
}

func rampOf(c *Workers, t *client.Tally, took time.Duration) report.Ramp {
	return report.Ramp{
		Connections: c.connections(), Seconds: took.Seconds(), PerSecond: float64(c.connections()) / took.Seconds(),
		Latency: report.Summarize(t.Connect),
	}
}

// settle leaves everything alone, and then looks at what the connections cost.
func (c *coordinator) settle(ctx context.Context, _ *report.Phase) error {
	before, err := c.snapshot()
	if err != nil {
		return err
	}
	if err := Wait(ctx, c.cfg.Settle); err != nil {
		return err
	}
	after, err := c.snapshot()
	if err != nil || c.result.Server == nil {
		return err
	}
	n := float64(c.workers.connections())
	s := c.result.Server
	s.RSSBefore, s.RSSAfter, s.Threads = c.atStart.server.RSS, after.server.RSS, after.server.Threads
	s.PerConnection = float64(s.RSSAfter-s.RSSBefore) / n
	s.IdleCores = (after.server.CPU - before.server.CPU).Seconds() / after.server.At.Sub(before.server.At).Seconds()
	s.SlabEach = float64(after.memory.Slab-c.atStart.memory.Slab) / n
	s.MemoryEach = float64(c.atStart.memory.Available-after.memory.Available) / n
	s.BenchRSSEach = float64(after.bench.RSS-c.atStart.bench.RSS) / n
	if numbers, err := c.fleet.Metrics(ctx, false); err == nil { // a figure beside the report, not worth a run
		s.Goroutines = int(numbers["go_goroutines"])
	}
	return nil
}

// newResult says what is going to be measured.
func newResult(cfg *settings.Config, f *target.Fleet, c *Workers) *report.Result {
	gateways := f.All()
	g := gateways[0]
	r := &report.Result{
		Schema: report.Schema, Kind: "load", Name: cfg.Name, When: time.Now().UTC().Truncate(time.Second), Command: os.Args,
		Machine: host.ThisMachine(),
		Target: report.Target{
			URL: g.Info.URL, Name: g.Info.Name, Version: g.Info.Version, PID: g.Info.PID, Loops: g.Info.Loops,
			Gateways: len(gateways), Own: g.Own != nil, RedisEmbedded: g.Info.RedisEmbedded,
		},
		Load: report.Load{
			Connections: cfg.Connections, Channels: c.load.Channels, Zipf: cfg.Zipf, Rate: cfg.Rate, Inflight: cfg.Inflight,
			Payload: cfg.Payload, Seconds: cfg.Duration.Seconds(), Ramp: cfg.Ramp, Publish: cfg.Publish,
		},
		Workers: report.Workers{Processes: len(c.all)},
	}
	if len(gateways) > 1 {
		for _, g := range gateways {
			r.Target.URLs = append(r.Target.URLs, g.Info.URL)
		}
	}
	if threads, err := c.Threads(); err == nil {
		r.Workers.Threads = len(threads.cpu)
	}
	for _, h := range c.all {
		if h.There != nil && h.own == nil {
			r.Workers.Remote = append(r.Workers.Remote, report.Clock{
				Worker: h.where, OffsetUs: h.There.Offset.Microseconds(), BoundUs: h.There.Bound.Microseconds(),
			})
		}
	}
	return r
}

// Wait waits, or returns early with an error when ctx ends.
func Wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
