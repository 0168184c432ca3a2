package main

import (
	"context"
	"fmt"
	"time"
)

// slowness is what a client has to do with -slow.
type slowness uint8

const (
	slowNever   slowness = iota
	slowStalled          // it does not read
	slowResumed          // it reads again
	slowTold             // and was told by a gap that something is missing
)

// inShare deals a share of the connections out evenly: it reports whether this one belongs to it.
func inShare(number int, share float64) bool {
	return int(float64(number+1)*share) > int(float64(number)*share)
}

// slowResult is what -slow showed: how those that read fared while others did not, and whether those were told what
// they missed.
type slowResult struct {
	Share   float64       `json:"share"`
	Stalled int           `json:"stalled"` // connections that stopped reading
	Others  *steadyResult `json:"others"`  // the same load again, heard by the rest

	P99Before  int64  `json:"p99BeforeUs"` // of everybody, while everybody read
	P99During  int64  `json:"p99DuringUs"` // of the others
	RSSBefore  int64  `json:"rssBefore,omitempty"`
	RSSPeak    int64  `json:"rssPeak,omitempty"`
	RSSBound   int64  `json:"rssBound,omitempty"` // what is still taken as bounded: the growth of 1 MiB a stalled connection and 64 MiB
	Cut        int    `json:"cut"`                // stalled connections that the server had closed
	CutWhy     string `json:"cutWhy,omitempty"`
	Told       int    `json:"told"`           // stalled connections that stayed and got a gap
	Unsignaled uint64 `json:"unsignaledLoss"` // deliveries missing on a connection that stayed and was told nothing
	Bounded    bool   `json:"bounded"`        // RSSPeak <= RSSBound, as far as the process could be looked at
	OK         bool   `json:"ok"`             // others lost nothing, memory was bounded, every loss was signaled
}

// Memory that stalled connections may cost a server: its default backlog each, and room for the collector.
const (
	slowBoundEach = 1 << 20
	slowBoundRest = 64 << 20
)

// stall makes a share of the clients stop reading; they no longer count as audience. It returns how many they are.
func (e *engine) stall(share float64) (stalled int) {
	for _, w := range e.workers {
		w.do(func() {
			for i := range w.clients {
				if c := &w.clients[i]; c.state == clientReady && inShare(int(c.number), share) {
					c.slow = slowStalled
					e.audience[w.channelOf(c)]--
					stalled++
				}
			}
		})
	}
	return stalled
}

// resume makes the stalled clients read what there is for them, until nothing more comes.
func (e *engine) resume(ctx context.Context) error {
	for _, w := range e.workers {
		w.do(func() {
			for i := range w.clients {
				if c := &w.clients[i]; c.slow == slowStalled {
					c.slow = slowResumed
					w.read(c, true)
				}
			}
			w.progressed = true
		})
	}
	const quiet = time.Second
	for heard := -1; heard != e.received(); {
		heard = e.received()
		if err := wait(ctx, quiet); err != nil {
			return err
		}
	}
	return nil
}

// cut ends a connection that did not read: being closed is what a slow client must expect.
func (w *worker) cut(c *client, err error) {
	if c.state == clientReady {
		w.live.ready.Add(-1)
	}
	w.tally.cut++
	if w.tally.cutWhy == "" {
		w.tally.cutWhy = err.Error()
	}
	w.hangUp(c)
}

// judge fills in what became of the stalled clients.
func (e *engine) judge(r *slowResult) {
	opened := int(e.board.opened.Load())
	for _, w := range e.workers {
		w.do(func() {
			for i := range w.clients {
				c := &w.clients[i]
				switch {
				case c.state == clientClosed || c.slow == slowNever:
				case c.slow == slowTold:
					r.Told++
				default:
					r.Unsignaled += c.seq.missing(w.published(c, opened))
				}
			}
		})
	}
	t := e.newPhase()
	r.Cut, r.CutWhy = t.cut, t.cutWhy
}

// slowPhase repeats a load while a share of the subscribers does not read.
func slowPhase(ctx context.Context, e *engine, pub publisher, l load, g *gateway, share float64, before *steadyResult) (*slowResult, error) {
	r := &slowResult{Share: share, P99Before: before.Delivery.P99, Bounded: true}
	r.Stalled = e.stall(share)
	if r.Stalled == 0 {
		return nil, fmt.Errorf("-slow %g%% of %d connections is nobody", 100*share, e.connections)
	}
	peak := watchRSS(g)
	var err error
	r.Others, err = e.steady(ctx, pub, l)
	r.RSSBefore, r.RSSPeak = peak.stop()
	if err != nil {
		return nil, err
	}
	r.P99During = r.Others.Delivery.P99
	if err := e.resume(ctx); err != nil {
		return nil, err
	}
	e.judge(r)
	if r.RSSPeak > 0 {
		r.RSSBound = r.RSSBefore + int64(r.Stalled)*slowBoundEach + slowBoundRest
		r.Bounded = r.RSSPeak <= r.RSSBound
	}
	r.OK = r.Others.clean() && r.Bounded && r.Unsignaled == 0
	return r, nil
}

// rssWatch looks at a process five times a second and keeps the largest resident memory.
type rssWatch struct {
	begin, peak int64
	done        chan struct{}
	ended       chan struct{}
}

// watchRSS begins to watch; what cannot be looked at is 0.
func watchRSS(g *gateway) *rssWatch {
	w := &rssWatch{done: make(chan struct{}), ended: make(chan struct{})}
	u, _ := g.usage() // 0: unknown
	w.begin, w.peak = u.rss, u.rss
	go func() {
		defer close(w.ended)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				u, _ := g.usage()
				w.peak = max(w.peak, u.rss)
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
