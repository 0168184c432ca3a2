package server

import (
	"bytes"

	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/gateway/identity"
	"github.com/carillon-ws/carillon/protocol"
	"github.com/carillon-ws/carillon/protocol/http1"
	"github.com/carillon-ws/carillon/protocol/websocket"
)

// read takes what a connection sent. data is gnet's: it is changed in place and not kept.
func (lp *loop) read(c *conn, data []byte) {
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
	default: // it is on its way out
	}
	lp.write(c, lp.out)
	lp.out = lp.out[:0]
}

// readHead waits for a whole request head and answers it. The first frames may come right behind it.
func (lp *loop) readHead(c *conn, data []byte) {
	c.flags |= flagAsked
	if c.ext != nil && c.ext.refusal != nil {
		lp.refuse(c, c.ext.refusal)
		return
	}
	head := data
	seen := 0
	if c.ext != nil && c.ext.in != nil {
		seen = len(c.ext.in)
		c.ext.in = append(c.ext.in, data...)
		head = c.ext.in
	}
	if c.flags&flagProxied != 0 {
		rest, refusal := lp.readProxyHeader(c, head)
		switch {
		case refusal != nil:
			lp.refuse(c, refusal)
			return
		case rest == nil:
			lp.keepHead(c, data)
			return
		}
		if c.ext != nil && c.ext.in != nil {
			rest = append(c.ext.in[:0], rest...) // to the front, so that its capacity is what is held
			c.ext.in = rest
		}
		head, seen = rest, 0
		data = rest
	}
	n := http1.HeadLen(head, seen)
	switch {
	case n > maxHead, n == 0 && len(head) > maxHead:
		lp.refuse(c, refusalOfLong(head))
		return
	case n == 0:
		lp.keepHead(c, data)
		return
	}
	if lp.srv.draining.Load() { // it came before the drain, and its request now
		lp.refuse(c, http1.RefuseDraining)
		return
	}
	out, req, refusal := lp.upgrader.Upgrade(lp.out, head[:n])
	if refusal == nil {
		refusal = lp.countForwarded(c, req)
	}
	if refusal != nil {
		lp.refuse(c, refusal)
		return
	}
	who, err := lp.identify(req)
	if err != nil {
		lp.refuseToken(c, out, req.Subprotocol, err)
		return
	}
	lp.out = out
	rest := head[n:]
	if c.ext != nil {
		c.ext.in = nil
		lp.countUnfinished(c, false)
		c.ext = nil
	}
	lp.open(c, req, who)
	lp.readFrames(c, rest)
}

// keepHead keeps the first bytes of a request head that is not whole; those that follow are kept as they come.
func (lp *loop) keepHead(c *conn, data []byte) {
	if e := c.extension(); e.in == nil {
		e.in = append([]byte(nil), data...)
	}
	lp.countUnfinished(c, false)
}

func refusalOfLong(head []byte) *http1.Refusal {
	if bytes.IndexByte(head[:min(len(head), maxHead)], '\n') >= 0 {
		return http1.RefuseHeadLong
	}
	return http1.RefuseLineLong
}

// open makes the upgraded socket a connection. The 101 and the first message leave in one write.
func (lp *loop) open(c *conn, req *http1.Request, who *identity.Identity) {
	lp.wheel.remove(&lp.conns, c)
	c.state, c.seen, c.who = stateOpen, lp.now(), who
	lp.n.upgraded.Add(1)
	lp.event(c, "opened", "")
	lp.n.connections.Add(1)
	lp.startDialect(c, req)
	lp.startHeartbeat(c)
	lp.expireOpen(c, c.seen) // nothing is overdue: it schedules what will be
	connected := protocol.Message{
		Type: protocol.MessageConnected, ClientID: lp.srv.ids.of(c.key), HeartbeatMs: lp.cfg.Heartbeat.Milliseconds(),
	}
	if who != nil {
		connected.UserID = who.User
	}
	if lp.cfg.Verifier != nil {
		connected.ExpiresAt = who.Expires.UnixMilli()
	}
	lp.answer(c, &connected)
	lp.subscribePersonal(c)
}

// readFrames takes an open connection's bytes.
func (lp *loop) readFrames(c *conn, data []byte) {
	if len(data) > 0 {
		now := lp.now()
		lp.refill(c, now)
		c.seen = now
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
		e.midSince = lp.now()
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
