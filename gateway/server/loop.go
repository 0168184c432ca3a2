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

// loop is one event loop, for as long as the process lives: what outlasts the gnet engines that serve it. It is the event
// handler of its own engine. There are three lifetimes, each with a type of its own: the process (loop, with its mailbox
// and counters), one life of an engine ([engine]: connections, index, timers), and one turn under way ([broadcast]).
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
	return lp
}

// Run is where every wake-up leads: it works through the mailbox. It implements gnet.Runnable.
func (lp *loop) Run(context.Context) error {
	return lp.work()
}

// work does what the mailbox and the timers ask for, for about sliceFor; if something is left it asks to be called
// again, behind the sockets that have become ready. The error ends the loop.
func (lp *loop) work() (err error) {
	defer lp.recoverWork(&err)
	lp.owner.mustOwn()
	lp.n.beat.Store(int64(lp.now()))
	start := fanout.Monotonic()
	end, deadline := start, start+int64(sliceFor)
	for {
		if more := lp.takeMail(); !more {
			break
		}
		if lp.srv.stopping.Load() {
			return gneterrors.ErrEngineShutdown
		}
		// Sockets that take bytes again have half of the time at most, so that neither they nor the turn wait for the
		// other's end.
		flushed := lp.flushWritable(start + int64(sliceFor)/2)
		// Sweeps have a quarter, all together, and have it while publications never end, too.
		swept := len(lp.sweeps) == 0 || lp.stepSweeps(min(deadline, fanout.Monotonic()+int64(sliceFor)/4))
		sent := lp.relieve() && lp.sendTurn(deadline) // nothing is added to backlogs while they are over their total
		expired := lp.expireTimers(deadline)
		relieved := lp.relieve()
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

// takeMail empties the mailbox: calls are carried out, sockets that take bytes again are listed, the batch becomes the
// next turn, unless one is under way: then it stays and grows, and leaves in fewer, larger writes. It reports whether
// there is anything to do; if not, the next post wakes the loop.
func (lp *loop) takeMail() bool {
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

	// Should one of these fail, the next work goes on behind it.
	if take {
		lp.startTurn()
	}
	for len(lp.calls) > 0 {
		f := lp.calls[0]
		lp.calls = lp.calls[1:]
		f()
	}
	return more
}

// flushWritable sends what sockets take of their backlogs. It reports false when the deadline came first.
func (lp *loop) flushWritable(deadline int64) bool {
	if !lp.settle(deadline) {
		return false
	}
	for i := 1; len(lp.writable) > 0; i++ {
		slot := lp.writable[0]
		lp.writable = lp.writable[1:]
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

// again has work called again, behind the sockets that have become ready.
func (lp *loop) again() {
	if lp.wake.fd == 0 { // not enrolled yet: before the sockets, then
		_ = lp.el.Execute(lp.ctx, lp)
		return
	}
	lp.wake.now()
}

// publishGauges copies what statistics show of the loop's state.
func (lp *loop) publishGauges() {
	lp.n.channels.Store(int64(lp.index.Channels()))
	lp.n.subscriptions.Store(int64(lp.index.Subscriptions()))
}
