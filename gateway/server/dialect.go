package server

import (
	"time"

	"github.com/carillon-ws/carillon/protocol"
	"github.com/carillon-ws/carillon/protocol/http1"
	"github.com/carillon-ws/carillon/protocol/websocket"
)

// dialects are those that connections can have. A record holds a number of this list, so it is only appended to.
var dialects = []protocol.Dialect{
	dialectPlain:    protocol.Carillon,
	dialectDeflated: protocol.CarillonDeflated,
}

// Numbers of dialects.
const (
	dialectPlain uint8 = iota
	dialectDeflated
)

// dialect is how the connection is spoken to.
func (c *conn) dialect() protocol.Dialect { return dialects[c.dialectNumber] }

// limits bound what a connection of one dialect may send.
type limits = websocket.Limits

// newLimits returns the limits of each dialect. Those whose clients compress share one inflater.
func newLimits(cfg *Config) []limits {
	out := make([]limits, len(dialects))
	inflater := new(websocket.Inflater)
	for i, d := range dialects {
		out[i] = limits{MaxMessage: cfg.MaxMessage, MaxFragments: cfg.MaxFragments, AllowBinary: d.AcceptsBinary()}
		if d.AcceptsDeflated() {
			out[i].Inflater = inflater
		}
	}
	return out
}

// startDialect gives a connection the dialect that its request asks for.
func (lp *loop) startDialect(c *conn, req *http1.Request) {
	c.dialectNumber = lp.cfg.dialect(req)
	lp.startForm(c)
}

// startForm notes in which form publications go to the connection.
func (lp *loop) startForm(c *conn) {
	lp.owner.mustOwn()
	if form := c.dialect().Form(); form != protocol.Plain {
		lp.takes[form].set(c.slot)
		lp.n.compressing.Add(1)
	}
}

// stopForm forgets in which form publications go to the connection: none do any more.
func (lp *loop) stopForm(c *conn) {
	lp.owner.mustOwn()
	if form := c.dialect().Form(); form != protocol.Plain {
		lp.takes[form].clear(c.slot)
		lp.n.compressing.Add(-1)
	}
}

// formOf is the form in which publications go to the connection in a slot. It is the same for as long as the connection
// is open, so what is sent of a frame and what waits of it never mix two forms. Records are not looked at: this is on the
// way of every delivery.
func (lp *loop) formOf(slot uint32) protocol.Form {
	for form := protocol.Plain + 1; form < protocol.Forms; form++ {
		if lp.takes[form].has(slot) {
			return form
		}
	}
	return protocol.Plain
}

// answer tells a connection something, in its dialect: at once, or, if gnet is calling us for it, with whatever else it
// is told before the callback ends. A connection that is not open any more is told nothing. m is not kept.
func (lp *loop) answer(c *conn, m *protocol.Message) {
	lp.owner.mustOwn()
	if c.state != stateOpen {
		return
	}
	lp.answering = *m // in memory of the loop: what an interface is given is else allocated
	lp.answering.Timestamp = time.Now().UnixMilli()
	if c == lp.current {
		lp.out = c.dialect().AppendMessage(lp.out, &lp.answering)
		return
	}
	lp.scratch = c.dialect().AppendMessage(lp.scratch[:0], &lp.answering)
	lp.write(c, lp.scratch)
}
