package server

import (
	"github.com/panjf2000/gnet/v2"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/protocol"
	"github.com/carillon-ws/carillon/protocol/http1"
)

// engine is one life of a loop's gnet engine: its connections, and all that is about them. When gnet ends an engine, its
// connections are gone, and the loop gets a new one.
//
// Owned by the loop.
type engine struct {
	el       gnet.EventLoop // nil before gnet has called
	conns    arena
	index    *fanout.Index[member]
	wheel    wheel
	ticked   uint32                 // second up to which timers are to be handled
	backlogs bitset                 // slots with a backlog
	ages     ages                   // connections with a backlog, by the age of what they hold
	grown    bool                   // backlogs have grown since they were last within their total
	waiting  map[string]*waitList   // by channel: subscriptions that are not confirmed yet
	takes    [protocol.Forms]bitset // slots of open connections that take a form; no bit is set for the plain one

	endings  []ending
	sweeps   []*sweep
	drain    drainState
	calls    []func() // taken from the mailbox, not yet run
	writable []uint32 // taken from the mailbox, not yet flushed
	wake     selfWake

	atHand  *conn // the connection that work is busy with: a panic ends it
	current *conn // the connection that gnet is calling us for

	upgrader *http1.Upgrader
	decoder  protocol.Decoder
	limits   []limits         // by dialect
	said     protocol.Message // the answer that is being encoded
	out      []byte           // answers to the connection at hand, written together
	scratch  []byte
	pong     heartbeatFrame
	events   eventLog
	panics   panicLog

	broadcast
	published func(latency int64) // loop.countPublication; tests replace it
}

func newEngine(lp *loop, el gnet.EventLoop) *engine {
	e := &engine{
		el:       el,
		index:    fanout.NewIndex[member](),
		upgrader: http1.NewUpgrader(lp.cfg.Upgrade),
		limits:   newLimits(lp.cfg),
		ticked:   nowSeconds(),
	}
	e.wheel.now = e.ticked
	e.broadcast.turn = fanout.NewTurn(e.index)
	e.published = lp.countPublication
	return e
}

// begin takes the event loop that gnet runs for us, the first time it calls us on it: from now on the loop has a new
// engine.
func (lp *loop) begin(el gnet.EventLoop) {
	if lp.el == el {
		return
	}
	if lp.el != nil { // an engine that ended before it had its self-wake
		lp.stopped()
	}
	lp.abandon()
	lp.owner.adopt()
	lp.engine = newEngine(lp, el)
	lp.asked.Store(false)
	lp.publishOldest()
	lp.mailbox.mu.Lock()
	lp.mailbox.el = el
	lp.mailbox.awake = false
	lp.mailbox.mu.Unlock()
}

// abandon gives back what an engine that is over still holds of what the whole process counts. gnet closes the connections
// of an engine that it ends, and forget has given them back: this is for an engine that was ended because it could not.
func (lp *loop) abandon() {
	lp.cfg.Interest.Forget(lp.id)
	for slot := uint32(1); slot <= lp.conns.used; slot++ {
		lp.uncount(lp.conns.at(slot))
	}
	lp.srv.sockets.Add(-lp.n.sockets.Swap(0))
	lp.n.connections.Store(0)
	lp.n.compressing.Store(0)
	lp.n.backlogged.Store(0)
	lp.n.backlogBytes.Store(0)
	lp.n.waiting.Store(0)
}

// stopped is called when the engine closes the self-wake: the loop is ending, and its connections with it.
func (lp *loop) stopped() {
	lp.mailbox.mu.Lock()
	lp.mailbox.el = nil
	lp.mailbox.batch.Reset()
	lp.mailbox.calls, lp.mailbox.writable = nil, nil
	lp.mailbox.mu.Unlock()
	// gnet closes the loop's event descriptor as soon as its loop has ended. Whoever is about to wake the loop would then
	// write to whatever has that number next.
	lp.mailbox.waking.Wait()
	lp.endSweeps()
	lp.wake.close()
	lp.el = nil
	lp.owner.disown()
}
