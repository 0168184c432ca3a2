package server

import (
	"slices"

	"github.com/carillon-ws/carillon/fanout"
)

// cursor is a place in a walk over all records of a loop. The zero value stands before the first record. Connections may
// come and go between two steps: a slot is visited once, and what counts is the connection that has it then.
type cursor struct{ last uint32 } // the slot that was visited last

// next returns the next record, which may be free, or nil at the end.
func (cu *cursor) next(a *arena) *conn {
	if cu.last >= a.used {
		return nil
	}
	cu.last++
	return a.at(cu.last)
}

// lookEvery is how much work a sweep does between two looks at the clock. The unit is about one look at one record, or at
// one subscription: 64 of them take a few microseconds, and a look at the clock takes 0.05.
const lookEvery = 64

// sweep is a walk over all connections of a loop that leaves the loop time for its sockets. Several may be under way.
type sweep struct {
	cursor
	visit func(c *conn) (units int) // returns how much work it was; lookEvery for whatever writes, ends or allocates
	done  func()                    // called behind the last record, or when the loop ends before; nil: nobody waits
	park  bool                      // set by visit: stop here, until startSweep goes on
}

// startSweep begins a sweep, or goes on with one that is parked.
func (lp *loop) startSweep(sw *sweep) {
	lp.owner.mustOwn()
	sw.park = false
	lp.sweeps = append(lp.sweeps, sw)
}

// stepSweeps goes on with the sweeps, which take turns. It reports false if the deadline came before the end of all of
// them. At least one sweep makes one step, however late it is.
func (lp *loop) stepSweeps(deadline int64) bool {
	lp.owner.mustOwn()
	for len(lp.sweeps) > 0 {
		// It goes to the end of the line before it is run, so that a panic in one does not keep the others waiting.
		sw := lp.sweeps[0]
		copy(lp.sweeps, lp.sweeps[1:])
		last := len(lp.sweeps) - 1
		lp.sweeps[last] = sw
		if !lp.stepSweep(sw) {
			lp.sweeps = slices.Delete(lp.sweeps, last, last+1)
		}
		if !lp.settle(deadline) || fanout.Monotonic() > deadline {
			return len(lp.sweeps) == 0 && len(lp.endings) == 0
		}
	}
	return true
}

// stepSweep visits connections until it is time to look at the clock. It reports false when the sweep has come to its end
// or is parked.
func (lp *loop) stepSweep(sw *sweep) bool {
	for units := 0; units < lookEvery && !sw.park; {
		c := sw.next(&lp.conns)
		if c == nil {
			sw.finish()
			return false
		}
		units += sw.visit(c)
	}
	return !sw.park
}

func (sw *sweep) finish() {
	if sw.done != nil {
		sw.done()
	}
}

// endSweeps is called when the engine is over. Whoever waits for a sweep is told what it has found so far.
func (lp *loop) endSweeps() {
	lp.owner.mustOwn()
	for _, sw := range lp.sweeps {
		sw.finish()
	}
	lp.sweeps = nil
}
