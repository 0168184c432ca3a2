package server

import (
	"github.com/carillon-ws/carillon/protocol/http1"
)

// refuse answers a request that does not become a connection. If the socket has not sent anything yet, the answer waits
// until it does, or for lingerFor. The reason is nginx: an answer that comes before the request has been sent spoils the
// next try. nginx takes what is left of it for the beginning of the next answer, and takes a healthy gateway out of its
// rotation. The answer does not wait if the address is over its limit, because then there is no proxy, nor if too many
// wait already.
func (lp *loop) refuse(c *conn, r *http1.Refusal) {
	lp.owner.mustOwn()
	if c.flags&flagAsked == 0 && lp.setAside(c) <= int64(lp.srv.lingerRoom) && r != http1.RefuseAddress {
		c.extension().refusal = r
		lp.wheel.schedule(&lp.conns, c, lp.now()+seconds(lingerFor))
		return
	}
	lp.countRefusal(r)
	lp.event(c, "refused", r.Reason)
	lp.turnAway(c, http1.AppendRefusal(lp.out[:0], r))
}

// turnAway writes the last answer to a socket that does not become a connection. The socket lingers until the client has
// read the answer. It does not count as a connection meanwhile: else refused clients could keep others out. If too many
// linger already, the socket is closed at once.
func (lp *loop) turnAway(c *conn, answer []byte) {
	lp.owner.mustOwn()
	lp.linger(c)
	lingering := lp.setAside(c)
	lp.write(c, answer)
	lp.out = answer[:0]
	if lingering > int64(lp.srv.lingerRoom) {
		lp.cut(c, "refused")
		return
	}
	lp.hangUp(c)
}

// setAside counts a socket as refused, which is apart from connections, and returns how many are.
func (lp *loop) setAside(c *conn) int64 {
	lp.owner.mustOwn()
	if c.flags&flagRefused != 0 {
		return lp.srv.refused.Load()
	}
	c.flags |= flagRefused
	return lp.srv.refused.Add(1)
}

// countRefusal counts a refusal, and says once a second that limits are met.
func (lp *loop) countRefusal(r *http1.Refusal) {
	lp.n.refused.add(r.Reason, 1)
	switch r {
	case http1.RefuseFull, http1.RefuseRate, http1.RefuseAddress:
		now := lp.now()
		if last := lp.srv.warned.Load(); last != now && lp.srv.warned.CompareAndSwap(last, now) {
			lp.cfg.Log.Warn("newcomers are refused", "reason", r.Reason, "sockets", lp.srv.sockets.Load())
		}
	}
}
