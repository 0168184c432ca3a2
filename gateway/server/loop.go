package server

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"
	gneterrors "github.com/panjf2000/gnet/v2/pkg/errors"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/protocol"
	"github.com/carillon-ws/carillon/protocol/http1"
	"github.com/carillon-ws/carillon/protocol/websocket"
)

// sliceFor is how long a loop works through its mailbox before it looks at its sockets again.
const sliceFor = 2 * time.Millisecond

// loop is one event loop and everything it owns. It is the event handler of its own gnet engine.
type loop struct {
	// Fixed at creation.
	gnet.BuiltinEventEngine
	id  int
	srv *Server
	cfg *Config
	ctx context.Context // handed to gnet with each wake-up; nothing listens to it
	up  chan struct{}   // closed when the loop runs for the first time

	// Owned by the loop.
	owner    loopOwner
	el       gnet.EventLoop
	conns    arena
	index    *fanout.Index[member]
	wheel    wheel
	busy     bitset     // slots with a backlog
	ages     ages       // connections with a backlog, by the age of what they hold
	grown    bool       // backlogs have grown since they were last within their total
	heldRun  [2][]*held // frames of the run that are in backlogs: as they are, and compressed
	doomed   []doomed
	sweeps   []*sweep
	atHand   *conn    // the connection that work is busy with: a panic ends it
	current  *conn    // the connection that gnet is calling us for
	calls    []func() // taken from the mailbox, not yet run
	writable []uint32 // taken from the mailbox, not yet flushed
	upgrader *http1.Upgrader
	decoder  protocol.Decoder
	limits   websocket.Limits
	out      []byte // answers to the connection at hand, written together
	scratch  []byte
	turn     *fanout.Turn[member]
	batch    fanout.Batch // being sent by turn
	run      fanout.Run   // being sent to its subscribers
	sending  bool         // turn is under way
	walking  bool         // run is not sent to all yet
	failing  bool         // the last turn was dropped: it panicked
	everyone cursor       // of a run that goes to every connection
	ticked   uint32       // second up to which timers are to be handled
	wake     selfWake
	drain    drainState
	deflate  compression
	began    int64 // when the turn began, as fanout.Monotonic tells
	written  int64 // when the turn's last run was written
	events   eventLog
	panics   panicLog
	width    int            // connections that the run went to so far
	observe  func(ns int64) // lp.published, bound once
	pong     []byte         // the message heartbeat of second pongAt
	pongAt   uint32

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

// doomed is a connection to be ended when no walk over subscribers is under way.
type doomed struct {
	c     *conn
	key   uint64                // of the connection: the record may be another's by then
	err   *websocket.CloseError // nil: the socket is broken, close it
	label string                // why, for the metric, when err is nil
}

func newLoop(id int, srv *Server) *loop {
	lp := &loop{
		id: id, srv: srv, cfg: &srv.cfg, ctx: context.Background(), up: make(chan struct{}),
		index:    fanout.NewIndex[member](),
		upgrader: http1.NewUpgrader(srv.cfg.Upgrade),
		limits:   websocket.Limits{MaxMessage: srv.cfg.MaxMessage, MaxFragments: srv.cfg.MaxFragments, AllowBinary: srv.cfg.echoes()},
	}
	lp.deflate.limits = lp.limits
	lp.deflate.limits.Inflater = new(websocket.Inflater)
	lp.turn = fanout.NewTurn(lp.index)
	lp.observe = lp.published
	lp.publishOldest()
	lp.n.latency.scale, lp.n.turn.scale, lp.n.width.scale = &TimeScale, &TimeScale, &WidthScale
	return lp
}

// now is the time in whole seconds since the process started.
func (lp *loop) now() uint32 { return nowSeconds() }

func nowSeconds() uint32 { return uint32(fanout.Monotonic()/int64(time.Second)) + 1 }

// Run is where every wake-up leads: it works through the mailbox. It implements gnet.Runnable.
//
// Runs on the loop.
func (lp *loop) Run(context.Context) error {
	return lp.work()
}

// work does what the mailbox and the timers ask for, for about sliceFor; if something is left it asks to be called
// again, behind the sockets that have become ready. The error ends the loop.
//
// Runs on the loop.
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
//
// Runs on the loop.
func (lp *loop) takeMail() bool {
	mb := &lp.mailbox
	mb.mu.Lock()
	take := !lp.sending && !mb.batch.Empty()
	if take {
		lp.batch, mb.batch = mb.batch, lp.batch
	}
	lp.calls, mb.calls = append(lp.calls, mb.calls...), nil
	lp.writable, mb.writable = append(lp.writable, mb.writable...), nil
	more := lp.sending || take || len(lp.calls) > 0 || len(lp.writable) > 0 || len(lp.sweeps) > 0 || len(lp.doomed) > 0 ||
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

// published takes note of a publication whose last write is done, so many nanoseconds after it was taken from the
// source. Runs on the loop.
func (lp *loop) published(ns int64) {
	lp.n.latency.observe(ns)
	lp.n.width.observe(int64(lp.width))
}

// flushWritable sends what sockets take of their backlogs. It reports false when the deadline came first.
//
// Runs on the loop.
func (lp *loop) flushWritable(deadline int64) bool {
	if !lp.reap(deadline) {
		return false
	}
	for i := 1; len(lp.writable) > 0; i++ {
		slot := lp.writable[0]
		lp.writable = lp.writable[1:]
		lp.atHand = lp.conns.at(slot)
		lp.flush(lp.atHand)
		lp.atHand = nil
		if i%8 == 0 && (!lp.reap(deadline) || fanout.Monotonic() > deadline) {
			return len(lp.writable) == 0 && len(lp.doomed) == 0
		}
	}
	return lp.reap(deadline)
}

// expireTimers handles the connections whose second has come. It reports false when the deadline came first.
//
// Runs on the loop.
func (lp *loop) expireTimers(deadline int64) bool {
	if !lp.reap(deadline) {
		return false
	}
	for i := 1; ; i++ {
		c := lp.wheel.pop(&lp.conns, lp.ticked)
		if c == nil {
			return lp.reap(deadline)
		}
		lp.atHand = c
		lp.expire(c)
		lp.atHand = nil
		if i%64 == 0 && (!lp.reap(deadline) || fanout.Monotonic() > deadline) {
			return false
		}
	}
}

// doom has a connection closed with err as soon as no walk is under way: at the latest when the callback of gnet
// that is running ends.
//
// Runs on the loop.
func (lp *loop) doom(c *conn, err *websocket.CloseError) {
	if c.flags&flagDoomed == 0 {
		c.flags |= flagDoomed
		lp.doomed = append(lp.doomed, doomed{c: c, key: c.key, err: err})
	}
}

// kill has a connection closed whose socket is of no more use.
//
// Runs on the loop.
func (lp *loop) kill(c *conn, label string) {
	c.flags |= flagDoomed
	lp.doomed = append(lp.doomed, doomed{c: c, key: c.key, label: label})
}

// reap ends the doomed. It reports false when the deadline came before the last: the rest goes first when the loop works
// again, so that no publication meets a connection that is to be ended. However late it is, one is ended: to take a
// connection off its channels takes half a millisecond if it has a thousand. No walk over subscribers may be half-way
// through a slice of the index.
func (lp *loop) reap(deadline int64) bool {
	for len(lp.doomed) > 0 {
		lp.reapAt(0)
		if len(lp.doomed) > 0 && fanout.Monotonic() > deadline {
			return false
		}
	}
	return true
}

// reapSince ends those that were doomed since there were from of them: by the callback of gnet that is running. Those
// before are work's, which has a deadline.
func (lp *loop) reapSince(from int) {
	for len(lp.doomed) > from { // ending one can doom another
		lp.reapAt(from)
	}
}

func (lp *loop) reapAt(i int) {
	d := lp.doomed[i]
	lp.doomed = slices.Delete(lp.doomed, i, i+1) // before it is ended: if that panics, it is not tried again
	if d.c.key != d.key || d.c.state == stateFree || d.c.state == stateDead {
		return
	}
	lp.atHand = d.c
	if d.err != nil {
		lp.startClose(d.c, d.err)
	} else {
		lp.cut(d.c, d.label)
	}
	lp.atHand = nil
}

// again has work called again, behind the sockets that have become ready.
//
// Runs on the loop.
func (lp *loop) again() {
	if lp.wake.fd == 0 { // not enrolled yet: before the sockets, then
		_ = lp.el.Execute(lp.ctx, lp)
		return
	}
	lp.wake.now()
}

// publishGauges copies what statistics show of the loop's state.
//
// Runs on the loop.
func (lp *loop) publishGauges() {
	lp.n.channels.Store(int64(lp.index.Channels()))
	lp.n.subscriptions.Store(int64(lp.index.Subscriptions()))
}

// keys numbers connections; shared by all loops. Zero is never used.
var keys atomic.Uint64
