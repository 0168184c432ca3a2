package server

import (
	"net/netip"

	"github.com/panjf2000/gnet/v2"

	"github.com/carillon-ws/carillon/protocol/http1"
)

// accept makes a connection of a socket, or refuses it: politely while there is room to linger, at once beyond.
func (lp *loop) accept(gc gnet.Conn) gnet.Action {
	lp.owner.mustOwn()
	lp.n.accepted.Add(1)
	sockets, most := lp.srv.sockets.Add(1), int64(lp.cfg.MaxConnections)
	if sockets > most+int64(lp.srv.lingerRoom) {
		lp.countRefusal(http1.RefuseFull)
		return gnet.Close
	}
	c := lp.conns.take()
	c.gc, c.fd, c.key = gc, int32(gc.Fd()), keys.Add(1)
	c.state, c.accepted = stateOpening, lp.now()
	c.lastSeen = c.accepted
	gc.SetContext(c)
	lp.n.sockets.Add(1)
	lp.current = c // gnet is inside OnOpen: it must not be closed under it
	from := len(lp.endings)
	if r := lp.admit(c, sockets-lp.srv.refused.Load() > most); r != nil {
		lp.refuse(c, r)
	} else {
		lp.wheel.schedule(&lp.conns, c, lp.headDue(c))
	}
	lp.settleSince(from)
	lp.current = nil
	if c.state == stateDead {
		return gnet.Close
	}
	return gnet.None
}

// admit decides whether a socket may ask to become a connection.
func (lp *loop) admit(c *conn, full bool) *http1.Refusal {
	switch {
	case lp.srv.draining.Load():
		return http1.RefuseDraining
	case full:
		return http1.RefuseFull
	}
	trusted := false
	if lp.knowsAddresses() {
		peer := peerAddr(c.gc)
		if trusted = http1.IsTrusted(peer, lp.cfg.TrustedProxies); !trusted {
			if r := lp.countAddress(c, peer); r != nil {
				return r
			}
		}
	}
	if !lp.srv.acceptRate.take() {
		return http1.RefuseRate
	}
	// Whom the proxy speaks for comes with the first bytes.
	if trusted && lp.cfg.ProxyProtocol {
		c.flags |= flagProxied
	}
	return nil
}

// knowsAddresses reports whether anything depends on where a connection comes from.
func (lp *loop) knowsAddresses() bool {
	return lp.srv.addresses != nil || len(lp.cfg.TrustedProxies) > 0
}

// countAddress holds a connection against the limit of its address.
func (lp *loop) countAddress(c *conn, addr netip.Addr) *http1.Refusal {
	lp.owner.mustOwn()
	switch {
	case c.address != nil:
		return nil
	case lp.srv.addresses == nil:
		c.address = &address{addr: subscriberOf(addr)} // there is no limit: it only tells whose the connection is
		return nil
	}
	if c.address = lp.srv.addresses.take(addr); c.address == nil {
		return http1.RefuseAddress
	}
	return nil
}

// readProxyHeader takes the PROXY protocol header off what a trusted proxy sent. rest is nil while the header is not
// whole; the refusal is for one that is none.
func (lp *loop) readProxyHeader(c *conn, data []byte) (rest []byte, refused *http1.Refusal) {
	from, n, err := http1.ParseProxyHeader(data)
	switch {
	case err != nil:
		return nil, http1.RefuseProxy
	case n == 0:
		return nil, nil
	}
	c.flags &^= flagProxied
	addr := from.Addr()
	switch {
	case !addr.IsValid(): // the proxy vouches for nobody: whatever X-Forwarded-For says, it did not write it
		return data[n:], lp.countAddress(c, peerAddr(c.gc))
	case !http1.IsTrusted(addr, lp.cfg.TrustedProxies):
		return data[n:], lp.countAddress(c, addr)
	default: // a proxy before the proxy: X-Forwarded-For says more
		c.extension().via = addr
		return data[n:], nil
	}
}

// countForwarded holds a connection that came through trusted proxies against the limit of the address that they
// name.
func (lp *loop) countForwarded(c *conn, req *http1.Request) *http1.Refusal {
	if !lp.knowsAddresses() || c.address != nil {
		return nil
	}
	via := peerAddr(c.gc)
	if c.ext != nil && c.ext.via.IsValid() {
		via = c.ext.via
	}
	return lp.countAddress(c, http1.ClientAddr(via, req.ForwardedFor, lp.cfg.TrustedProxies))
}
