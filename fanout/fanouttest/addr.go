package fanouttest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// The IP addresses of test processes are in 127.64.0.0/10: one address for each possible process id. The TypeScript tests
// use 127.192.0.0/10, and bench uses 127.128.0.0/10.
const (
	firstIP = 127<<24 | 64<<16
	ips     = 1 << 22
)

// firstPort is below the ports that the kernel chooses by itself, so that a listener on all addresses that asked for any
// port does not have it.
const firstPort = 20_000

var (
	ownIP     = sync.OnceValues(claimIP)
	usedPorts atomic.Int32
)

// Addr returns an address on loopback, host:port, that only the caller uses until this process ends. A server can start
// there, be killed and start again; while it is down, connections are refused.
//
// A free port of 127.0.0.1 does not give that: another test may choose the same port, and the kernel uses the ports of
// 127.0.0.1 for outgoing connections. So each process has its own IP address: all of 127.0.0.0/8 is loopback, and
// connections without a given source come from 127.0.0.1.
func Addr(tb testing.TB) string {
	tb.Helper()
	ip, err := ownIP()
	if err != nil {
		tb.Fatal(err)
	}
	for {
		addr := net.JoinHostPort(ip.IP.String(), strconv.Itoa(firstPort+int(usedPorts.Add(1))))
		l, err := net.Listen("tcp", addr)
		switch {
		case err == nil:
			if err := Free(l); err != nil {
				tb.Fatal(err)
			}
			return addr
		case !errors.Is(err, syscall.EADDRINUSE): // a listener on all addresses has that port: try the next one
			tb.Fatalf("listen for a free port: %v", err)
		}
	}
}

// Free closes a listener. Its address is free when Free returns. After a plain Close it may not be: a process that is being
// started meanwhile holds a copy of every descriptor until it runs its program.
func Free(l net.Listener) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return l.Close()
}

// claimedIP is an IP address that this process has for itself.
type claimedIP struct {
	IP   netip.Addr
	lock net.Listener // stays open as long as the process lives
}

// claimIP finds an IP address that no other process has. The lock is a unix socket without a file: one process at a time
// can have its name, and the kernel frees the name when that process ends.
func claimIP() (claimedIP, error) {
	pid := os.Getpid()
	for i := range 1000 { // processes of another PID namespace can have the same id
		n := uint32(firstIP + (pid+i)%ips)
		ip := netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
		lock, err := net.Listen("unix", "@carillon-test-"+ip.String())
		if err == nil {
			return claimedIP{ip, lock}, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return claimedIP{}, fmt.Errorf("claim an IP address for this process: %w", err)
		}
	}
	return claimedIP{}, errors.New("claim an IP address for this process: other processes have all that were tried")
}
