package server

import (
	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/protocol"
	"github.com/carillon-ws/carillon/protocol/websocket"
)

// read takes what a connection sent. data is gnet's: it is changed in place and not kept.
func (lp *loop) read(c *conn, data []byte) {
	lp.owner.mustOwn()
	switch c.state {
	case stateOpening:
		lp.readHead(c, data)
	case stateOpen:
		lp.readFrames(c, data)
	case stateClosing:
		e := c.extension()
		if e.discarded += len(data); e.discarded > maxLinger {
			lp.cut(c, "lingered")
		}
	default: // its socket is about to be closed
	}
	lp.write(c, lp.out)
	lp.out = lp.out[:0]
}

// readFrames takes an open connection's bytes.
func (lp *loop) readFrames(c *conn, data []byte) {
	lp.owner.mustOwn()
	if len(data) > 0 {
		now := lp.now()
		lp.refill(c, now)
		c.lastSeen = now
		c.flags &^= flagPinged
	}
	// An idle connection has no reader: this one is kept only if something is left in it.
	var reader websocket.Reader
	limits := &lp.limits[c.dialectNumber]
	wasMid := false
	if c.ext != nil {
		reader = c.ext.reader
		wasMid = reader.Mid()
	}
	for len(data) > 0 && c.flags&flagEnding == 0 {
		ev, used, err := reader.Next(data, limits)
		if err != nil {
			lp.end(c, asCloseError(err))
			break
		}
		data = data[used:]
		wasMid = wasMid && reader.Mid() // a message that ended is not the one that is unfinished later
		if !ev.None() {
			lp.handle(c, ev)
		}
	}
	lp.keepReader(c, reader, wasMid)
}

// keepReader keeps the reader if a message is unfinished, and the second at which that began.
func (lp *loop) keepReader(c *conn, reader websocket.Reader, wasMid bool) {
	lp.owner.mustOwn()
	if !reader.Mid() || c.state != stateOpen {
		if c.ext != nil {
			c.ext.reader = websocket.Reader{}
			lp.countUnfinished(c, false)
			c.dropExt()
		}
		return
	}
	e := c.extension()
	e.reader = reader
	if !wasMid {
		e.unfinishedSince = lp.now()
		lp.wheel.schedule(&lp.conns, c, lp.messageDue(e))
	}
	lp.countUnfinished(c, !wasMid)
}

// handle acts on one message or control frame.
func (lp *loop) handle(c *conn, ev websocket.Event) {
	within := lp.charge(c, 1+ev.Deflated/inflateUnit)
	switch ev.Op {
	case ws.OpText, ws.OpBinary:
		lp.n.commands.Add(1)
		out, cmd, err := c.dialect().Decode(lp.out, &lp.decoder, ev)
		lp.out = out
		if cmd != nil {
			lp.command(c, cmd, err, within)
		}
	case ws.OpPing:
		if !within {
			return // RFC 6455 section 5.5.2 wants each ping answered; a flood is not
		}
		lp.out = c.dialect().AppendPong(lp.out, ev.Payload)
	case ws.OpPong: // proof of life, noted already
	case ws.OpClose:
		code, _, err := websocket.ParseClose(ev.Payload)
		if err != nil {
			lp.end(c, asCloseError(err))
			return
		}
		lp.end(c, protocol.PeerClose(code))
	default: // the reader gives out no others
	}
}

func asCloseError(err error) *websocket.CloseError {
	if e, ok := err.(*websocket.CloseError); ok { //nolint:errorlint // the reader returns this type only, never wrapped
		return e
	}
	return protocol.ErrInternal
}
