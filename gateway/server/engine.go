package server

import (
	"slices"

	"github.com/panjf2000/gnet/v2"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/protocol"
	"github.com/carillon-ws/carillon/protocol/http1"
)

// engine is one life of a loop's gnet engine: its connections, and all state about them. When gnet ends an engine, its
// connections are gone, and the loop starts with an empty engine.
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
	calls    []call   // taken from the mailbox, not yet run
	writable []uint32 // taken from the mailbox, not yet flushed
	wake     selfWake

	atHand  *conn // the connection that is being flushed, timed out or ended: if that panics, the panic ends it
	current *conn // the connection that gnet is calling us for
	broken  bool  // a connection could not be taken out of the engine: it must end

	upgrader  *http1.Upgrader
	decoder   protocol.Decoder
	limits    []limits         // by dialect
	answering protocol.Message // the answer that is being encoded
	out       []byte           // answers to the connection at hand, written together
	scratch   []byte
	pong      heartbeatFrame
	events    eventLog
	panics    panicLog

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

// begin makes a new engine of the event loop that gnet calls us on, the first time it does.
func (lp *loop) begin(el gnet.EventLoop) {
	if lp.el == el {
		return
	}
	lp.owner.adopt()
	lp.engine = newEngine(lp, el)
	lp.mailbox.mu.Lock()
	lp.mailbox.el = el
	lp.mailbox.awake = false
	lp.mailbox.mu.Unlock()
}

// closeMailbox is called when the engine is ending, before gnet closes the descriptor that wakes it: from now on nothing
// is posted, and nobody wakes the loop. Whoever did would write to whatever has that number next. Safe to call from any
// goroutine, and more than once.
func (lp *loop) closeMailbox() {
	lp.mailbox.mu.Lock()
	lp.mailbox.el = nil
	lp.mailbox.mu.Unlock()
	lp.mailbox.waking.Wait()
}

// retire gives back what the engine still holds when gnet has ended it. The connections that gnet has closed were given
// back one by one. What is left are those that could not be, and everything that waits for an answer. It runs on the
// goroutine that started the engine, which has the loop for itself then.
func (lp *loop) retire() {
	lp.owner.adopt()
	lp.closeMailbox()
	lp.endSweeps()
	lp.loseMail()
	lp.wake.close()
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
	lp.engine = newEngine(lp, nil)
	lp.publishGauges()
	lp.publishOldest()
	lp.asked.Store(false)
	lp.owner.disown()
}

// loseMail throws away what the engine has not come to, and tells those who wait for it.
func (lp *loop) loseMail() {
	lp.owner.mustOwn()
	mb := &lp.mailbox
	mb.mu.Lock()
	calls := slices.Concat(lp.calls, mb.calls)
	lp.calls, mb.calls, mb.writable = nil, nil, nil
	mb.batch.Reset()
	mb.mu.Unlock()
	for _, c := range calls {
		if c.lost != nil {
			c.lost()
		}
	}
}
