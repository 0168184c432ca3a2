package coordinator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/carillon-ws/carillon/bench/client"
	"github.com/carillon-ws/carillon/bench/report"
	"github.com/carillon-ws/carillon/bench/target"
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
	if err = gather(c.workers, (*client.Worker).Stall, s.Share, func(n int) { s.Stalled += n }); err != nil {
		return err
	}
	if s.Stalled == 0 {
		return fmt.Errorf("%g%% of %d connections is nobody", 100*s.Share, c.workers.connections())
	}
	c.workers.count(func(connection int) bool { return client.InShare(connection, s.Share) })
	peak := watchRSS(c.fleet)
	d, err := c.workers.deliver(ctx, c.pub, c.load(), nil)
	s.RSSBefore, s.RSSPeak = peak.stop()
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

// resume lets the stalled clients read, until nothing more comes, judges what they got, and makes everybody audience
// again.
func (c *coordinator) resume(ctx context.Context, s *report.Slow) error {
	if err := tell(c.workers, (*client.Worker).Resume, client.None{}); err != nil {
		return err
	}
	const quiet = time.Second
	for heard := -1; heard != c.workers.received(); {
		heard = c.workers.received()
		if err := Wait(ctx, quiet); err != nil {
			return err
		}
	}
	j, err := c.workers.judge(true)
	if err != nil {
		return err
	}
	t, err := c.workers.tally()
	if err != nil {
		return err
	}
	s.Told, s.Unsignaled, s.Cut, s.CutWhy = j.Told, j.Unsignaled, t.Cut, t.CutWhy
	c.workers.connect(1, 0)
	if err := c.workers.awaitReady(ctx, c.workers.connections(), false); err != nil {
		return err
	}
	c.workers.count(nil)
	return tell(c.workers, (*client.Worker).Attend, client.None{})
}

// rssWatch looks at the gateways five times a second and keeps the largest resident memory.
type rssWatch struct {
	begin, peak int64
	done        chan struct{}
	ended       chan struct{}
}

// watchRSS begins to watch; what cannot be looked at is 0.
func watchRSS(f *target.Fleet) *rssWatch {
	w := &rssWatch{done: make(chan struct{}), ended: make(chan struct{})}
	u, _ := f.Usage() // 0: unknown
	w.begin, w.peak = u.RSS, u.RSS
	go func() {
		defer close(w.ended)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				u, _ := f.Usage()
				w.peak = max(w.peak, u.RSS)
			case <-w.done:
				return
			}
		}
	}()
	return w
}

func (w *rssWatch) stop() (begin, peak int64) {
	close(w.done)
	<-w.ended
	return w.begin, w.peak
}

// held are a gateway's own numbers that have to come back to where they were. Counts come back exactly; open files may
// differ by what looks at them, and a heap, measured after a collection, by what pools keep.
func held(before map[string]float64) []report.Held {
	const heap = "go_memstats_heap_alloc_bytes"
	var all []report.Held
	for _, metric := range []string{
		"ws_connections_total", "ws_sockets_active", "ws_subscriptions_active", "ws_channels_active", "ws_backlog_bytes",
		"process_open_fds", heap,
	} {
		v, ok := before[metric]
		if !ok {
			continue
		}
		h := report.Held{Metric: metric, Before: v}
		switch metric {
		case heap:
			h.Slack = max(v/4, 4<<20)
		case "process_open_fds":
			h.Slack = 4
		}
		all = append(all, h)
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
	if _, err := c.workers.tally(); err != nil {
		return err
	}
	if err := c.workers.expect(nil, false); err != nil {
		return err
	}
	start := time.Now()
	if v.Vanished, err = c.workers.leaveAndReturn(v.Share, c.cfg.Ramp, true); err != nil {
		return err
	}
	if err := c.workers.awaitReady(ctx, c.workers.connections(), false); err != nil {
		return err
	}
	v.Seconds = time.Since(start).Seconds()
	t, err := c.workers.tally()
	if err != nil {
		return err
	}
	v.Connect = report.Summarize(t.Connect)
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

// outage publishes on a schedule while something is killed and comes back. It fills in what the clients saw.
func (c *coordinator) outage(ctx context.Context, p *report.Phase, o *report.Outage, down time.Duration, happen func(context.Context) error) error {
	l := c.openLoad(outageLead + down + outageTail)
	pub := &tolerantPublisher{Publisher: c.pub}
	if err := c.workers.behave(client.Manner{Return: true, Avoid: -1}); err != nil {
		return err
	}
	d, err := c.workers.deliver(ctx, pub, l, func(ctx context.Context) error {
		if err := Wait(ctx, outageLead); err != nil {
			return err
		}
		if err := happen(ctx); err != nil {
			return err
		}
		back := c.workers.clock.Now()
		c.workers.tracker.awaitHealing(back)
		err := poll(ctx, 10*time.Millisecond, 60*time.Second, func(context.Context) (bool, error) {
			return c.workers.tracker.healed() > 0 && c.workers.ready() == c.workers.connections(), nil
		})
		o.Healed = time.Duration(max(c.workers.tracker.healed(), c.workers.clock.Now()) - back).Seconds()
		return err
	})
	if err != nil {
		return err
	}
	d.keep(p)
	o.Result, o.Cut, o.CutWhy, o.Unpublished = d.Delivered, d.tally.Cut, d.tally.CutWhy, pub.failed
	j, err := c.workers.judge(false)
	if err != nil {
		return err
	}
	o.Up, o.Told, o.Signaled, o.Unsignaled = j.Up, j.Told, j.Signaled, j.Unsignaled
	o.OK = o.Up == c.workers.connections() && o.Unsignaled == 0 && d.Duplicated == 0 && d.Reordered == 0 && d.Misdelivered == 0
	return c.workers.behave(client.Manner{Avoid: -1})
}

// killRedis kills the gateways' Redis and starts it again after a while.
func (c *coordinator) killRedis(ctx context.Context, p *report.Phase) error {
	server := c.fleet.Server
	if server == nil {
		return errors.New("it must be ours to be killed: leave out -redis and -url")
	}
	o := &report.Outage{}
	err := c.outage(ctx, p, o, c.cfg.KillRedis, func(ctx context.Context) error {
		start := time.Now()
		server.Child.Kill()
		if err := Wait(ctx, c.cfg.KillRedis); err != nil {
			return err
		}
		err := server.Start(ctx)
		o.Down = time.Since(start).Seconds()
		return err
	})
	if err == nil {
		c.result.Redis = o
	}
	return err
}

// killGateway kills one of the gateways and starts it again at once; its clients go to the others, if there are any.
func (c *coordinator) killGateway(ctx context.Context, p *report.Phase) error {
	const victim = 0
	g := c.fleet.All()[victim]
	if g.Start == nil {
		return errors.New("it must be ours to be killed: leave out -url")
	}
	o := &report.Outage{}
	err := c.outage(ctx, p, o, 0, func(ctx context.Context) error {
		if err := c.workers.behave(client.Manner{Return: true, Avoid: victim}); err != nil {
			return err
		}
		start := time.Now()
		g.Own.Kill()
		again, err := g.Start(ctx)
		if err != nil {
			return err
		}
		c.fleet.Replace(victim, again)
		o.Down = time.Since(start).Seconds()
		return nil
	})
	if err == nil {
		c.result.Gateway = o
	}
	return err
}

// tolerantPublisher counts what cannot be published, and goes on: that is what an outage is about.
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
