package server

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/protocol"
)

// A turn that panics for every subscriber is dropped whole and told as a gap, and does not fill the log.
func TestPanicInATurnDropsIt(t *testing.T) {
	t.Parallel()
	var log logged
	s, feeder := startServer(t, func(cfg *Config) { cfg.Loops, cfg.Log = 1, slog.New(&log) })
	lp := s.loops[0]
	const n = 5 * walkStep
	peers := make([]*peer, n)
	for i := range peers {
		peers[i] = dial(t, s)
		peers[i].subscribe("a")
	}
	var records fanout.Slab[conn]
	onLoop(t, lp, func() {
		for slot := uint32(1); slot <= n; slot++ {
			lp.backlogs.set(slot) // so that the record is looked at
		}
		records, lp.conns.records = lp.conns.records, records // and is not there
	})
	release := blockLoop(t, lp)
	feeder.Publish("notifications:a", "lost")
	feeder.Publish("notifications:a", "lost too")
	// The gap of the first turn fails as well, and is not followed by one of its own. Behind it, all is well again.
	turns := lp.n.turns.Load()
	release()
	eventually(t, "two turns fail", func() bool { return s.Stats().Loops[0].Panics >= 2 })
	onLoop(t, lp, func() {
		lp.conns.records = records
		for slot := uint32(1); slot <= n; slot++ {
			lp.backlogs.clear(slot)
		}
	})
	stats := s.Stats().Loops[0]
	if stats.Panics != 2 || stats.Turns != turns+2 || stats.Dropped[DroppedByPanic] != 2 {
		t.Errorf("%d panics in %d turns, and %d publications dropped, want 2 in 2, and 2", stats.Panics, stats.Turns-turns, stats.Dropped[DroppedByPanic])
	}
	if lines := log.errors(); len(lines) != 1 || len(lines[0]) > 2*maxStack {
		t.Errorf("%d lines are logged, want one: %q", len(lines), lines)
	}
	feeder.Publish("notifications:a", "next")
	for _, p := range peers {
		p.wantNotification("a", "next")
	}
}

// Of a turn that fails once everybody hears a gap, on each of its channels.
func TestPanicInATurnIsToldAsAGap(t *testing.T) {
	t.Parallel()
	var log logged
	s, feeder := startServer(t, func(cfg *Config) { cfg.Loops, cfg.Log = 1, slog.New(&log) })
	lp := s.loops[0]
	a, b := dial(t, s), dial(t, s)
	a.subscribe("a")
	b.subscribe("b")
	release := blockLoop(t, lp)
	lp.call(func() { lp.published = func(int64) { lp.published = lp.countPublication; panic("in a turn") } })
	feeder.Publish("notifications:a", "1")
	feeder.Publish("notifications:b", "never sent")
	feeder.Publish("notifications:a", "2")
	feeder.Lost()
	release()
	a.wantNotification("a", "1")
	a.wantNotification("a", "2")
	for p, want := range map[*peer]map[string]int{a: {"a": 2, "": 0}, b: {"b": 1, "": 0}} {
		for range len(want) {
			m := p.want("gap")
			if dropped, ok := want[m.Channel]; !ok || dropped != m.Dropped {
				t.Errorf("%+v, want gaps %v", m, want)
			}
			delete(want, m.Channel)
		}
		p.wantPong()
	}
}

// A timer or a flush that panics costs the connection that it was busy with, and no other.
func TestPanicInATimerCostsTheConnection(t *testing.T) {
	t.Parallel()
	var log logged
	s, _ := startServer(t, func(cfg *Config) { cfg.Loops, cfg.Log, cfg.PingInterval = 1, slog.New(&log), time.Hour })
	lp := s.loops[0]
	bad, good := dial(t, s), dial(t, s)
	onLoop(t, lp, func() {
		c := lp.conns.at(1)
		lp.keep(c, protocol.FrameOf([]byte("short"), ""), 0)
		c.ext.backlog.off = 1 << 20 // more than there is of the frame
		lp.writable = append(lp.writable, c.slot)
	})
	bad.wantEOF()
	good.wantPong()
	if n := s.Stats().Loops[0]; n.Panics != 1 || n.Connections != 1 {
		t.Errorf("%d panics, %d connections left", n.Panics, n.Connections)
	}
}

// A connection that can neither be handled nor be taken out of the index ends the loop, which begins anew.
func TestPanicThatRecursEndsTheLoop(t *testing.T) {
	t.Parallel()
	var log logged
	s, _ := startServer(t, func(cfg *Config) { cfg.Loops, cfg.Log = 1, slog.New(&log) })
	lp := s.loops[0]
	p := dial(t, s)
	p.subscribe("a")
	onLoop(t, lp, func() {
		lp.index = &fanout.Index[member]{} // which knows nothing of it
		lp.end(lp.conns.at(1), protocol.ErrKicked)
	})
	eventually(t, "the loop runs again", func() bool { return s.Stats().Restarts == 1 && lp.call(func() {}) })
	p = dial(t, s)
	p.wantPong()
	eventually(t, "the books agree", func() bool { return sockets(s) == 1 && connections(s) == 1 && s.sockets.Load() == 1 })
}

// The log has one line a second for all panics of a loop.
func TestPanicLinesAreLimited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log logged
		lp := newLoop(0, &Server{cfg: Config{Log: slog.New(&log)}})
		for range 3 {
			for range 1000 {
				lp.sayPanic("x", nil)
			}
			time.Sleep(time.Second) //nolint:forbidigo // the bubble's clock
		}
		lines := log.errors()
		if len(lines) == 0 || len(lines) > 4 || lp.n.panics.Load() != 3000 {
			t.Errorf("%d lines for %d panics", len(lines), lp.n.panics.Load())
		}
	})
}
