package server

import (
	"bytes"

	"github.com/carillon-ws/carillon/gateway/identity"
	"github.com/carillon-ws/carillon/protocol"
	"github.com/carillon-ws/carillon/protocol/http1"
)

// readHead waits for a whole request head and answers it. The first frames may come right behind it.
func (lp *loop) readHead(c *conn, data []byte) {
	lp.owner.mustOwn()
	c.flags |= flagAsked
	if c.ext != nil && c.ext.refusal != nil {
		lp.refuse(c, c.ext.refusal)
		return
	}
	head := data
	seen := 0
	if c.ext != nil && c.ext.head != nil {
		seen = len(c.ext.head)
		c.ext.head = append(c.ext.head, data...)
		head = c.ext.head
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
		if c.ext != nil && c.ext.head != nil {
			rest = append(c.ext.head[:0], rest...) // to the front, so that its capacity is what is held
			c.ext.head = rest
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
		c.ext.head = nil
		lp.countUnfinished(c, false)
		c.ext = nil
	}
	lp.open(c, req, who)
	lp.readFrames(c, rest)
}

// keepHead keeps the first bytes of a request head that is not whole; those that follow are kept as they come.
func (lp *loop) keepHead(c *conn, data []byte) {
	lp.owner.mustOwn()
	if e := c.extension(); e.head == nil {
		e.head = append([]byte(nil), data...)
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
	lp.owner.mustOwn()
	lp.wheel.remove(&lp.conns, c)
	c.state, c.lastSeen, c.identity = stateOpen, lp.now(), who
	lp.n.connections.Add(1) // leave takes it back, whatever fails from here on
	lp.startDialect(c, req)
	lp.n.upgraded.Add(1)
	lp.event(c, "opened", "")
	lp.startHeartbeat(c)
	lp.expireOpen(c, c.lastSeen) // nothing is overdue: it schedules what will be
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
