package server

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"
	gneterrors "github.com/panjf2000/gnet/v2/pkg/errors"

	"github.com/carillon-ws/carillon/fanout"
)

// sliceFor is how long a loop works through its mailbox before it looks at its sockets again.
const sliceFor = 2 * time.Millisecond

// loop is one event loop. It lives as long as the process, and is the event handler of its gnet engine. When an engine
// ends, the loop gets the next one. There are three lifetimes, each with a type of its own: the process (loop: mailbox and
// counters), one life of an engine ([engine]: connections, index, timers), and one turn under way ([broadcast]).
type loop struct {
	// Fixed at creation.
	gnet.BuiltinEventEngine
	id  int
	srv *Server
	cfg *Config
	ctx context.Context // handed to gnet with each wake-up; nothing listens to it
	up  chan struct{}   // closed when the loop runs for the first time

	// Owned by the loop.
	owner loopOwner
	*engine

	boot struct { // Owned by the goroutine of OnBoot, then by that of OnTick.
		engine gnet.Engine
		done   bool
		over   chan struct{} // closed when the engine ends
	}
	upOnce sync.Once

	// Atomic.
	n     loopCounters
	asked atomic.Bool // another loop has asked this one to relieve

	mailbox mailbox
}

func newLoop(id int, srv *Server) *loop {
	lp := &loop{id: id, srv: srv, cfg: &srv.cfg, ctx: context.Background(), up: make(chan struct{})}
	lp.n.latency.scale, lp.n.turn.scale, lp.n.width.scale = &TimeScale, &TimeScale, &WidthScale
	lp.engine = newEngine(lp, nil)
	lp.publishOldest()
	return lp
}

// Run is where every wake-up leads: it works through the mailbox. It implements gnet.Runnable.
func (lp *loop) Run(context.Context) error {
	return lp.work()
}

// work does what the mailbox and the timers ask for. It takes about sliceFor. If something is left then, it asks to be
// called again, and gnet looks at the sockets first. The error ends the loop.
//
// The order of the steps:
//  1. The mailbox, which may say that the server stops.
//  2. Sockets that take bytes again. That frees memory, and what waits for them is older than what is sent next.
//  3. Sweeps: drain, kick, inspection. They have a share of their own, because publications may never end.
//  4. The total of all backlogs, then the turn. Nothing is added to backlogs while they are over their total.
//  5. Timers. Who has just been written to, or has just taken bytes, is not overdue.
//  6. The total once more: the turn has added to the backlogs.
//
// Each of the steps 2 to 6 also ends the connections that are to be ended, so that nothing more is sent to them.
func (lp *loop) work() (err error) {
	defer lp.recoverWork(&err)
	lp.owner.mustOwn()
	lp.n.lastWork.Store(int64(lp.now()))
	start := fanout.Monotonic()
	end, deadline := start, start+int64(sliceFor)
	for {
		if more := lp.takeMail(); !more {
			break
		}
		if lp.srv.stopping.Load() {
			return gneterrors.ErrEngineShutdown
		}
		// Half of the time at most: neither these sockets nor the turn wait until the other is done.
		flushed := lp.flushWritable(start + int64(sliceFor)/2)
		// A quarter of the time, for all sweeps together.
		swept := len(lp.sweeps) == 0 || lp.stepSweeps(min(deadline, fanout.Monotonic()+int64(sliceFor)/4))
		sent := lp.relieve() && lp.sendTurn(deadline)
		expired := lp.expireTimers(deadline)
		relieved := lp.relieve()
		if lp.broken {
			return gneterrors.ErrEngineShutdown
		}
		if end = fanout.Monotonic(); !flushed || !swept || !sent || !expired || !relieved || end > deadline {
			lp.again()
			break
		}
	}
	lp.n.busyNs.Add(uint64(end - start))
	lp.n.stall.note(end, end-start)
	lp.publishGauges()
	return nil
}

// takeMail empties the mailbox. It reports whether there is anything to do. If there is not, the next post wakes the loop.
//
//  1. With the lock held, everything is taken at once. The batch stays if a turn is under way: it grows meanwhile, and
//     leaves in fewer, larger writes. Whether the loop is awake is decided under the same lock, so that no post is missed.
//  2. The batch becomes a turn before any call is carried out: a call that was posted behind a publication finds it in the
//     turn, which the drain depends on.
//  3. Calls are carried out without the lock: they may post.
//
// Should a step fail, the next work goes on behind it.
func (lp *loop) takeMail() bool {
	lp.owner.mustOwn()
	mb := &lp.mailbox
	mb.mu.Lock()
	take := !lp.sending && !mb.batch.Empty()
	if take {
		lp.batch, mb.batch = mb.batch, lp.batch
	}
	lp.calls, mb.calls = append(lp.calls, mb.calls...), nil
	lp.writable, mb.writable = append(lp.writable, mb.writable...), nil
	more := lp.sending || take || len(lp.calls) > 0 || len(lp.writable) > 0 || len(lp.sweeps) > 0 || len(lp.endings) > 0 ||
		lp.wheel.pending(lp.ticked)
	mb.awake = more
	mb.mu.Unlock()

	if take {
		lp.startTurn()
	}
	for len(lp.calls) > 0 {
		c := lp.calls[0]
		lp.calls = lp.calls[1:]
		c.run()
	}
	return more
}

// flushWritable sends what sockets take of their backlogs. It reports false when the deadline came first.
func (lp *loop) flushWritable(deadline int64) bool {
	lp.owner.mustOwn()
	if !lp.settle(deadline) {
		return false
	}
	for i := 1; len(lp.writable) > 0; i++ {
		slot := lp.writable[0]
		lp.writable = lp.writable[1:]
		if slot > lp.conns.used { // of another engine
			continue
		}
		lp.atHand = lp.conns.at(slot)
		lp.flush(lp.atHand)
		lp.atHand = nil
		if i%8 == 0 && (!lp.settle(deadline) || fanout.Monotonic() > deadline) {
			return len(lp.writable) == 0 && len(lp.endings) == 0
		}
	}
	return lp.settle(deadline)
}

// expireTimers handles the connections whose second has come. It reports false when the deadline came first.
func (lp *loop) expireTimers(deadline int64) bool {
	lp.owner.mustOwn()
	if !lp.settle(deadline) {
		return false
	}
	for i := 1; ; i++ {
		c := lp.wheel.pop(&lp.conns, lp.ticked)
		if c == nil {
			return lp.settle(deadline)
		}
		lp.atHand = c
		lp.expire(c)
		lp.atHand = nil
		if i%64 == 0 && (!lp.settle(deadline) || fanout.Monotonic() > deadline) {
			return false
		}
	}
}

// again has work called again. gnet looks at the sockets that have become ready first.
func (lp *loop) again() {
	lp.owner.mustOwn()
	if !lp.wake.now() { // it is not enrolled yet, or the kernel has no memory for it: before the sockets, then
		_ = lp.el.Execute(lp.ctx, lp)
	}
}

// publishGauges copies what statistics show of the loop's state.
func (lp *loop) publishGauges() {
	lp.n.channels.Store(int64(lp.index.Channels()))
	lp.n.subscriptions.Store(int64(lp.index.Subscriptions()))
}
