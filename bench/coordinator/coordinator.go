package coordinator

import (
	"cmp"
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
	monitor *monitor
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

// Conduct is one whole run: preflight, gateways, workers, phases. It hands the result to done before it takes
// everything down, which takes a while if there are many: what was measured does not wait for that, and is not lost to it.
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
	targets, err := f.Targets()
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
	c.monitor = startMonitor(ctx, c, stderr)
	err = c.play(ctx)
	c.result.Series = c.monitor.stop()
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
	c.monitor.enter(name)
	p := &report.Phase{Name: name, Begin: time.Since(c.begun).Seconds()}
	c.workers.Busy() // from here on
	if err := cmp.Or(step(ctx, p), c.workers.broken()); err != nil {
		return err
	}
	p.End = time.Since(c.begun).Seconds()
	p.Busiest = c.workers.Busy()
	c.result.Phases = append(c.result.Phases, p)
	return nil
}

func (c *coordinator) snapshot() snapshot {
	memory, _ := host.ReadMemory() // 0: unknown
	return snapshot{server: c.fleet.Usage(), bench: c.workers.usage(), memory: memory}
}

// ramp connects, upgrades and subscribes every client.
func (c *coordinator) ramp(ctx context.Context, p *report.Phase) error {
	c.atStart = c.snapshot()
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
	if connected := c.snapshot(); c.fleet.Local() {
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
	return c.tally(), took, nil
}

func rampOf(c *Workers, t *client.Tally, took time.Duration) report.Ramp {
	return report.Ramp{
		Connections: c.connections(), Seconds: took.Seconds(), PerSecond: float64(c.connections()) / took.Seconds(),
		Latency: report.Summarize(t.Connect),
	}
}

// settle leaves everything alone, and then looks at what the connections cost.
func (c *coordinator) settle(ctx context.Context, _ *report.Phase) error {
	before := c.snapshot()
	if err := Wait(ctx, c.cfg.Settle); err != nil {
		return err
	}
	after := c.snapshot()
	switch {
	case c.result.Server == nil:
		return nil
	case after.server.CPU == 0:
		return errors.New("a gateway is gone")
	}
	n := float64(c.workers.connections())
	s := c.result.Server
	s.RSSBefore, s.RSSAfter, s.Threads = c.atStart.server.RSS, after.server.RSS, after.server.Threads
	s.PerConnection = float64(s.RSSAfter-s.RSSBefore) / n
	s.IdleCores = (after.server.CPU - before.server.CPU).Seconds() / after.server.At.Sub(before.server.At).Seconds()
	s.SlabEach = float64(after.memory.Slab-c.atStart.memory.Slab) / n
	s.MemoryEach = float64(c.atStart.memory.Available-after.memory.Available) / n
	s.BenchRSSEach = float64(after.bench.RSS-c.atStart.bench.RSS) / n
	if numbers, err := c.fleet.Metrics(ctx, false); err == nil { // it is only told, and a run does not end without it
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
		Workers: report.Workers{Processes: len(c.all), Threads: len(c.all) * c.plan.Threads},
	}
	if len(gateways) > 1 {
		for _, g := range gateways {
			r.Target.URLs = append(r.Target.URLs, g.Info.URL)
		}
	}
	for _, w := range c.all {
		if w.There != nil && w.own == nil {
			r.Workers.Remote = append(r.Workers.Remote, report.Clock{
				Worker: w.where, OffsetUs: w.There.Offset.Microseconds(), BoundUs: w.There.Bound.Microseconds(),
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
