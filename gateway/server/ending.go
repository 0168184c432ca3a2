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
	ref   connRef
	err   *websocket.CloseError // nil: the socket is broken, close it
	label string                // why, for the metric, when err is nil
}

// end has a connection ended with err: when the running callback of gnet is done, or in the next step of work.
func (lp *loop) end(c *conn, err *websocket.CloseError) {
	lp.owner.mustOwn()
	if c.flags&flagEnding == 0 {
		c.flags |= flagEnding
		lp.endings = append(lp.endings, ending{ref: c.ref(), err: err})
	}
}

// cut has the socket of a connection closed, without a close frame: nobody would read it.
func (lp *loop) cut(c *conn, label string) {
	lp.owner.mustOwn()
	c.flags |= flagEnding
	lp.endings = append(lp.endings, ending{ref: c.ref(), label: label})
}

// settle ends the connections that end and cut have put on the list. It reports false if the deadline came before the last
// one. Then the rest is ended first when the loop works again, so that nothing more is sent to them. At least one is
// ended, however late it is. The clock is looked at after each, because it takes half a millisecond to take a connection
// off a thousand channels. No walk over subscribers may be half-way through a slice of the index.
func (lp *loop) settle(deadline int64) bool {
	lp.owner.mustOwn()
	for len(lp.endings) > 0 {
		lp.settleAt(0)
		if len(lp.endings) > 0 && fanout.Monotonic() > deadline {
			return false
		}
	}
	return true
}

// settleSince ends the connections that the running callback of gnet has put on the list. The list had from entries
// before: those are left to work, which has a deadline.
func (lp *loop) settleSince(from int) {
	for len(lp.endings) > from { // ending one connection can put another on the list
		lp.settleAt(from)
	}
}

func (lp *loop) settleAt(i int) {
	e := lp.endings[i]
	lp.endings = slices.Delete(lp.endings, i, i+1) // before it is ended: if that panics, it is not tried again
	c := lp.connOf(e.ref)
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

// keepHalfSent drops the backlog of a connection that is too slow. A frame that is half sent is kept: it must be finished.
func (lp *loop) keepHalfSent(c *conn) {
	lp.owner.mustOwn()
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

// linger begins the closing state: the last bytes are on their way, and what the client still sends is thrown away. That
// lasts lingerFor, and maxLinger bytes, at most.
func (lp *loop) linger(c *conn) {
	lp.owner.mustOwn()
	c.state, c.lastSeen = stateClosing, lp.now()
	if c.ext != nil {
		c.ext.head, c.ext.reader = nil, websocket.Reader{}
		lp.countUnfinished(c, false)
	}
	lp.wheel.schedule(&lp.conns, c, c.lastSeen+seconds(lingerFor))
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

// ClosedByLoop is the reason of connections that were open when their loop ended.
const ClosedByLoop = "loop_ended"

// forget gives back the record of a connection that gnet is closing. label tells why, if it is still open: that nobody has
// counted yet.
func (lp *loop) forget(c *conn, label string) {
	lp.owner.mustOwn()
	if c.state == stateOpen {
		lp.n.closed.add(label, 1)
		lp.event(c, "closed", label)
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
	lp.owner.mustOwn()
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
