package server

import (
	"math/rand/v2"
	"time"

	"github.com/carillon-ws/carillon/protocol"
)

// drainStep is how many connections are told to go before the loop looks at its sockets.
const drainStep = 256

// drain refuses newcomers, tells every client to come back after a time of its own, and waits until all are gone, or
// stopPatience has passed. Must not run on the loop: it blocks.
func (s *Server) drain() {
	s.draining.Store(true)
	for _, lp := range s.loops {
		lp.call(func() { lp.drainAfter(lp.n.turns.Load() + 1) })
	}
	patience := time.NewTimer(stopPatience)
	defer patience.Stop()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for s.sockets.Load() > 0 {
		select {
		case <-patience.C:
			s.cfg.Log.Warn("clients did not leave in time and are cut", "sockets", s.sockets.Load())
			return
		case <-poll.C:
		}
	}
}

// drainAfter begins once what was posted before is sent: it lies in the turn under way or in the one behind it.
//
// Runs on the loop.
func (lp *loop) drainAfter(turn uint64) {
	if lp.sending && lp.n.turns.Load() <= turn {
		lp.call(func() { lp.drainAfter(turn) })
		return
	}
	lp.drainFrom(1)
}

// drainFrom closes the connections from a slot on, a step at a time.
//
// Runs on the loop.
func (lp *loop) drainFrom(slot uint32) {
	for end := slot + drainStep; slot < end; slot++ {
		if slot > lp.conns.used {
			return
		}
		if c := lp.conns.at(slot); c.state == stateOpen || c.state == stateOpening {
			// Drawn here, not by the clients: a thousand that return at once would be refused again.
			lp.doom(c, protocol.RestartAfter(rand.Int64N(retryWindow.Milliseconds())))
		}
	}
	lp.call(func() { lp.drainFrom(slot) })
}
