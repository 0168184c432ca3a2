package server

import (
	"github.com/carillon-ws/carillon/protocol"
	"github.com/carillon-ws/carillon/protocol/http1"
)

// expire looks at a connection whose second has come: something is overdue, or it is put back.
func (lp *loop) expire(c *conn) {
	lp.owner.mustOwn()
	now := lp.now()
	switch c.state {
	case stateOpening:
		r := http1.RefuseTimeout
		if c.ext != nil && c.ext.refusal != nil {
			r = c.ext.refusal
		} else if due := lp.headDue(c); now < due {
			lp.wheel.schedule(&lp.conns, c, due)
			return
		}
		c.flags |= flagAsked
		lp.refuse(c, r)
	case stateClosing:
		if due := c.lastSeen + seconds(lingerFor); now < due {
			lp.wheel.schedule(&lp.conns, c, due)
			return
		}
		lp.cut(c, "lingered")
	case stateOpen:
		lp.expireOpen(c, now)
	default: // its socket is closed, or about to be
	}
}

// headDue is the second at which a request head is overdue. Seconds are counted whole, and the one in which the socket
// came may have been nearly over: without one more the shortest timeout would be none.
func (lp *loop) headDue(c *conn) uint32 { return c.lastSeen + 1 + seconds(lp.cfg.HandshakeTimeout) }

// messageDue is the second at which an unfinished message is; see headDue.
func (lp *loop) messageDue(e *connExt) uint32 {
	return e.unfinishedSince + 1 + seconds(lp.cfg.MessageTimeout)
}

func (lp *loop) expireOpen(c *conn, now uint32) {
	next := uint32(0)
	look := func(due uint32) bool {
		if now >= due {
			return true
		}
		if next == 0 || due < next {
			next = due
		}
		return false
	}
	if e := c.ext; e != nil {
		if e.reader.Mid() && look(lp.messageDue(e)) {
			lp.end(c, protocol.ErrMessageTimeout)
			return
		}
		if !e.backlog.empty() && look(e.backlog.moved+seconds(lp.cfg.MaxBacklogAge)) {
			lp.end(c, protocol.ErrSlowConsumer)
			return
		}
	}
	if lp.cfg.Verifier != nil && look(lp.expiry(c)) {
		lp.end(c, protocol.ErrTokenExpired)
		return
	}
	if lp.cfg.PingInterval > 0 {
		if lp.ping(c, now, look) {
			return
		}
	}
	if lp.cfg.Heartbeat > 0 {
		lp.heartbeat(c, now, look)
	}
	if next != 0 {
		lp.wheel.schedule(&lp.conns, c, next)
	}
}
