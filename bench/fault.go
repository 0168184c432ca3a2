package main

import (
	"context"
	"errors"
	"fmt"
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
func (c *conductor) slow(ctx context.Context, p *report.Phase) (err error) {
	s := &report.Slow{Share: c.cfg.slow, Bounded: true}
	if c.result.Steady != nil {
		s.P99Before = c.result.Steady.Delivery.P99
	}
	if err = gather(c.crew, (*client.Worker).Stall, s.Share, func(n int) { s.Stalled += n }); err != nil {
		return err
	}
	if s.Stalled == 0 {
		return fmt.Errorf("%g%% of %d connections is nobody", 100*s.Share, c.crew.connections())
	}
	c.crew.count(func(connection int) bool { return client.InShare(connection, s.Share) })
	peak := watchRSS(c.fleet)
	d, err := c.crew.deliver(ctx, c.pub, c.load(), nil)
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
		s.RSSBound = s.RSSBefore + int64(s.Stalled)*slowBoundEach + int64(len(c.fleet.all()))*slowBoundRest
		s.Bounded = s.RSSPeak <= s.RSSBound
	}
	s.OK = s.Others.Clean() && s.Bounded && s.Unsignaled == 0
	c.result.Slow = s
	return nil
}

// resume lets the stalled clients read, until nothing more comes, judges what they got, and makes everybody audience
// again.
func (c *conductor) resume(ctx context.Context, s *report.Slow) error {
	if err := tell(c.crew, (*client.Worker).Resume, client.None{}); err != nil {
		return err
	}
	const quiet = time.Second
	for heard := -1; heard != c.crew.received(); {
		heard = c.crew.received()
		if err := wait(ctx, quiet); err != nil {
			return err
		}
	}
	j, err := c.crew.judge(true)
	if err != nil {
		return err
	}
	t, err := c.crew.tally()
	if err != nil {
		return err
	}
	s.Told, s.Unsignaled, s.Cut, s.CutWhy = j.Told, j.Unsignaled, t.Cut, t.CutWhy
	c.crew.connect(1, 0)
	if err := c.crew.awaitReady(ctx, c.crew.connections(), false); err != nil {
		return err
	}
	c.crew.count(nil)
	return tell(c.crew, (*client.Worker).Attend, client.None{})
}

// rssWatch looks at the gateways five times a second and keeps the largest resident memory.
type rssWatch struct {
	begin, peak int64
	done        chan struct{}
	ended       chan struct{}
}

// watchRSS begins to watch; what cannot be looked at is 0.
func watchRSS(f *fleet) *rssWatch {
	w := &rssWatch{done: make(chan struct{}), ended: make(chan struct{})}
	u, _ := f.usage() // 0: unknown
	w.begin, w.peak = u.RSS, u.RSS
	go func() {
		defer close(w.ended)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				u, _ := f.usage()
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
func (c *conductor) vanish(ctx context.Context, p *report.Phase) error {
	v := &report.Vanish{Share: c.cfg.vanish}
	before, err := c.fleet.metrics(ctx, true)
	if err != nil {
		return err
	}
	v.Held = held(before)
	if _, err := c.crew.tally(); err != nil {
		return err
	}
	if err := c.crew.expect(nil, false); err != nil {
		return err
	}
	start := time.Now()
	if v.Vanished, err = c.crew.leaveAndReturn(v.Share, c.cfg.ramp, true); err != nil {
		return err
	}
	if err := c.crew.awaitReady(ctx, c.crew.connections(), false); err != nil {
		return err
	}
	v.Seconds = time.Since(start).Seconds()
	t, err := c.crew.tally()
	if err != nil {
		return err
	}
	v.Connect = report.Summarize(t.Connect)
	p.Connect = &v.Connect
	if err := c.comeBack(ctx, v); err != nil {
		return err
	}
	d, err := c.crew.deliver(ctx, c.pub, c.load(), nil)
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
func (c *conductor) comeBack(ctx context.Context, v *report.Vanish) error {
	if len(v.Held) == 0 {
		return nil
	}
	return poll(ctx, 200*time.Millisecond, c.crew.patience, func(ctx context.Context) (bool, error) {
		now, err := c.fleet.metrics(ctx, true)
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
func (c *conductor) outage(ctx context.Context, p *report.Phase, o *report.Outage, down time.Duration, happen func(context.Context) error) error {
	l := c.openLoad(outageLead + down + outageTail)
	pub := &tolerantPublisher{Publisher: c.pub}
	if err := c.crew.behave(client.Manner{Return: true, Avoid: -1}); err != nil {
		return err
	}
	d, err := c.crew.deliver(ctx, pub, l, func(ctx context.Context) error {
		if err := wait(ctx, outageLead); err != nil {
			return err
		}
		if err := happen(ctx); err != nil {
			return err
		}
		back := c.crew.clock.Now()
		c.crew.board.awaitHealing(back)
		err := poll(ctx, 10*time.Millisecond, 60*time.Second, func(context.Context) (bool, error) {
			return c.crew.board.healed() > 0 && c.crew.ready() == c.crew.connections(), nil
		})
		o.Healed = time.Duration(max(c.crew.board.healed(), c.crew.clock.Now()) - back).Seconds()
		return err
	})
	if err != nil {
		return err
	}
	d.keep(p)
	o.Result, o.Cut, o.CutWhy, o.Unpublished = d.Delivered, d.tally.Cut, d.tally.CutWhy, pub.failed
	j, err := c.crew.judge(false)
	if err != nil {
		return err
	}
	o.Up, o.Told, o.Signaled, o.Unsignaled = j.Up, j.Told, j.Signaled, j.Unsignaled
	o.OK = o.Up == c.crew.connections() && o.Unsignaled == 0 && d.Duplicated == 0 && d.Reordered == 0 && d.Misdelivered == 0
	return c.crew.behave(client.Manner{Avoid: -1})
}

// killRedis kills the gateways' Redis and starts it again after a while.
func (c *conductor) killRedis(ctx context.Context, p *report.Phase) error {
	server := c.fleet.server
	if server == nil {
		return errors.New("it must be ours to be killed: leave out -redis and -url")
	}
	o := &report.Outage{}
	err := c.outage(ctx, p, o, c.cfg.killRedis, func(ctx context.Context) error {
		start := time.Now()
		server.child.Kill()
		if err := wait(ctx, c.cfg.killRedis); err != nil {
			return err
		}
		err := server.start(ctx)
		o.Down = time.Since(start).Seconds()
		return err
	})
	if err == nil {
		c.result.Redis = o
	}
	return err
}

// killGateway kills one of the gateways and starts it again at once; its clients go to the others, if there are any.
func (c *conductor) killGateway(ctx context.Context, p *report.Phase) error {
	const victim = 0
	g := c.fleet.all()[victim]
	if g.start == nil {
		return errors.New("it must be ours to be killed: leave out -url")
	}
	o := &report.Outage{}
	err := c.outage(ctx, p, o, 0, func(ctx context.Context) error {
		if err := c.crew.behave(client.Manner{Return: true, Avoid: victim}); err != nil {
			return err
		}
		start := time.Now()
		g.own.Kill()
		again, err := g.start(ctx)
		if err != nil {
			return err
		}
		c.fleet.replace(victim, again)
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
