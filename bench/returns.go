package main

import (
	"context"
	"time"

	"github.com/carillon-ws/carillon/bench/client"
	"github.com/carillon-ws/carillon/bench/report"
)

// returnTime is how long publishing goes on after everybody is back, so that it can be seen that they hear.
const returnTime = time.Second

// openLoad is the load of the phases in which clients come and go: always on a schedule, because a closed loop would
// wait for those that are away.
func (c *conductor) openLoad(d time.Duration) load {
	l := c.load()
	if l.rate == 0 {
		l.rate = defaultRate(c.cfg.connections, c.crew.load.Channels)
	}
	l.inflight, l.duration = 0, d
	return l
}

// churn lets clients leave and come back all the time while the others are published to.
func (c *conductor) churn(ctx context.Context, p *report.Phase) error {
	perSecond := c.cfg.churn * float64(c.crew.connections())
	d, err := c.crew.deliver(ctx, c.pub, c.openLoad(c.cfg.duration), func(ctx context.Context) error {
		if err := c.crew.behave(client.Manner{Churn: perSecond, Avoid: -1}); err != nil {
			return err
		}
		if err := wait(ctx, c.cfg.duration); err != nil {
			return err
		}
		if err := c.crew.behave(client.Manner{Avoid: -1}); err != nil {
			return err
		}
		return c.crew.awaitReady(ctx, c.crew.connections(), false)
	})
	if err != nil {
		return err
	}
	d.keep(p)
	back := report.Summarize(d.tally.Connect)
	p.Connect = &back
	c.result.Churn = &report.Churn{Delivered: d.Delivered, PerSecond: perSecond, Left: d.tally.Left, Back: back}
	return nil
}

// leaveAndReturn ends the connections of a share of the clients, all at once, and lets them come back. It returns how
// many they were.
func (c *crew) leaveAndReturn(share, perSecond float64, fresh bool) (int, error) {
	leaving := client.Selection{Share: share, Reset: true, Fresh: fresh}
	n, err := c.leave(leaving)
	if err != nil {
		return n, err
	}
	c.connect(share, perSecond)
	return n, nil
}

// storm lets everybody leave and come back at once while publications go on.
func (c *conductor) storm(ctx context.Context, p *report.Phase) error {
	s := &report.Storm{Share: c.cfg.storm}
	d, err := c.crew.deliver(ctx, c.pub, c.openLoad(max(c.cfg.duration, returnTime)), func(ctx context.Context) (err error) {
		start := time.Now()
		if err := c.crew.behave(client.Manner{Return: true, Avoid: -1}); err != nil {
			return err
		}
		if s.Left, err = c.crew.leaveAndReturn(s.Share, c.cfg.ramp, false); err != nil {
			return err
		}
		all := c.crew.connections()
		if err := c.crew.awaitReady(ctx, all-all/100, true); err != nil {
			return err
		}
		s.Seconds99 = time.Since(start).Seconds()
		if err := c.crew.awaitReady(ctx, all, true); err != nil {
			return err
		}
		s.Seconds = time.Since(start).Seconds()
		return c.crew.behave(client.Manner{Avoid: -1})
	})
	if err != nil {
		return err
	}
	d.keep(p)
	s.Delivered, s.Back = d.Delivered, report.Summarize(d.tally.Connect)
	p.Connect = &s.Back
	c.result.Storm = s
	return nil
}

// drain lets everybody leave politely, and waits until the gateways have noticed.
func (c *conductor) drain(ctx context.Context, _ *report.Phase) error {
	start := time.Now()
	d := &report.Drain{OK: true}
	if _, err := c.crew.leave(client.Selection{Share: 1}); err != nil {
		return err
	}
	err := poll(ctx, 50*time.Millisecond, c.crew.patience, func(ctx context.Context) (done bool, err error) {
		numbers, err := c.fleet.metrics(ctx, false)
		if err != nil {
			return false, err
		}
		d.Known = numbers != nil
		d.Left = max(0, numbers["ws_connections_total"]-c.strangers)
		return d.Left == 0, nil
	})
	if err != nil {
		return err
	}
	d.Seconds, d.OK = time.Since(start).Seconds(), d.Left == 0
	u, err := c.fleet.usage()
	d.RSS = u.RSS
	c.result.Drain = d
	return err
}

// poll asks again and again until something is done, an error comes, or the time is up, which is no error.
func poll(ctx context.Context, every, limit time.Duration, ask func(context.Context) (done bool, err error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for end := time.Now().Add(limit); ; {
		done, err := ask(ctx)
		if done || err != nil || time.Now().After(end) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
