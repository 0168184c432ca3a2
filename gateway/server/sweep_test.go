package server

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/protocol"
	"github.com/carillon-ws/carillon/protocol/websocket"
)

// Sockets that knock during a drain are no clients: they take nobody's turn to be told.
func TestDrainTellsEveryClientWhoeverKnocks(t *testing.T) {
	t.Parallel()
	s, _, stop := launchServer(t, func(cfg *Config) { cfg.Loops, cfg.Drain = 1, time.Second })
	first := dial(t, s)
	between := make([]*peer, 20)
	for i := range between {
		between[i] = dialRaw(t, s)
	}
	eventually(t, "all are accepted", func() bool { return sockets(s) == 21 })
	second := dial(t, s)
	for _, p := range between { // they leave free slots before the second client's
		_ = p.nc.Close()
	}
	eventually(t, "the sockets between have gone", func() bool { return sockets(s) == 2 })
	stopped := make(chan struct{})
	go func() { defer close(stopped); stop() }()
	first.wantClose(protocol.CloseServiceRestart)
	for range 10 {
		dialRaw(t, s)
	}
	second.wantClose(protocol.CloseServiceRestart)
	_ = first.nc.Close()
	_ = second.nc.Close()
	receive(t, "the end of Run", stopped)
}

// What withChannels makes.
const (
	crowd         = 50  // connections
	crowdChannels = 200 // channels of each; more than lookEvery
)

// withChannels opens a crowd, each with channels of its own and, first of all, the channel news. The tests
// below ask the loop for one step whose deadline has passed: what that does is the least that any step does, and what a
// slice may take too long by.
func withChannels(t *testing.T) (*Server, *loop) {
	t.Helper()
	s, _ := startServer(t, func(cfg *Config) { cfg.Loops = 1 })
	lp := s.loops[0]
	for range crowd {
		dial(t, s)
	}
	eventually(t, "all are open", func() bool { return connections(s) == crowd })
	onLoop(t, lp, func() {
		for slot := uint32(1); slot <= lp.conns.used; slot++ {
			c := lp.conns.at(slot)
			lp.index.Subscribe(&c.subs, "news", member{c.fd, c.slot})
			for i := 1; i < crowdChannels; i++ {
				lp.index.Subscribe(&c.subs, fmt.Sprint("user:", slot, ":", i), member{c.fd, c.slot})
			}
			c.count = crowdChannels
		}
	})
	return s, lp
}

// The work of closing a connection with many channels is within the time of a slice.
func TestDrainOfManyChannelsIsSliced(t *testing.T) {
	t.Parallel()
	s, lp := withChannels(t)
	closed := func() uint64 { return closedAs(s, protocol.ErrRestart.Label) }
	onLoop(t, lp, func() {
		lp.drainAfter(0)
		for !lp.stepSweeps(0) { // nobody is opening
		}
		lp.drainTo(1)
		for want := range uint64(5) {
			if lp.stepSweeps(0); closed() != want+1 {
				t.Errorf("after %d steps %d are closed", want+1, closed())
			}
		}
	})
	eventually(t, "all are closed", func() bool { return closed() == crowd })
}

func TestKickOfManyChannelsIsSliced(t *testing.T) {
	t.Parallel()
	s, lp := withChannels(t)
	var ended atomic.Int64
	done := make(chan struct{}, 1)
	onLoop(t, lp, func() {
		lp.kick(func(*conn) bool { return true }, func() *websocket.CloseError { return protocol.ErrKicked }, &ended, done)
		if lp.stepSweeps(0); closedAs(s, protocol.ErrKicked.Label) != 1 {
			t.Errorf("one step closed %d", closedAs(s, protocol.ErrKicked.Label))
		}
	})
	receive(t, "the end of the kick", done)
	if got := ended.Load(); got != crowd {
		t.Errorf("%d ended, want %d", got, crowd)
	}
}

// What a turn or a timer dooms is ended within the time of a slice, and before anything is sent to it.
func TestReapIsSliced(t *testing.T) {
	t.Parallel()
	s, lp := withChannels(t)
	closed := func() uint64 { return closedAs(s, protocol.ErrSlowConsumer.Label) }
	onLoop(t, lp, func() {
		for slot := uint32(1); slot <= crowd; slot++ {
			lp.end(lp.conns.at(slot), protocol.ErrSlowConsumer)
		}
		lp.startTurnOf(fanout.Item{Channel: "news", Frame: protocol.NewFrame(&protocol.Message{Type: protocol.MessagePong})})
		for step, tc := range []struct {
			name string
			f    func() bool
		}{
			{"reap", func() bool { return lp.settle(0) }},
			{"sendTurn", func() bool { return lp.sendTurn(0) }},
			{"flushWritable", func() bool { return lp.flushWritable(0) }},
			{"expireTimers", func() bool { return lp.expireTimers(0) }},
		} {
			if done := tc.f(); done || closed() != uint64(step+1) {
				t.Errorf("%s = %v, and %d are closed, want %d", tc.name, done, closed(), step+1)
			}
		}
		if lp.walking {
			t.Error("something is sent while connections wait to be ended")
		}
	})
	eventually(t, "all are closed", func() bool { return closed() == crowd })
	eventually(t, "the turn has ended", func() (over bool) {
		onLoop(t, lp, func() { over = !lp.sending })
		return over
	})
}

// startTurnOf begins a turn of one item.
func (lp *loop) startTurnOf(item fanout.Item) {
	lp.batch.Add(item, 1<<20)
	lp.startTurn()
}

// A connection that is doomed may be gone, and its record another's, before it is ended.
func TestReapSparesStrangers(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.Loops = 1 })
	p := dial(t, s)
	lp := s.loops[0]
	onLoop(t, lp, func() {
		c := lp.conns.at(1)
		lp.end(c, protocol.ErrSlowConsumer)
		c.flags &^= flagEnding
		c.key++ // the record is a stranger's now
		lp.settleSince(0)
	})
	p.wantPong()
}

// To look for a channel in a connection's list is work that counts.
func TestConnectionsOfAChannelIsSliced(t *testing.T) {
	t.Parallel()
	s, lp := withChannels(t)
	var left, matched atomic.Int64
	left.Store(1)
	found := make(chan []ConnectionInfo, 1)
	onLoop(t, lp, func() {
		lp.scan(&scan{ctx: t.Context(), q: ConnectionQuery{Channel: "news"}, left: &left, matched: &matched, done: found})
		for step := range int64(5) {
			if lp.stepSweeps(0); matched.Load() != step+1 {
				t.Errorf("%d connections with %d channels each were looked at in %d steps", matched.Load(), crowdChannels, step+1)
			}
		}
	})
	if list := receive(t, "the list", found); len(list) != 1 || matched.Load() != crowd {
		t.Errorf("%d matched and %d are listed", matched.Load(), len(list))
	}
	list, err := s.Connections(t.Context(), ConnectionQuery{Channel: "news", Limit: 7})
	if err != nil || list.Matched != crowd || len(list.Connections) != 7 {
		t.Errorf("Connections = %d of %d, %v", len(list.Connections), list.Matched, err)
	}
}

// A list that nobody waits for any more is given up.
func TestConnectionsIsGivenUp(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.Loops = 1 })
	lp := s.loops[0]
	ctx, cancel := context.WithCancel(t.Context())
	var left, matched atomic.Int64
	onLoop(t, lp, func() {
		takeRecords(lp, 10*lookEvery)
		lp.scan(&scan{ctx: ctx, left: &left, matched: &matched})
		if lp.stepSweeps(0) {
			t.Error("the sweep ends before its time")
		}
		cancel()
		if !lp.stepSweeps(0) {
			t.Error("the sweep goes on")
		}
	})
}

// Several sweeps share the time of one: each step is one sweep's, and they take turns.
func TestSweepsTakeTurns(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.Loops = 1 })
	lp := s.loops[0]
	const records = 10 * lookEvery
	var visits [3]int
	done := make(chan int, len(visits))
	onLoop(t, lp, func() {
		takeRecords(lp, records)
		for i := range visits {
			lp.startSweep(&sweep{visit: func(*conn) int { visits[i]++; return 1 }, done: func() { done <- i }})
		}
		for step := range 6 {
			lp.stepSweeps(0)
			want := [3]int{}
			for i := range step + 1 {
				want[i%3] += lookEvery
			}
			if visits != want {
				t.Errorf("after %d steps the sweeps have visited %v records, want %v", step+1, visits, want)
			}
		}
	})
	for range visits {
		receive(t, "the end of a sweep", done)
	}
	onLoop(t, lp, func() {
		if visits != [3]int{records, records, records} {
			t.Errorf("the sweeps visited %v records, want %d each", visits, records)
		}
	})
}

// A sweep of which every visit fails comes to its end, and the others do.
func TestSweepsSurvivePanics(t *testing.T) {
	t.Parallel()
	var log logged
	s, _ := startServer(t, func(cfg *Config) { cfg.Loops, cfg.Log = 1, slog.New(&log) })
	lp := s.loops[0]
	const records = 500
	done := make(chan string, 2)
	onLoop(t, lp, func() {
		takeRecords(lp, records)
		lp.startSweep(&sweep{visit: func(*conn) int { panic("in a sweep") }, done: func() { done <- "bad" }})
		lp.startSweep(&sweep{visit: func(*conn) int { return 1 }, done: func() { done <- "good" }})
	})
	if first, second := receive(t, "a sweep", done), receive(t, "a sweep", done); first != "good" || second != "bad" {
		t.Errorf("%s ended before %s", first, second)
	}
	if n := s.Stats().Loops[0].Panics; n != records {
		t.Errorf("%d panics, want %d", n, records)
	}
}

// Whoever waits for a sweep hears of its end when the loop ends.
func TestSweepsEndWithTheLoop(t *testing.T) {
	t.Parallel()
	s, _, stop := launchServer(t, func(cfg *Config) { cfg.Loops = 1 })
	lp := s.loops[0]
	done := make(chan struct{})
	onLoop(t, lp, func() {
		takeRecords(lp, 1)
		sw := &sweep{done: func() { close(done) }}
		sw.visit = func(*conn) int { sw.last = 0; return 1 } // it never comes to its end
		lp.startSweep(sw)
	})
	stop()
	receive(t, "the end of the sweep", done)
}
