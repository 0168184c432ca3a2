package coordinator

import (
	"context"
	"time"

	"github.com/carillon-ws/carillon/bench/client"
	"github.com/carillon-ws/carillon/bench/report"
	"github.com/carillon-ws/carillon/bench/settings"
)

// returnTime is how long publishing goes on after everybody is back, so that it can be seen that they hear.
const returnTime = time.Second

// openLoad is the load of the phases in which clients come and go: always on a schedule, because a closed loop would
// wait for those that are away.
func (c *coordinator) openLoad(d time.Duration) Load {
	l := c.load()
	if l.Rate == 0 {
		l.Rate = settings.DefaultRate(c.cfg.Connections, c.workers.load.Channels)
	}
	l.Inflight, l.Duration = 0, d
	return l
}

// churn lets clients leave and come back all the time while the others are published to.
func (c *coordinator) churn(ctx context.Context, p *report.Phase) error {
	perSecond := c.cfg.Churn * float64(c.workers.connections())
	d, err := c.workers.deliver(ctx, c.pub, c.openLoad(c.cfg.Duration), func(ctx context.Context) error {
		c.workers.behave(client.Manner{Churn: perSecond, Avoid: -1})
		if err := Wait(ctx, c.cfg.Duration); err != nil {
			return err
		}
		c.workers.behave(client.Manner{Avoid: -1})
		return c.workers.awaitReady(ctx, c.workers.connections(), false)
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
func (c *Workers) leaveAndReturn(share, perSecond float64, fresh bool) int {
	n := c.leave(client.Selection{Share: share, Reset: true, Fresh: fresh})
	c.connect(share, perSecond)
	return n
}

// storm lets everybody leave and come back at once while publications go on.
func (c *coordinator) storm(ctx context.Context, p *report.Phase) error {
	s := &report.Storm{Share: c.cfg.Storm}
	d, err := c.workers.deliver(ctx, c.pub, c.openLoad(max(c.cfg.Duration, returnTime)), func(ctx context.Context) error {
		start := time.Now()
		c.workers.behave(client.Manner{Return: true, Avoid: -1})
		s.Left = c.workers.leaveAndReturn(s.Share, c.cfg.Ramp, false)
		all := c.workers.connections()
		if err := c.workers.awaitReady(ctx, all-all/100, true); err != nil {
			return err
		}
		s.Seconds99 = time.Since(start).Seconds()
		if err := c.workers.awaitReady(ctx, all, true); err != nil {
			return err
		}
		s.Seconds = time.Since(start).Seconds()
		c.workers.behave(client.Manner{Avoid: -1})
		return nil
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
func (c *coordinator) drain(ctx context.Context, _ *report.Phase) error {
	start := time.Now()
	d := &report.Drain{OK: true}
	c.workers.leave(client.Selection{Share: 1})
	err := poll(ctx, 50*time.Millisecond, c.workers.patience, func(ctx context.Context) (done bool, err error) {
		numbers, err := c.fleet.Metrics(ctx, false)
		if err != nil {
			return false, err
		}
		d.Known = numbers != nil
		d.Left = max(0, numbers["ws_connections_total"]-c.othersBefore)
		return d.Left == 0, nil
	})
	if err != nil {
		return err
	}
	d.Seconds, d.OK = time.Since(start).Seconds(), d.Left == 0
	d.RSS = c.fleet.Usage().RSS
	c.result.Drain = d
	return nil
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
