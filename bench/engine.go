package main

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a run waits without any progress before it says what is missing.
const patience = 10 * time.Second

// engine is the clients of a run: workers, each with its share of the connections.
type engine struct {
	connections int
	channels    int
	mark        string
	audience    []int32 // subscribers of each channel that read
	clock       clock
	board       *board
	workers     []*worker
	progress    chan struct{} // workers -> ramp: connections came up or failed; one slot
	patience    time.Duration
	wg          sync.WaitGroup
}

// newEngine starts the workers, with nothing to do yet. Close ends them.
func newEngine(t target, connections, channels, workers int) (*engine, error) {
	e := &engine{
		connections: connections, channels: channels,
		mark: newMark(), clock: newClock(), board: newBoard(),
		progress: make(chan struct{}, 1), patience: patience,
	}
	e.audience = make([]int32, channels)
	for i := range connections {
		e.audience[i%channels]++
	}
	seed, _ := hex.DecodeString(e.mark[2:]) // we made it
	first := 0
	for i := range workers {
		n := subscribersOf(i, connections, workers) // connections are dealt as evenly as subscriptions
		w := &worker{
			clock: e.clock, dialer: newDialer(t, connections), mark: e.mark, channels: channels, board: e.board, progress: e.progress,
			shake:   newHandshake(t.host, t.path, uint64(binary.BigEndian.Uint32(seed))),
			share:   float64(n) / float64(connections),
			clients: make([]client, n), buf: make([]byte, readBuffer), tally: newTally(),
		}
		for j := range w.clients {
			w.clients[j].number = int32(first + j)
		}
		first += n
		e.workers = append(e.workers, w)
		if err := w.open(); err != nil {
			e.closeDescriptors()
			return nil, err
		}
	}
	for _, w := range e.workers {
		e.wg.Go(w.run)
	}
	return e, nil
}

// close hangs up on the server and ends the workers.
func (e *engine) close() {
	for _, w := range e.workers {
		w.do(func() {
			for i := range w.clients {
				if c := &w.clients[i]; c.state != clientNew && c.state != clientClosed {
					w.hangUp(c)
				}
			}
			w.stopped = true
		})
	}
	e.wg.Wait()
	e.closeDescriptors()
}

func (e *engine) closeDescriptors() {
	for _, w := range e.workers {
		_ = unix.Close(w.epfd) // nothing depends on the end of a descriptor without data
		_ = unix.Close(w.wakefd)
	}
}

// rampResult is how connecting went.
type rampResult struct {
	Connections int     `json:"connections"`
	Seconds     float64 `json:"seconds"`
	PerSecond   float64 `json:"perSecond"`
	Latency     latency `json:"latency"` // from the first SYN to `subscribed`
}

// ramp connects, upgrades and subscribes every client; perSecond 0 is as fast as the server takes them.
func (e *engine) ramp(ctx context.Context, perSecond float64) (rampResult, error) {
	start := e.clock.now()
	for _, w := range e.workers {
		w.do(func() { w.connect(w.everyone(), start, perSecond*w.share) })
	}
	if err := e.awaitReady(ctx); err != nil {
		return rampResult{}, err
	}
	took := time.Duration(e.clock.now() - start).Seconds()
	t := e.newPhase()
	return rampResult{
		Connections: e.connections, Seconds: took, PerSecond: float64(e.connections) / took,
		Latency: t.connect.summary(),
	}, nil
}

func (e *engine) awaitReady(ctx context.Context) error {
	stalled := time.NewTimer(e.patience)
	defer stalled.Stop()
	for {
		ready, closed := e.ready(), e.closed()
		switch {
		case closed > 0:
			return fmt.Errorf("%d of %d connections failed, the first with: %w", closed, e.connections, e.failure())
		case ready == e.connections:
			return nil
		}
		select {
		case <-e.progress:
			stalled.Reset(e.patience)
		case <-stalled.C:
			return fmt.Errorf("%d of %d connections are up and nothing has happened for %s", ready, e.connections, e.patience)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// newPhase begins new tallies on all workers and returns what the old ones hold together.
func (e *engine) newPhase() *tally {
	sum := newTally()
	for _, w := range e.workers {
		w.do(func() {
			sum.merge(&w.tally)
			w.tally = newTally()
		})
	}
	return &sum
}

// missing counts, from the clients' own sequences, what never came of the publications opened so far. Unlike the
// tallies it does not depend on when a phase began.
func (e *engine) missing() (n uint64) {
	opened := int(e.board.opened.Load())
	for _, w := range e.workers {
		w.do(func() {
			for i := range w.clients {
				c := &w.clients[i]
				if c.slow == slowNever {
					n += c.seq.missing(w.published(c, opened))
				}
			}
		})
	}
	return n
}

func (e *engine) ready() int { return int(e.sum(func(w *worker) int64 { return w.live.ready.Load() })) }

func (e *engine) closed() int {
	return int(e.sum(func(w *worker) int64 { return w.live.closed.Load() }))
}

func (e *engine) received() int {
	return int(e.sum(func(w *worker) int64 { return w.live.received.Load() }))
}

func (e *engine) sum(f func(*worker) int64) (n int64) {
	for _, w := range e.workers {
		n += f(w)
	}
	return n
}

// failure is why a connection failed or was closed, nil when none was.
func (e *engine) failure() error {
	for _, w := range e.workers {
		w.mu.Lock()
		err := w.failure
		w.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}
