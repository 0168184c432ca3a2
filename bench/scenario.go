package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/carillon-ws/carillon/bench/client"
	"github.com/carillon-ws/carillon/bench/coordinator"
	"github.com/carillon-ws/carillon/bench/floor"
	"github.com/carillon-ws/carillon/bench/host"
	"github.com/carillon-ws/carillon/bench/publish"
	"github.com/carillon-ws/carillon/bench/report"
	"github.com/carillon-ws/carillon/bench/settings"
	"github.com/carillon-ws/carillon/bench/target"
	"github.com/carillon-ws/carillon/bench/wire"
)

// scenario is one set of connections and the loads they are put under, one after the other. The scenarios are as long as
// the figures need (tick samples for user time want seconds) and as short as five runs of three servers in a few minutes
// allow.
type scenario struct {
	name     string
	channels int
	settle   time.Duration
	steps    []step
}

// step is one load.
type step struct {
	name string
	coordinator.Load
	joins bool // notifications may pile up: the joined floor plays it, too
	few   bool // a publication has few subscribers
}

func scenarios(connections, payload int) []scenario {
	all := []scenario{
		{"broadcast", 1, settings.SettleTime, []step{
			{"one in flight", coordinator.Load{Inflight: 1, Duration: 3 * time.Second}, false, false},
			{"4 in flight", coordinator.Load{Inflight: 4, Duration: 2 * time.Second}, true, false},
			{"24 in flight", coordinator.Load{Inflight: 24, Duration: 2 * time.Second}, true, false},
		}},
		{"channels", settings.ManyChannels, 500 * time.Millisecond, []step{
			{"1,000 channels, 200 in flight", coordinator.Load{Inflight: 200, Duration: 2500 * time.Millisecond}, true, true},
			{"nearly idle", coordinator.Load{Rate: 200, Duration: 4 * time.Second}, false, true},
		}},
		{"a channel each", connections, 500 * time.Millisecond, []step{
			{"a channel each, 200 in flight", coordinator.Load{Inflight: 200, Duration: 2500 * time.Millisecond}, true, true},
		}},
	}
	for i := range all {
		for j := range all[i].steps {
			all[i].steps[j].Payload = payload
		}
	}
	return all
}

// sample is what the scenarios showed on one server, in one run.
type sample struct {
	connect *host.Cost
	rss     float64 // bytes per connection
	steps   map[string]*stepSample
}

type stepSample struct {
	perSecond float64
	cost      *host.Cost
	frames    float64 // a write
	batch     float64 // publications that were handed over at once
	late      late
}

// late is why a step's figures may be bench's own as much as the server's; empty: they are not.
type late struct{ throughput, cost string }

// maxIdle is how many of a closed loop's places may be empty before what a delivery to few subscribers costs is that of
// another load, in which a server sleeps and wakes up for each publication. It is more than what the throughput may lose,
// and to ten thousand subscribers a wake-up is nothing.
const maxIdle = 0.5

// lateness judges a step by what bench's lag could have changed in each of its figures.
func (st *step) lateness(p *report.Phase) (l late) {
	closed := st.Load.Inflight > 0
	for _, f := range p.Generator(closed) {
		l.throughput = fmt.Sprintf("%s: %.0f", strings.TrimPrefix(f.What, p.Name+": "), f.Value.Median)
	}
	lag := time.Duration(p.Result.PublisherLag.P99) * time.Microsecond
	switch {
	case closed && st.few && p.Result.Idle > maxIdle:
		l.cost = l.throughput
	case !closed && lag.Seconds() > 1/st.Load.Rate:
		l.cost = fmt.Sprintf("publications left %s late (p99) and so together", lag)
	}
	return l
}

// play runs a scenario against a server that was just started, and adds what it showed to a sample.
func (sc *scenario) play(ctx context.Context, g *target.Gateway, connections int, s *sample) error {
	f := &target.Fleet{Gateways: []*target.Gateway{g}, Redis: g.Redis}
	targets, err := f.Targets()
	if err != nil {
		return err
	}
	pub, err := publish.Dial(ctx, g.Redis)
	if err != nil {
		return err
	}
	defer pub.Close() //nolint:errcheck // every batch was answered
	c, err := coordinator.Local(coordinator.NewPlan(targets, client.Workload{Connections: connections, Channels: sc.channels}))
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // what could go wrong has been seen

	before := f.Usage()
	if _, _, err := c.Ramp(ctx, 0); err != nil {
		return err
	}
	connected := f.Usage()
	if err := coordinator.Wait(ctx, sc.settle); err != nil {
		return err
	}
	settled := f.Usage()
	if s.connect == nil { // the first scenario is where everything else is equal
		s.connect = host.CostOf(before, connected, uint64(connections))
		s.rss = float64(settled.RSS-before.RSS) / float64(connections)
	}
	for i := range sc.steps {
		if err := sc.steps[i].play(ctx, c, pub, f, s); err != nil {
			return err
		}
	}
	return nil
}

// play publishes the load of a step, and looks what it cost and whether bench kept up.
func (st *step) play(ctx context.Context, c *coordinator.Workers, pub wire.Publisher, f *target.Fleet, s *sample) error {
	c.Busy() // from here on
	framesBefore, writesBefore, err := writes(ctx, pub, f)
	if err != nil {
		return err
	}
	d, cost, _, err := coordinator.DeliverAndWatch(ctx, c, pub, st.Load, f)
	if err != nil {
		return err
	}
	if !d.Clean() || cost == nil {
		return fmt.Errorf("%w: %s", errUndelivered, report.Verdict(d.Delivered))
	}
	frames, writes, err := writes(ctx, pub, f)
	if err != nil {
		return err
	}
	p := report.Phase{Name: st.name, Result: d.Delivered, Busiest: c.Busy()}
	s.steps[st.name] = &stepSample{
		perSecond: d.PerSecond, cost: cost, batch: d.Batch, late: st.lateness(&p),
		frames: (frames - framesBefore) / max(writes-writesBefore, 1),
	}
	return nil
}

// writes is how many notifications a server has sent so far, and in how many writes.
func writes(ctx context.Context, pub wire.Publisher, f *target.Fleet) (frames, writes float64, err error) {
	if p, isFloor := pub.(*floor.Publisher); isFloor {
		s, err := p.Stats(ctx)
		return float64(s.Deliveries), float64(s.Writes), err
	}
	numbers, err := f.Metrics(ctx, false)
	return numbers["ws_messages_sent_total"], numbers["ws_writes_total"], err
}

// Names of the floor's modes in the report.
const (
	oneWrite = "floor, one write"
	joined   = "floor, joined"
)

// criterion is a figure of -vs-floor: how it is taken from a sample, and what is demanded of it.
type criterion struct {
	report.Figure

	step  string // whose figure it is; empty: of connecting
	value func(*sample) float64
	late  string // why runs do not count
}

// criteria are the numbers of gateway/DESIGN.md that must hold, each with the mode of the floor that it is told in, and
// what explains them.
func criteria(loops int) []criterion {
	var all []criterion
	add := func(step, what string, unit report.Unit, against, op string, hold, aim float64, value func(*sample) float64) {
		all = append(all, criterion{report.Figure{
			What: what, Unit: unit, Against: against, Paired: true, OnRatio: against != "" && op != "", Op: op, Hold: hold, Aim: aim,
		}, step, value, ""})
	}
	ofStep := func(step string, of func(*stepSample) float64) func(*sample) float64 {
		return func(s *sample) float64 { return of(s.steps[step]) }
	}
	cpu := func(s *stepSample) float64 { return s.cost.Each }
	frames := func(s *stepSample) float64 { return s.frames }
	add("one in flight", "deliveries/s, one in flight", report.Rate, oneWrite, ">=", 0.85, 0.95, ofStep("one in flight", func(s *stepSample) float64 { return s.perSecond }))
	add("one in flight", "user time per delivery, one in flight", report.Time, oneWrite, "<=", 1.3, 1.1, ofStep("one in flight", func(s *stepSample) float64 { return s.cost.User }))
	joinedHold, joinedAim := 1.15, 1.05
	if loops > 1 {
		joinedHold, joinedAim = 1.4, 1.2 // each loop has its own turn, in which less has piled up
	}
	// coalesced is a step in which notifications may leave together: beside both modes of the floor, one of which decides.
	coalesced := func(step, decides string, hold, aim float64) {
		for _, against := range []string{oneWrite, joined} {
			op := "<="
			if against != decides {
				op = ""
			}
			add(step, "CPU per delivery, "+step, report.Time, against, op, hold, aim, ofStep(step, cpu))
		}
		add(step, "frames per write, "+step, report.Frames, joined, "", 0, 0, ofStep(step, frames))
	}
	coalesced("4 in flight", joined, joinedHold, joinedAim)
	coalesced("24 in flight", oneWrite, 0.3, 0.25)
	coalesced("1,000 channels, 200 in flight", oneWrite, 1.2, 1)
	coalesced("a channel each, 200 in flight", oneWrite, 1.4, 1.15)
	add("a channel each, 200 in flight", "publications per batch, a channel each", report.Batches, joined, "", 0, 0,
		ofStep("a channel each, 200 in flight", func(s *stepSample) float64 { return s.batch }))
	add("nearly idle", "CPU per delivery, nearly idle", report.Time, oneWrite, "<=", 2, 1.4, ofStep("nearly idle", cpu))
	add("", "CPU per connect + upgrade + subscribe", report.Time, oneWrite, "<=", 1.6, 1.2, func(s *sample) float64 { return s.connect.Each })
	add("", "RSS per connection, 2 s idle", report.Bytes, "", "<=", 1000, 700, func(s *sample) float64 { return s.rss })
	return all
}

// add takes one run of all servers, by name. A step in which bench did not keep up with one of them does not count.
func (c *criterion) add(run map[string]*sample) {
	base, gateway := run[c.Against], run["gateway"]
	if c.step != "" {
		why := [2]late{gateway.steps[c.step].late, base.steps[c.step].late}
		late := cmp.Or(why[0].cost, why[1].cost)
		if c.Unit == report.Rate {
			late = cmp.Or(why[0].throughput, why[1].throughput)
		}
		if late != "" {
			c.late = late
			return
		}
	}
	c.Values = append(c.Values, c.value(gateway))
	if base != nil {
		c.Base = append(c.Base, c.value(base))
	}
}

// judge judges the figure after so many runs: with fewer than half of them it is not known.
func (c *criterion) judge(runs int) *report.Figure {
	if missing := runs - len(c.Values); missing > 0 {
		c.Note = fmt.Sprintf("%d of %d runs do not count, bench did not keep up: %s", missing, runs, c.late)
		if 2*missing > runs && c.Op != "" {
			c.Status = report.Invalid
		}
	}
	return c.Judge()
}
