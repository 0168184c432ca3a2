package server

import (
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/protocol"
)

// The callbacks of gnet: find the connection, call it, turn the outcome into an action.

// OnBoot runs before the loop exists, on the goroutine that starts it.
func (lp *loop) OnBoot(eng gnet.Engine) gnet.Action {
	lp.boot.engine, lp.boot.done, lp.boot.over = eng, false, make(chan struct{})
	if err := setListenerOptions(eng, lp.cfg); err != nil {
		lp.cfg.Log.Error("listener options", "loop", lp.id, "error", err)
	}
	return gnet.None
}

// OnTick runs on gnet's ticker, a goroutine of its own for each engine: first as soon as the loop runs, which is
// when it can be given its self-wake, then once a second.
func (lp *loop) OnTick() (time.Duration, gnet.Action) {
	if !lp.boot.done {
		fd, err := enrollSelfWake(lp.boot.engine, lp.boot.over)
		if err != nil {
			lp.cfg.Log.Error("loop does not start", "loop", lp.id, "error", err)
			return time.Second, gnet.Shutdown
		}
		lp.boot.done = true
		if !lp.giveSelfWake(fd) {
			_ = unix.Close(int(fd)) // the loop has ended since
			return time.Second, gnet.None
		}
		lp.isUp()
	}
	now := nowSeconds()
	lp.n.stall.ask(fanout.Monotonic())
	if !lp.call(func() {
		lp.ticked = now
		lp.nextSecond()
		lp.n.stall.answer(fanout.Monotonic())
	}) {
		lp.n.stall.asked.Store(0) // the loop has ended: nobody is kept waiting
	}
	return time.Second, gnet.None
}

// giveSelfWake hands the loop the end of its self-wake that is written to. It reports false if the loop has ended: then
// the descriptor is still the caller's.
func (lp *loop) giveSelfWake(fd int32) bool {
	return lp.callOr(func() { lp.wake = selfWake{fd: fd} }, func() { _ = unix.Close(int(fd)) })
}

// isUp says that the loop listens. That is a sign of life as well: it may not have come to its first work yet.
func (lp *loop) isUp() {
	lp.n.lastWork.Store(int64(nowSeconds()))
	lp.upOnce.Do(func() { close(lp.up) })
}

// OnShutdown runs when the loop has ended, on the goroutine that started it.
func (lp *loop) OnShutdown(gnet.Engine) {
	lp.closeMailbox() // if it ended before it had its self-wake, nothing else has told
	close(lp.boot.over)
}

// OnOpen runs on the loop, for each socket that was accepted, and for the enrolled self-wake.
func (lp *loop) OnOpen(gc gnet.Conn) (_ []byte, action gnet.Action) {
	lp.begin(gc.EventLoop())
	defer lp.recoverCallback(&action, gnet.Close)
	if _, ok := gc.Context().(selfWakeMark); ok {
		return nil, gnet.None
	}
	lp.owner.mustOwn()
	return nil, lp.accept(gc)
}

// OnTraffic runs on the loop.
func (lp *loop) OnTraffic(gc gnet.Conn) (action gnet.Action) {
	c, ok := gc.Context().(*conn)
	if !ok {
		return lp.onSelfWake(gc)
	}
	data, _ := gc.Peek(-1)
	from := len(lp.endings)
	defer func() {
		// Whatever happened, nothing is left inside gnet.
		if p := recover(); p != nil {
			defer lp.recoverCallback(&action, gnet.Shutdown) // it cannot be closed either: the loop begins anew
			lp.failed(c, p)
			lp.settleSince(from)
		}
		lp.out = lp.out[:0]
		lp.current = nil
		if lp.broken {
			action = gnet.Shutdown
			return
		}
		if c.state == stateDead {
			action = gnet.Close
			return
		}
		_, _ = gc.Discard(-1)
	}()
	lp.current = c
	lp.read(c, data)
	lp.settleSince(from)
	if !lp.relieve() { // before the next one is read, whose answers nobody may take either
		lp.again()
	}
	return gnet.None
}

func (lp *loop) onSelfWake(gc gnet.Conn) gnet.Action {
	_, _ = gc.Discard(-1)
	lp.wake.pending = false
	if lp.work() != nil {
		return gnet.Shutdown
	}
	return gnet.None
}

// failed ends the connection that a callback for c has failed for; the engine and the others go on. That is c itself, or
// another one that was ended behind what c sent.
func (lp *loop) failed(c *conn, p any) {
	lp.owner.mustOwn()
	if lp.atHand == nil {
		lp.sayPanic(p, c)
		lp.goodbye(c, protocol.ErrInternal)
		return
	}
	lp.sayPanic(p, lp.atHand)
	if lp.atHand != c {
		lp.closeAtHand()
		return
	}
	lp.atHand = nil
	lp.closeSocket(c, protocol.ErrInternal.Label) // goodbye has failed already
}

// OnClose runs on the loop, once for each OnOpen, before the descriptor is closed. err is nil if it was not the socket
// that ended.
func (lp *loop) OnClose(gc gnet.Conn, err error) (action gnet.Action) {
	// A connection that could not be taken out of the index would be written to when its descriptor is a stranger's:
	// rather the loop begins anew.
	defer lp.recoverCallback(&action, gnet.Shutdown)
	c, ok := gc.Context().(*conn)
	if !ok {
		if _, isWake := gc.Context().(selfWakeMark); isWake {
			lp.closeMailbox()
		} else {
			lp.srv.sockets.Add(-1) // shed in OnOpen
		}
		return gnet.None
	}
	switch {
	case c == lp.atHand:
		lp.forget(c, protocol.ErrInternal.Label)
	case err == nil:
		lp.forget(c, ClosedByLoop)
	default:
		lp.forget(c, "peer_gone")
	}
	return gnet.None
}

// recoverCallback keeps a failure from ending the process: the action then ends the connection, or the loop.
func (lp *loop) recoverCallback(action *gnet.Action, then gnet.Action) {
	if p := recover(); p != nil {
		lp.sayPanic(p, nil)
		lp.current, lp.atHand = nil, nil
		*action = then
		lp.broken = lp.broken || then == gnet.Shutdown
	}
}
