package server

import (
	"time"

	"github.com/carillon-ws/carillon/protocol"
)

// ping sends a ping to a connection that was silent for an interval, and ends one that did not answer. Any byte
// received proves life, and so does any byte that the socket takes of a backlog: a connection with a backlog is sent no
// ping, which would wait behind it, and MaxBacklogAge decides how long it may stand still. ping reports whether the
// connection was ended.
func (lp *loop) ping(c *conn, now uint32, look func(uint32) bool) bool {
	if lp.backlogs.has(c.slot) {
		return false
	}
	due, timeout := lp.pingAt(c), seconds(lp.cfg.PongTimeout)
	if c.flags&flagPinged != 0 {
		if look(due + timeout) {
			lp.end(c, protocol.ErrHeartbeatMissed)
			return true
		}
		return false
	}
	if look(due) {
		// The loop may come to it late. The time that the connection was not asked does not count as silence, so the pong
		// is awaited from now on.
		lp.alive(c, c.lastSeen+now-due)
		c.flags |= flagPinged
		lp.scratch = c.dialect().AppendPing(lp.scratch[:0])
		lp.write(c, lp.scratch)
		look(now + timeout)
	}
	return false
}

// alive notes that a connection is known to be alive at a second.
func (lp *loop) alive(c *conn, second uint32) {
	lp.owner.mustOwn()
	lp.refill(c, second)
	c.lastSeen = second
	c.flags &^= flagPinged
}

// backlogSent notes that an open connection has taken the last byte of its backlog: it is alive, and is asked again when
// it is silent for an interval.
func (lp *loop) backlogSent(c *conn) {
	if lp.cfg.PingInterval > 0 {
		lp.alive(c, lp.now())
		lp.wheel.schedule(&lp.conns, c, lp.pingAt(c))
	}
}

// pingAt is the second at which a connection is pinged if it stays silent: up to a quarter of the interval early, by
// its key, so that connections that came together are not pinged together for ever after.
func (lp *loop) pingAt(c *conn) uint32 {
	interval := seconds(lp.cfg.PingInterval)
	return c.lastSeen + interval - uint32(c.key%uint64(interval/4+1))
}

// heartbeat sends the message heartbeat when a new one is due: a pong that nobody asked for. A page cannot see pings, so
// this is how it finds out that the gateway is gone. It is sent whatever else is, at a time of the interval that the
// connection's key decides, but for connections with a backlog: something is on its way to them already.
func (lp *loop) heartbeat(c *conn, now uint32, look func(uint32) bool) {
	every := heartbeatEvery(lp.cfg.Heartbeat)
	phase := uint32(c.key % uint64(every))
	number := (now + phase) / every
	if uint8(number) != c.heartbeat {
		c.heartbeat = uint8(number)
		if !lp.backlogs.has(c.slot) {
			lp.write(c, lp.pong.at(now, c.dialect()))
		}
	}
	look((number+1)*every - phase)
}

// startHeartbeat has the first heartbeat come within an interval of `connected`, and not before it.
func (lp *loop) startHeartbeat(c *conn) {
	lp.owner.mustOwn()
	if lp.cfg.Heartbeat > 0 {
		every := heartbeatEvery(lp.cfg.Heartbeat)
		c.heartbeat = uint8((c.lastSeen + uint32(c.key%uint64(every))) / every)
	}
}

// heartbeatEvery is a second less than what the client was promised: the wheel turns once a second.
func heartbeatEvery(promised time.Duration) uint32 { return uint32(promised/time.Second) - 1 }

// heartbeatFrame is the message heartbeat, encoded once a second for all connections of one dialect.
type heartbeatFrame struct {
	second  uint32
	dialect protocol.Dialect
	bytes   []byte
}

func (h *heartbeatFrame) at(now uint32, d protocol.Dialect) []byte {
	if h.second != now || h.dialect != d {
		h.second, h.dialect = now, d
		h.bytes = d.AppendMessage(h.bytes[:0], &protocol.Message{Type: protocol.MessagePong, Timestamp: time.Now().UnixMilli()})
	}
	return h.bytes
}
