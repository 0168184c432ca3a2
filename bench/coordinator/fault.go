package coordinator

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/carillon-ws/carillon/bench/client"
	"github.com/carillon-ws/carillon/bench/report"
	"github.com/carillon-ws/carillon/bench/wire"
)

// Memory that stalled connections may cost the gateways: their default backlog each, and room for their collectors.
const (
	slowBoundEach = 1 << 20
	slowBoundRest = 64 << 20
)

// slow repeats the load while a share of the subscribers does not read, and then lets them read what there is.
func (c *coordinator) slow(ctx context.Context, p *report.Phase) (err error) {
	s := &report.Slow{Share: c.cfg.Slow, Bounded: true}
	if c.result.Steady != nil {
		s.P99Before = c.result.Steady.Delivery.P99
	}
	gather(c.workers, (*client.Worker).Stall, s.Share, func(_ *worker, n int) { s.Stalled += n })
	if s.Stalled == 0 {
		return fmt.Errorf("%g%% of %d connections is nobody", 100*s.Share, c.workers.connections())
	}
	c.workers.count(func(connection int) bool { return client.InShare(connection, s.Share) })
	before := c.fleet.Usage()
	s.RSSBefore, s.RSSPeak = before.RSS, before.RSS
	watching, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		_ = poll(watching, 200*time.Millisecond, math.MaxInt64, func(context.Context) (bool, error) {
			s.RSSPeak = max(s.RSSPeak, c.fleet.Usage().RSS)
			return false, nil
		})
	})
	d, err := c.workers.deliver(ctx, c.pub, c.load(), nil)
	stop()
	watch.Wait()
	if err != nil {
		return err
	}
	d.keep(p)
	s.Others, s.P99During = d.Delivered, d.Delivery.P99
	if err := c.resume(ctx, s); err != nil {
		return err
	}
	if s.RSSPeak > 0 {
		s.RSSBound = s.RSSBefore + int64(s.Stalled)*slowBoundEach + int64(len(c.fleet.All()))*slowBoundRest
		s.Bounded = s.RSSPeak <= s.RSSBound
	}
	s.OK = s.Others.Clean() && s.Bounded && s.Unsignaled == 0
	c.result.Slow = s
	return nil
}

// resume lets the stalled clients read, until nothing more comes, and judges what they got.
func (c *coordinator) resume(ctx context.Context, s *report.Slow) error {
	tell(c.workers, (*client.Worker).Resume, client.None{})
	const quiet = time.Second
	for heard := -1; heard != c.workers.received(); {
		heard = c.workers.received()
		if err := Wait(ctx, quiet); err != nil {
			return err
		}
	}
	j, t := c.workers.judge(true), c.workers.tally()
	s.Told, s.Unsignaled, s.Cut, s.CutWhy = j.Told, j.Unsignaled, t.Cut, t.CutWhy
	c.workers.connect(1, 0)
	if err := c.workers.awaitReady(ctx, c.workers.connections(), false); err != nil {
		return err
	}
	c.workers.count(nil)
	return nil
}

// mustReturn are a gateway's own numbers that have to come back to where they were, with how much more of a number is
// still the same. Counts come back exactly; open files may differ by what looks at them, and a heap, measured after a
// collection, by what pools keep.
var mustReturn = []struct {
	metric string
	slack  func(before float64) float64
}{
	{"ws_connections_total", exactly},
	{"ws_sockets_active", exactly},
	{"ws_subscriptions_active", exactly},
	{"ws_channels_active", exactly},
	{"ws_backlog_bytes", exactly},
	{"process_open_fds", func(float64) float64 { return 4 }},
	{"go_memstats_heap_alloc_bytes", func(v float64) float64 { return max(v/4, 4<<20) }},
}

func exactly(float64) float64 { return 0 }

func held(before map[string]float64) (all []report.Held) {
	for _, m := range mustReturn {
		if v, ok := before[m.metric]; ok {
			all = append(all, report.Held{Metric: m.metric, Before: v, Slack: m.slack(v)})
		}
	}
	return all
}

// vanish resets a share of the clients at once and lets as many new ones connect; then it looks whether the gateways
// hold what they held, and publishes once more.
func (c *coordinator) vanish(ctx context.Context, p *report.Phase) error {
	v := &report.Vanish{Share: c.cfg.Vanish}
	before, err := c.fleet.Metrics(ctx, true)
	if err != nil {
		return err
	}
	v.Held = held(before)
	c.workers.tally()
	c.workers.expect(client.Schedule{}, false)
	start := time.Now()
	v.Vanished = c.workers.leaveAndReturn(v.Share, c.cfg.Ramp, true)
	if err := c.workers.awaitReady(ctx, c.workers.connections(), false); err != nil {
		return err
	}
	v.Seconds = time.Since(start).Seconds()
	v.Connect = report.Summarize(c.workers.tally().Connect)
	p.Connect = &v.Connect
	if err := c.comeBack(ctx, v); err != nil {
		return err
	}
	d, err := c.workers.deliver(ctx, c.pub, c.load(), nil)
	if err != nil {
		return err
	}
	d.keep(p)
	v.After = d.Delivered
	v.OK = v.Problem == "" && v.After.Clean()
	c.result.Vanish = v
	return nil
}

// comeBack waits until the gateways hold no more than before, and notes what they do hold more in the end.
func (c *coordinator) comeBack(ctx context.Context, v *report.Vanish) error {
	if len(v.Held) == 0 {
		return nil
	}
	return poll(ctx, 200*time.Millisecond, c.workers.patience, func(ctx context.Context) (bool, error) {
		now, err := c.fleet.Metrics(ctx, true)
		if err != nil {
			return false, err
		}
		v.Problem = ""
		for i := range v.Held {
			h := &v.Held[i]
			h.After = now[h.Metric]
			over, under := h.After > h.Before+h.Slack, h.Slack == 0 && h.After < h.Before // a count that is not back yet
			if v.Problem == "" && (over || under) {
				v.Problem = fmt.Sprintf("%s was %.0f and is %.0f", h.Metric, h.Before, h.After)
			}
		}
		return v.Problem == "", nil
	})
}

// Times around an outage: publications before it, and after its end.
const (
	outageLead = time.Second
	outageTail = 4 * time.Second
)

// outage publishes on a schedule while something is killed and comes back; clients that lose their connection come back,
// but not to the target to avoid.
func (c *coordinator) outage(ctx context.Context, p *report.Phase, avoid int, down time.Duration, happen func(context.Context) error) (*report.Outage, error) {
	o := new(report.Outage)
	pub := &tolerantPublisher{Publisher: c.pub}
	c.workers.behave(client.Manner{Return: true, Avoid: avoid})
	d, err := c.workers.deliver(ctx, pub, c.openLoad(outageLead+down+outageTail), func(ctx context.Context) error {
		if err := Wait(ctx, outageLead); err != nil {
			return err
		}
		begin := c.workers.clock.Now()
		if err := happen(ctx); err != nil {
			return err
		}
		back := c.workers.clock.Now()
		c.workers.tracker.awaitHealing(back)
		err := poll(ctx, 10*time.Millisecond, 60*time.Second, func(context.Context) (bool, error) {
			return c.workers.tracker.healed() > 0 && c.workers.ready() == c.workers.connections(), c.workers.broken()
		})
		o.Down = time.Duration(back - begin).Seconds()
		o.Healed = time.Duration(max(c.workers.tracker.healed(), c.workers.clock.Now()) - back).Seconds()
		return err
	})
	if err != nil {
		return nil, err
	}
	d.keep(p)
	o.Result, o.Cut, o.CutWhy, o.Unpublished = d.Delivered, d.tally.Cut, d.tally.CutWhy, pub.failed
	j := c.workers.judge(false)
	o.Up, o.Told, o.Signaled, o.Unsignaled = j.Up, j.Told, j.Signaled, j.Unsignaled
	o.OK = o.Up == c.workers.connections() && o.Unsignaled == 0 && d.Duplicated == 0 && d.Reordered == 0 && d.Misdelivered == 0
	c.workers.behave(client.Manner{Avoid: -1})
	return o, nil
}

// killRedis kills the gateways' Redis and starts it again after a while.
func (c *coordinator) killRedis(ctx context.Context, p *report.Phase) (err error) {
	server := c.fleet.Server
	if server == nil {
		return errors.New("it must be ours to be killed: leave out -redis and -url")
	}
	c.result.Redis, err = c.outage(ctx, p, -1, c.cfg.KillRedis, func(ctx context.Context) error {
		server.Child.Kill()
		if err := Wait(ctx, c.cfg.KillRedis); err != nil {
			return err
		}
		return server.Start(ctx)
	})
	return err
}

// killGateway kills one of the gateways and starts it again at once; its clients go to the others, if there are any.
func (c *coordinator) killGateway(ctx context.Context, p *report.Phase) (err error) {
	const victim = 0
	g := c.fleet.All()[victim]
	if g.Start == nil {
		return errors.New("it must be ours to be killed: leave out -url")
	}
	c.result.Gateway, err = c.outage(ctx, p, victim, 0, func(ctx context.Context) error {
		g.Own.Kill()
		again, err := g.Start(ctx)
		if err == nil {
			c.fleet.Replace(victim, again)
		}
		return err
	})
	return err
}

// tolerantPublisher counts what cannot be published, and goes on, as an application does in an outage.
type tolerantPublisher struct {
	wire.Publisher

	failed int
}

func (p *tolerantPublisher) Publish(ctx context.Context, batch []wire.Publication) error {
	if err := p.Publisher.Publish(ctx, batch); err != nil {
		p.failed += len(batch)
	}
	return ctx.Err()
}
