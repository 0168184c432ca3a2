package server

import (
	"math/rand/v2"
	"time"

	"github.com/carillon-ws/carillon/protocol"
	"github.com/carillon-ws/carillon/protocol/http1"
)

// drainTick is how often the loops are told how far the drain should be.
const drainTick = 20 * time.Millisecond

// delayDrain serves on for Config.DrainDelay while Stats.Leaving says that the server is about to go, so that balancers
// send newcomers elsewhere before anybody is refused. Must not run on the loop: it blocks.
func (s *Server) delayDrain(failed <-chan error) error {
	s.leaving.Store(true)
	if s.cfg.DrainDelay <= 0 {
		return nil
	}
	select {
	case <-s.after(s.cfg.DrainDelay):
		return nil
	case err := <-failed:
		return err
	}
}

// drain refuses newcomers, tells every client to come back after a time of its own, evenly over Config.Drain, and
// waits until all are gone. It gives up on those that have not left StopPatience after the last client was told, and on
// clients that cannot be told for so long. Must not run on the loop: it blocks.
func (s *Server) drain() {
	s.draining.Store(true)
	began := time.Now()
	for _, lp := range s.loops {
		lp.call(func() { lp.drainAfter(lp.n.turns.Load() + 1) })
	}
	tick := time.NewTicker(drainTick)
	defer tick.Stop()
	open, moved := int64(-1), began
	for s.sockets.Load() > 0 {
		now := time.Now()
		elapsed := now.Sub(began)
		if n := s.connections(); n != open {
			open, moved = n, now
		}
		if now.Sub(moved) > StopPatience && (open == 0 || elapsed > s.cfg.Drain+StopPatience) {
			s.cfg.Log.Warn("clients did not leave in time and are cut", "sockets", s.sockets.Load(), "connections", open)
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

// connections is how many connections are open on all loops.
func (s *Server) connections() (open int64) {
	for _, lp := range s.loops {
		open += lp.n.connections.Load()
	}
	return open
}

// drainState is how far a loop has come with telling its clients to leave.
type drainState struct {
	tell *sweep  // nil: the drain has not begun
	done float64 // the part of the window that has passed
	owed float64 // connections that should have been told by now, and were not
	busy bool    // tell is under way
}

// drainAfter begins once what was posted before is sent: it lies in the turn under way or in the one behind it.
func (lp *loop) drainAfter(turn uint64) {
	lp.owner.mustOwn()
	if lp.sending && lp.n.turns.Load() <= turn {
		lp.call(func() { lp.drainAfter(turn) })
		return
	}
	// The first leaves at once: a single client is not waited for.
	lp.drain = drainState{owed: 1, tell: &sweep{visit: lp.tellToLeave}}
	lp.drain.tell.done = func() { lp.drain.tell.cursor, lp.drain.busy = cursor{}, false }
	lp.startSweep(&sweep{visit: lp.refuseOpening})
}

// refuseOpening sends away a socket that is not a connection yet. It is no client, and nobody waits for its turn: what
// counts for the pace of the drain is open connections. A socket whose request comes before the sweep has come to it is
// refused in readHead, so from now on there are never more open connections than before.
func (lp *loop) refuseOpening(c *conn) int {
	if c.state != stateOpening || c.ext != nil && c.ext.refusal != nil {
		return 1
	}
	lp.refuse(c, http1.RefuseDraining)
	return lookEvery
}

// drainTo has connections told that this part of the window is over. Of those that are left it tells what the time that
// has passed is of the time that was left, so the last are told at the window's end, however many leave by themselves.
func (lp *loop) drainTo(done float64) {
	lp.owner.mustOwn()
	d := &lp.drain
	if d.tell == nil {
		return
	}
	open := float64(lp.n.connections.Load())
	d.owed = min(d.owed, open)
	if done > d.done {
		d.owed += (open - d.owed) * (done - d.done) / (1 - d.done)
		d.done = done
	}
	if d.done == 1 {
		d.owed = open
	}
	if d.owed >= 1 && !d.busy {
		d.busy = true
		lp.startSweep(d.tell)
	}
}

// tellToLeave tells one client to come back, if one is to be told.
func (lp *loop) tellToLeave(c *conn) int {
	if c.state != stateOpen || c.flags&flagEnding != 0 {
		return 1
	}
	// Drawn here, not by the clients: a thousand that return at once would be refused again.
	lp.end(c, protocol.RestartAfter(rand.Int64N(max(lp.cfg.Drain, retryWindow).Milliseconds())))
	d := &lp.drain
	if d.owed--; d.owed < 1 {
		d.tell.park, d.busy = true, false
	}
	return lookEvery
}
