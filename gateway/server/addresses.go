package server

import (
	"net"
	"net/netip"
	"sync"

	"github.com/panjf2000/gnet/v2"
)

// addresses counts the connections of each address, over all loops. Safe for concurrent use: the lock is held for a
// look-up in a map, twice in a connection's life.
type addresses struct {
	limit int // connections of one address

	mu    sync.Mutex
	count map[netip.Addr]*address // Guarded by mu. Those with a connection.
}

// address is one entry; its connections point to it.
type address struct {
	addr netip.Addr
	n    int // Guarded by addresses.mu.
}

// newAddresses returns nil if there is no limit: nothing is counted then.
func newAddresses(limit int) *addresses {
	if limit == 0 {
		return nil
	}
	return &addresses{limit: limit, count: make(map[netip.Addr]*address)}
}

// take counts one more connection of addr. It returns nil if that is one too many; otherwise put must follow.
func (as *addresses) take(addr netip.Addr) *address {
	addr = subscriberOf(addr)
	as.mu.Lock()
	defer as.mu.Unlock()
	a := as.count[addr]
	switch {
	case a == nil:
		a = &address{addr: addr}
		as.count[addr] = a
	case a.n >= as.limit:
		return nil
	}
	a.n++
	return a
}

// takeOver counts a connection that another process, or another loop, has counted: whatever the limit is. put must
// follow.
func (as *addresses) takeOver(addr netip.Addr) *address {
	if as == nil {
		return &address{addr: addr} // there is no limit: it only tells whose the connection is
	}
	as.mu.Lock()
	defer as.mu.Unlock()
	a := as.count[addr]
	if a == nil {
		a = &address{addr: addr}
		as.count[addr] = a
	}
	a.n++
	return a
}

// put takes a connection of a out of the count.
func (as *addresses) put(a *address) {
	if as == nil {
		return // nothing is counted
	}
	as.mu.Lock()
	defer as.mu.Unlock()
	if a.n--; a.n == 0 {
		delete(as.count, a.addr)
	}
}

// subscriberOf is what counts as one address: of IPv6 the first 64 bits, the least that a subscriber of a network is
// given and chooses addresses from (RFC 6177).
func subscriberOf(addr netip.Addr) netip.Addr {
	addr = addr.Unmap()
	if addr.Is6() {
		return netip.PrefixFrom(addr, 64).Masked().Addr()
	}
	return addr
}

// peerAddr is the other end of a socket.
func peerAddr(gc gnet.Conn) netip.Addr {
	if tcp, ok := gc.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
