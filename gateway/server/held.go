package server

import (
	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/protocol"
)

// held is a frame that backlogs of one loop refer to.
type held struct {
	*protocol.Frame
	refs int   // how many entries of backlogs refer to it
	born int64 // when the first of them was made, as fanout.Monotonic tells
}

const (
	heldCost = 96 // bytes that a frame costs beside its own: the records Frame and held, rounded up by the allocator
	refCost  = 16 // bytes that an entry of a backlog costs: a pointer, and the room that append leaves
)

// cost is what a frame costs if one backlog alone refers to it.
func (h *held) cost() int { return h.Len() + heldCost + refCost }

// take counts one more reference and returns what it costs.
func (h *held) take() (added int) {
	h.refs++
	if h.refs > 1 {
		return refCost
	}
	h.born = fanout.Monotonic()
	return h.cost()
}

// release counts one reference less and returns what that frees.
func (h *held) release() (freed int) {
	h.refs--
	if h.refs > 0 {
		return refCost
	}
	return h.cost()
}

// account adds to the cost of this loop's backlogs.
func (lp *loop) account(cost int) {
	lp.owner.mustOwn()
	lp.n.backlogBytes.Add(int64(cost))
	if cost > 0 {
		lp.grown = true
	}
}
