package server

import (
	"runtime/debug"
	"time"

	gneterrors "github.com/panjf2000/gnet/v2/pkg/errors"

	"github.com/carillon-ws/carillon/fanout"
)

// maxStack is how many bytes of a stack are logged: its innermost calls.
const maxStack = 8 << 10

// DroppedByPanic is the reason of publications that were dropped because sending them failed.
const DroppedByPanic = "panic"

// recoverWork keeps a failure of our own from ending the engine and every connection on it: gnet does not recover.
// What the failed handler was doing is lost, and the connection that it was busy with is closed; the loop goes on with
// the next thing. The error ends the loop.
func (lp *loop) recoverWork(err *error) {
	p := recover()
	if p == nil {
		return
	}
	lp.sayPanic(p, lp.atHand)
	lp.closeAtHand()
	if lp.broken {
		*err = gneterrors.ErrEngineShutdown
		return
	}
	lp.again()
}

// closeAtHand closes the socket of the connection that a handler failed for. OnClose takes it out of everything. If that
// fails, too, the engine is broken.
func (lp *loop) closeAtHand() {
	lp.owner.mustOwn()
	if c := lp.atHand; c != nil && c.state != stateFree {
		_ = lp.el.Close(c.gc) // fails if the engine is broken
	}
	lp.atHand = nil
}

// recoverTurn drops a turn that panics: nobody knows who has got what of it. What can fail once can fail for each of a
// million subscribers.
func (lp *loop) recoverTurn() {
	if lp.atHand != nil {
		return // one connection could not be ended: the turn is sound, and recoverWork ends the connection
	}
	if p := recover(); p != nil {
		lp.sayPanic(p, nil)
		lp.dropTurn()
		lp.again()
	}
}

// dropTurn gives the turn up, and has a gap told on each of its channels. If the turn before was dropped too, only
// publications are told of: or a gap that cannot be sent would be followed by a gap, for ever.
func (lp *loop) dropTurn() {
	lp.owner.mustOwn()
	mb := &lp.mailbox
	lost := uint64(0)
	mb.mu.Lock()
	for _, item := range lp.batch.Items {
		publication := item.TakenAt != 0
		if publication {
			lost++
		}
		if publication || !lp.failing {
			mb.batch.Lose(item)
		}
	}
	if !lp.loaded { // those who wait are answered by the next turn
		mb.batch.Settled = append(mb.batch.Settled, lp.batch.Settled[min(lp.answered+1, len(lp.batch.Settled)):]...)
	}
	mb.mu.Unlock()
	lp.n.dropped.add(DroppedByPanic, lost)
	lp.turn.Reset()
	lp.batch.Reset()
	lp.broadcast = broadcast{batch: lp.batch, turn: lp.turn, failing: true}
}

// panicLog bounds what a loop logs of its panics: one line a second, and how many were left out.
type panicLog struct {
	said   int64 // when the last line was logged, as fanout.Monotonic tells; 0: never
	unsaid int   // panics since then
}

// sayPanic counts a panic, and logs it if none was logged within the last second: a handler that fails for one may fail
// for all of a million connections, and clients may be able to make it fail. c is the connection that it is about, or nil.
func (lp *loop) sayPanic(p any, c *conn) {
	lp.n.panics.Add(1)
	now := fanout.Monotonic()
	if lp.panics.said != 0 && now-lp.panics.said < int64(time.Second) {
		lp.panics.unsaid++
		return
	}
	stack := debug.Stack()
	attrs := []any{"loop", lp.id, "panic", p, "unsaid", lp.panics.unsaid, "stack", string(stack[:min(len(stack), maxStack)])}
	if c != nil {
		lp.cfg.Log.Error("connection handler failed", append(attrs, "conn", c.key)...)
	} else {
		lp.cfg.Log.Error("handler failed", attrs...)
	}
	lp.panics = panicLog{said: now}
}
