package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"
)

// vanishResult is what -vanish showed: clients that are gone without a word, and as many new ones.
type vanishResult struct {
	Share    float64       `json:"share"`
	Vanished int           `json:"vanished"`
	Seconds  float64       `json:"seconds"`           // from the first reset until all new ones are subscribed
	Connect  latency       `json:"connect"`           // of the new ones, from the first SYN to `subscribed`
	Held     []heldNumber  `json:"held,omitempty"`    // what the gateway holds, before and after; nil without its metrics
	After    *steadyResult `json:"after"`             // the load again: the new ones hear everything
	Problem  string        `json:"problem,omitempty"` // what is not back to the start
	OK       bool          `json:"ok"`
}

// heldNumber is one of the gateway's own numbers that has to come back to where it was.
type heldNumber struct {
	Metric string  `json:"metric"`
	Before float64 `json:"before"`
	After  float64 `json:"after"`
	Slack  float64 `json:"slack"` // how much more is still the same
}

// What a gateway holds for its clients. Counts come back exactly; open files may differ by what looks at them, and a
// heap, measured after a collection, by what pools keep.
func heldNumbers(before map[string]float64) []heldNumber {
	const heap = "go_memstats_heap_alloc_bytes"
	var held []heldNumber
	for _, metric := range []string{
		"ws_connections_total", "ws_sockets_active", "ws_subscriptions_active", "ws_channels_active", "ws_backlog_bytes",
		"process_open_fds", heap,
	} {
		v, ok := before[metric]
		if !ok {
			continue
		}
		h := heldNumber{Metric: metric, Before: v}
		switch metric {
		case heap:
			h.Slack = max(v/4, 4<<20)
		case "process_open_fds":
			h.Slack = 4
		}
		held = append(held, h)
	}
	return held
}

// vanish resets a share of the clients, all at once, and lets as many new ones connect. It returns how many, and how
// long it took until all were subscribed.
func (e *engine) vanish(ctx context.Context, share, perSecond float64) (vanished int, took time.Duration, err error) {
	start := e.clock.now()
	opened := int(e.board.opened.Load())
	todo := make([][]int32, len(e.workers))
	for i, w := range e.workers {
		w.do(func() {
			for j := range w.clients {
				c := &w.clients[j]
				if inShare(int(c.number), share) && c.state != clientNew {
					w.reset(c)
					c.seq = sequence{next: w.published(c, opened)} // a new client owes nothing to the past
					todo[i] = append(todo[i], int32(j))
				}
			}
		})
		vanished += len(todo[i])
	}
	for i, w := range e.workers {
		w.do(func() { w.connect(todo[i], e.clock.now(), perSecond*w.share) })
	}
	err = e.awaitReady(ctx)
	return vanished, time.Duration(e.clock.now() - start), err
}

// reset ends a connection as a peer does that is gone: the kernel sends RST, nothing is said.
func (w *worker) reset(c *client) {
	switch c.state {
	case clientReady:
		w.live.ready.Add(-1)
	case clientNew, clientClosed:
		// A slow one that was cut counts among those that left, too.
	case clientConnecting, clientUpgrading, clientSubscribing:
		w.opening--
	}
	if c.state != clientClosed {
		_ = unix.SetsockoptLinger(int(c.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		w.hangUp(c)
	}
	if c.slow != slowNever {
		c.slow = slowNever
	}
}

// vanishPhase is -vanish: reset, come back, compare, and publish once more.
func vanishPhase(ctx context.Context, e *engine, pub publisher, l load, g *gateway, share, ramp float64) (*vanishResult, error) {
	r := &vanishResult{Share: share}
	before, err := g.heap(ctx)
	if err != nil {
		return nil, err
	}
	r.Held = heldNumbers(before)
	e.newPhase()
	vanished, took, err := e.vanish(ctx, share, ramp)
	if err != nil {
		return nil, err
	}
	r.Vanished, r.Seconds = vanished, took.Seconds()
	r.Connect = e.newPhase().connect.summary()
	if r.Problem, err = r.comeBack(ctx, g, e.patience); err != nil {
		return nil, err
	}
	e.recount()
	if r.After, err = e.steady(ctx, pub, l); err != nil {
		return nil, err
	}
	r.OK = r.Problem == "" && r.After.clean()
	return r, nil
}

// recount makes everybody audience again who is connected.
func (e *engine) recount() {
	clear(e.audience)
	for _, w := range e.workers {
		w.do(func() {
			for i := range w.clients {
				if c := &w.clients[i]; c.state == clientReady && c.slow == slowNever {
					e.audience[w.channelOf(c)]++
				}
			}
		})
	}
}

// comeBack waits until the gateway holds no more than before, and returns what it does hold more in the end.
func (r *vanishResult) comeBack(ctx context.Context, g *gateway, patience time.Duration) (problem string, err error) {
	if len(r.Held) == 0 {
		return "", nil
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); ; {
		now, err := g.heap(ctx)
		if err != nil {
			return "", err
		}
		if problem = r.compare(now); problem == "" || time.Now().After(end) {
			return problem, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

func (r *vanishResult) compare(now map[string]float64) (problem string) {
	for i := range r.Held {
		h := &r.Held[i]
		h.After = now[h.Metric]
		over, under := h.After > h.Before+h.Slack, h.Slack == 0 && h.After < h.Before // a count that is not back yet
		if problem == "" && (over || under) {
			problem = fmt.Sprintf("%s was %.0f and is %.0f", h.Metric, h.Before, h.After)
		}
	}
	return problem
}

// heap reads the gateway's metrics after a garbage collection; nil without an admin listener.
func (g *gateway) heap(ctx context.Context) (map[string]float64, error) {
	if g.admin == nil {
		return nil, nil
	}
	// A first collection may leave what sync.Pools held; they give it up at the second.
	for range 2 {
		if err := g.admin.collect(ctx); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return g.admin.metrics(ctx)
}
