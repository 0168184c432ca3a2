package coordinator

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/carillon-ws/carillon/bench/client"
	"github.com/carillon-ws/carillon/bench/host"
	"github.com/carillon-ws/carillon/bench/report"
	"github.com/carillon-ws/carillon/bench/target"
	"github.com/carillon-ws/carillon/bench/wire"
)

// Delivery is a phase of publishing, as far as it has come.
type Delivery struct {
	*report.Delivered

	tally *client.Tally
}

// deliver publishes a load and waits until it is delivered. If during is not nil, it runs meanwhile and changes who is
// connected. Then the load ends with a mark, one publication more to each channel: everybody who is connected in the end
// must hear it, and whoever has heard it has heard what came before.
func (c *Workers) deliver(ctx context.Context, pub wire.Publisher, l Load, during func(context.Context) error) (*Delivery, error) {
	c.expect(client.Schedule{}, true)
	c.tally()
	c.tracker.newPhase()
	p := newPublisher(c, pub, l)
	if err := c.publish(ctx, p, during); err != nil {
		return nil, err
	}
	c.expect(client.Schedule{}, false)
	t := c.tally()
	return c.delivered(p, t, during != nil), c.broken()
}

// publish runs the publisher, and what happens meanwhile.
func (c *Workers) publish(ctx context.Context, p *publisher, during func(context.Context) error) error {
	if during == nil {
		if err := p.run(ctx); err != nil {
			return err
		}
		return p.straggle(ctx)
	}
	group, both := errgroup.WithContext(ctx)
	group.Go(func() error { return during(both) })
	group.Go(func() error { return p.run(both) })
	if err := group.Wait(); err != nil {
		return err
	}
	c.expect(client.Schedule{}, true)
	return c.mark(ctx, p)
}

// mark publishes once to each channel, and waits until everybody has heard it.
func (c *Workers) mark(ctx context.Context, p *publisher) error {
	c.tracker.giveUp()
	for until := p.sent + c.load.Channels; p.sent < until; {
		now := c.clock.Now()
		if err := p.emit(ctx, min(until-p.sent, maxBatch), func(int) int64 { return now }); err != nil {
			return err
		}
	}
	return p.straggle(ctx)
}

func (c *Workers) delivered(p *publisher, t *client.Tally, changing bool) *Delivery {
	took := time.Duration(max(t.Until-p.start, 1)).Seconds()
	if p.load.Inflight == 0 {
		took = max(took, float64(p.sent)/p.load.Rate) // the last interval of a schedule belongs to it
	}
	d := &Delivery{Delivered: &report.Delivered{
		Publications: p.sent, Seconds: took, Expected: p.expect,
		Counts: t.Counts, Closed: c.closed(),
		Delivery: report.Summarize(t.Delivery), PublisherLag: report.Summarize(p.lag), PublisherWait: report.Summarize(p.waited), OnTime: report.Summarize(t.OnTime),
		Batch: float64(p.sent) / float64(max(p.calls, 1)),
	}, tally: t}
	d.Received -= d.Duplicated
	if changing {
		d.Expected = d.Received + d.Lost // a client that is away is not expected to hear
	}
	first, last, onTime := c.tracker.newPhase()
	d.First, d.Last, d.LastOnTime = report.Summarize(first), report.Summarize(last), report.Summarize(onTime)
	if p.load.Inflight > 0 && p.load.count == 0 { // with a count, nobody asks how many a second there are
		d.Idle = time.Duration(p.idle).Seconds() / took / float64(p.load.Inflight)
	}
	d.PerSecond = float64(d.Received) / took
	d.ClosedWhy = c.sum().Failure
	return d
}

// keep makes a delivery the row of a phase.
func (d *Delivery) keep(p *report.Phase) {
	p.Result, p.Curve = d.Delivered, report.CurveOf(d.tally.Delivery)
}

// load is what the flags ask for, in every phase that publishes.
func (c *coordinator) load() Load {
	return Load{Rate: c.cfg.Rate, Inflight: c.cfg.Inflight, Duration: c.cfg.Duration, Payload: c.cfg.Payload}
}

// steady publishes for -duration.
func (c *coordinator) steady(ctx context.Context, p *report.Phase) (err error) {
	var probe *client.Prober
	if c.cfg.PingEvery > 0 {
		if probe, err = client.StartProber(ctx, c.fleet.All()[0].Info.URL, c.cfg.PingEvery); err != nil {
			return err
		}
	}
	d, cost, self, err := DeliverAndWatch(ctx, c.workers, c.pub, c.load(), c.fleet)
	if probe != nil {
		answers, probeErr := probe.Stop()
		if err = errors.Join(err, probeErr); err == nil {
			ping := report.Summarize(*answers)
			c.result.Ping = &ping
		}
	}
	if err != nil {
		return err
	}
	d.keep(p)
	c.result.Steady, c.result.Cost, c.result.Generator = d.Delivered, cost, self
	return nil
}

// DeliverAndWatch is deliver, with what it costs the gateways (nil when that is not known) and us.
func DeliverAndWatch(ctx context.Context, c *Workers, pub wire.Publisher, l Load, f *target.Fleet) (d *Delivery, cost, self *host.Cost, err error) {
	before, selfBefore := f.Usage(), c.usage()
	if d, err = c.deliver(ctx, pub, l, nil); err != nil {
		return nil, nil, nil, err
	}
	if after := f.Usage(); after.CPU > 0 { // else the server is elsewhere, or has ended: what the clients saw says more
		cost = host.CostOf(before, after, d.Received)
	}
	return d, cost, host.CostOf(selfBefore, c.usage(), d.Received), nil
}

// burst publishes one at a time and waits until everybody has heard it.
func (c *coordinator) burst(ctx context.Context, p *report.Phase) error {
	d, err := c.workers.deliver(ctx, c.pub, Load{Inflight: 1, count: c.cfg.Bursts * c.workers.load.Channels, Payload: c.cfg.Payload}, nil)
	if err != nil {
		return err
	}
	d.keep(p)
	c.result.Burst = d.Delivered
	return nil
}
