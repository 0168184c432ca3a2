package redis

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// addresses dials a name that may stand for several addresses. Go's own dialer shares its timeout out among them, but
// gives none of them less than 2 s: with the second that a try has here, an address that does not answer takes all of
// it, in every try, and the next address is never reached.
//
// Here an address may take a whole try, and the next try begins with another one. An address that fails at once, because
// nothing listens there, costs no try: the next one follows within the same.
//
// Its methods are safe to call from any goroutine.
type addresses struct {
	// Fixed at creation.
	timeout time.Duration // of a try: to resolve the name, connect, and for TLS
	dialer  interface {
		DialContext(ctx context.Context, network, addr string) (net.Conn, error)
	}

	// Guarded by mu.
	mu       sync.Mutex
	failures uint64            // how many there have been
	failed   map[string]uint64 // by address: which of the failures was its last one; no entry: it has not failed
}

// dial connects to an address of addr, host:port: the one whose last failure is longest ago, if it has failed at all.
func (a *addresses) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	host, port, err := net.SplitHostPort(addr)
	if _, notIP := netip.ParseAddr(host); network != "tcp" || err != nil || notIP == nil {
		return a.dialer.DialContext(ctx, network, addr)
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	var first error
	for _, candidate := range a.inOrder(ips, port) {
		conn, err := a.dialer.DialContext(ctx, network, candidate)
		if err == nil {
			return conn, nil
		}
		a.blame(candidate)
		first = cmp.Or(first, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

// inOrder returns the addresses, with the port, in the order in which they are to be tried: as the resolver prefers, but
// those that have failed come last. What is known of other addresses is forgotten: the name no longer stands for them.
func (a *addresses) inOrder(ips []netip.Addr, port string) []string {
	list := make([]string, len(ips))
	for i, ip := range ips {
		list[i] = net.JoinHostPort(ip.Unmap().String(), port)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for known := range a.failed {
		if !slices.Contains(list, known) {
			delete(a.failed, known)
		}
	}
	slices.SortStableFunc(list, func(x, y string) int { return cmp.Compare(a.failed[x], a.failed[y]) })
	return list
}

// blame notes that a try at the address came to nothing.
func (a *addresses) blame(addr string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failed == nil {
		a.failed = make(map[string]uint64)
	}
	a.failures++
	a.failed[addr] = a.failures
}

// clear notes that the address works: it is the first to be tried again.
func (a *addresses) clear(addr string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.failed, addr)
}
