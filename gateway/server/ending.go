package server

import (
	"slices"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/protocol"
	"github.com/carillon-ws/carillon/protocol/http1"
	"github.com/carillon-ws/carillon/protocol/websocket"
)

// How connections end. DESIGN.md has a table of the ways and their verbs.

// ending is a connection that is to be ended when no walk over subscribers is under way.
type ending struct {
	who   connRef
	err   *websocket.CloseError // nil: the socket is broken, close it
	label string                // why, for the metric, when err is nil
}

// end has a connection closed with err, at the latest when the callback of gnet that is running ends.
func (lp *loop) end(c *conn, err *websocket.CloseError) {
	if c.flags&flagEnding == 0 {
		c.flags |= flagEnding
		lp.endings = append(lp.endings, ending{who: c.ref(), err: err})
	}
}

// cut has a connection closed whose socket is of no more use.
func (lp *loop) cut(c *conn, label string) {
	c.flags |= flagEnding
	lp.endings = append(lp.endings, ending{who: c.ref(), label: label})
}

// settle carries out what end and cut have put on the list. It reports false when the deadline came before the last: the
// rest goes first when the loop works again, so that no publication meets a connection that is to be ended. However late
// it is, one is ended: to take a connection off its channels takes half a millisecond if it has a thousand. No walk over
// subscribers may be half-way through a slice of the index.
func (lp *loop) settle(deadline int64) bool {
	for len(lp.endings) > 0 {
		lp.settleAt(0)
		if len(lp.endings) > 0 && fanout.Monotonic() > deadline {
			return false
		}
	}
	return true
}

// settleSince carries out what the callback of gnet that is running has put on the list, which had from entries before.
// Those are work's, which has a deadline.
func (lp *loop) settleSince(from int) {
	for len(lp.endings) > from { // ending one connection can put another on the list
		lp.settleAt(from)
	}
}

func (lp *loop) settleAt(i int) {
	e := lp.endings[i]
	lp.endings = slices.Delete(lp.endings, i, i+1) // before it is ended: if that panics, it is not tried again
	c := lp.connOf(e.who)
	if c == nil || c.state == stateDead {
		return
	}
	lp.atHand = c
	if e.err != nil {
		lp.goodbye(c, e.err)
	} else {
		lp.closeSocket(c, e.label)
	}
	lp.atHand = nil
}

// goodbye tells a client why its connection ends: it hears nothing more, what waits for it is sent (unless it is too slow
// for that), then the close frame, then the end of the stream. A request that is not answered yet is refused.
func (lp *loop) goodbye(c *conn, err *websocket.CloseError) {
	lp.owner.mustOwn()
	switch c.state {
	case stateOpening:
		switch {
		case !lp.srv.draining.Load() && err.Label == protocol.ErrInboundFull.Label:
			lp.refuse(c, http1.RefuseInbound)
		case !lp.srv.draining.Load():
			lp.refuse(c, http1.RefuseInternal)
		case c.ext == nil || c.ext.refusal == nil:
			lp.refuse(c, http1.RefuseDraining)
		}
		return
	case stateOpen:
	default:
		return
	}
	lp.n.closed.add(err.Label, 1)
	lp.event(c, "closed", err.Label)
	lp.leave(c)
	lp.linger(c)
	if c.ext != nil && err == protocol.ErrSlowConsumer {
		lp.keepHalfSent(c)
	}
	if c == lp.current { // what was answered before it went wrong is sent before the close frame
		lp.out = c.dialect().AppendClose(lp.out, err)
		lp.write(c, lp.out)
		lp.out = lp.out[:0]
	} else {
		lp.scratch = c.dialect().AppendClose(lp.scratch[:0], err)
		lp.write(c, lp.scratch)
	}
	lp.hangUp(c)
}

// keepHalfSent forgets what waits for a connection that is too slow, but for what must be finished.
func (lp *loop) keepHalfSent(c *conn) {
	b := &c.ext.backlog
	if b.empty() {
		return
	}
	lp.account(-b.keepHalfSent())
	if b.empty() {
		lp.clearBacklog(c)
		return
	}
	lp.rank(c)
}

// linger enters the last state but one: the last bytes are on their way, and what the client still sends is thrown away,
// for lingerFor and maxLinger at most.
func (lp *loop) linger(c *conn) {
	c.state, c.seen = stateClosing, lp.now()
	if c.ext != nil {
		c.ext.in, c.ext.reader = nil, websocket.Reader{}
		lp.countUnfinished(c, false)
	}
	lp.wheel.schedule(&lp.conns, c, c.seen+seconds(lingerFor))
}

// hangUp ends our side of the stream once everything is handed to the kernel. The client reads it all and closes.
func (lp *loop) hangUp(c *conn) {
	if c.state == stateClosing && (c.ext == nil || c.ext.backlog.empty()) {
		closeWrite(c.fd)
	}
}

// closeSocket closes the socket now.
func (lp *loop) closeSocket(c *conn, label string) {
	lp.owner.mustOwn()
	if c.state == stateOpen {
		lp.n.closed.add(label, 1)
		lp.event(c, "closed", label)
		lp.leave(c)
	}
	c.state = stateDead
	if c != lp.current { // else gnet closes it when its callback returns
		_ = lp.el.Close(c.gc)
	}
}

// leave takes an open connection out of everything that could write to it.
func (lp *loop) leave(c *conn) {
	lp.owner.mustOwn()
	lp.stopWaitingAll(c)
	lp.index.Leave(&c.subs, lp.endInterest)
	c.count = 0
	lp.n.connections.Add(-1)
	lp.stopForm(c)
}

// forget gives back the record of a connection that gnet is closing, whoever wanted it.
func (lp *loop) forget(c *conn) {
	lp.owner.mustOwn()
	if c.state == stateOpen { // the client left without a close frame
		lp.n.closed.add("peer_gone", 1)
		lp.event(c, "closed", "peer_gone")
	}
	lp.release(c)
	lp.publishGauges()
}

// release takes a connection out of the loop and gives its record back. Its socket stays as it is.
func (lp *loop) release(c *conn) {
	lp.owner.mustOwn()
	if c.state == stateOpen {
		lp.leave(c)
	}
	if c.ext != nil && !c.ext.backlog.empty() {
		lp.clearBacklog(c)
	}
	lp.uncount(c)
	lp.wheel.remove(&lp.conns, c)
	lp.conns.put(c)
	lp.n.sockets.Add(-1)
	lp.srv.sockets.Add(-1)
}

// uncount takes a connection out of what all loops count together.
func (lp *loop) uncount(c *conn) {
	if c.address != nil {
		lp.srv.addresses.put(c.address)
		c.address = nil
	}
	if c.ext != nil && c.ext.held != nil {
		lp.srv.inbound.end(c.ext.held)
		c.ext.held = nil
	}
	if c.flags&flagRefused != 0 {
		lp.srv.refused.Add(-1)
		c.flags &^= flagRefused
	}
}
