package server

import (
	"math/rand/v2"
	"time"

	"github.com/carillon-ws/carillon/protocol"
)

// drainStep is how many connections are told to go before the loop looks at its sockets.
const drainStep = 256

// drainTick is how often the loops are told how far the drain should be.
const drainTick = 20 * time.Millisecond

// drain refuses newcomers, tells every client to come back after a time of its own, evenly over Config.Drain, and
// waits until all are gone, or StopPatience has passed since the last was told. Must not run on the loop: it blocks.
func (s *Server) drain() {
	s.draining.Store(true)
	began := time.Now()
	for _, lp := range s.loops {
		lp.call(func() { lp.drainAfter(lp.n.turns.Load() + 1) })
	}
	tick := time.NewTicker(drainTick)
	defer tick.Stop()
	for s.sockets.Load() > 0 {
		elapsed := time.Since(began)
		if elapsed > s.cfg.Drain+StopPatience {
			s.cfg.Log.Warn("clients did not leave in time and are cut", "sockets", s.sockets.Load())
			return
		}
		done := 1.0
		if s.cfg.Drain > 0 {
			done = min(1, float64(elapsed)/float64(s.cfg.Drain))
		}
		for _, lp := range s.loops {
			lp.call(func() { lp.drainTo(done) })
		}
		<-tick.C
	}
}

// drainState is how far a loop has come with telling its clients to leave.
type drainState struct {
	on    bool
	total int    // connections when it began
	told  int    // of them, those that were looked at
	next  uint32 // slot to go on with
}

// drainAfter begins once what was posted before is sent: it lies in the turn under way or in the one behind it.
//
// Runs on the loop.
func (lp *loop) drainAfter(turn uint64) {
	if lp.sending && lp.n.turns.Load() <= turn {
		lp.call(func() { lp.drainAfter(turn) })
		return
	}
	lp.drain = drainState{on: true, total: int(lp.n.sockets.Load()), next: 1}
}

// drainTo closes connections until this part of them has been told, a step at a time.
//
// Runs on the loop.
func (lp *loop) drainTo(done float64) {
	d := &lp.drain
	target := int(done*float64(d.total)) + 1 // the first leaves at once: a single client is not waited for
	for n := 0; d.on && d.told < target && d.next <= lp.conns.used; d.next++ {
		c := lp.conns.at(d.next)
		if c.state != stateOpen && c.state != stateOpening {
			continue
		}
		d.told++
		// Drawn here, not by the clients: a thousand that return at once would be refused again.
		lp.doom(c, protocol.RestartAfter(rand.Int64N(max(lp.cfg.Drain, retryWindow).Milliseconds())))
		if n++; n == drainStep {
			d.next++
			lp.call(func() { lp.drainTo(done) })
			return
		}
	}
}
