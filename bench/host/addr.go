package host

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
)

// The IP addresses that a bench takes for the servers it starts: 127.128.0.0/10, one for each possible process id.
// Clients come from 127.0.0.2 and up, and the gateway's tests have 127.64.0.0/10 and 127.192.0.0/10.
const (
	firstIP = 127<<24 | 128<<16
	ips     = 1 << 22
)

// firstPort is below the ports that the kernel chooses by itself, so that no listener on all addresses has it by chance.
const firstPort = 20_000

var (
	ownIP     = sync.OnceValues(claimIP)
	usedPorts atomic.Int32
)

// OwnAddrs returns n addresses on loopback, host:port, that nobody else uses until this process ends. A server that is
// started there, killed and started again always finds its port.
//
// A free port of 127.0.0.1 promises less: another program can take it before the server listens, or while it is down,
// and the kernel gives the ports of that address to outgoing connections.
func OwnAddrs(n int) ([]string, error) {
	ip, err := ownIP()
	if err != nil {
		return nil, err
	}
	addrs := make([]string, 0, n)
	for len(addrs) < n {
		addr := net.JoinHostPort(ip.ip.String(), strconv.Itoa(firstPort+int(usedPorts.Add(1))))
		l, err := net.Listen("tcp", addr)
		switch {
		case err == nil:
			addrs = append(addrs, addr)
			// A process that is being started meanwhile holds a copy of the descriptor until it runs its program.
			syscall.ForkLock.RLock()
			err := l.Close()
			syscall.ForkLock.RUnlock()
			if err != nil {
				return nil, err
			}
		case !errors.Is(err, syscall.EADDRINUSE): // somebody who listens on all addresses has that port: take the next
			return nil, err
		}
	}
	return addrs, nil
}

// claimedIP is an IP address that this process has for itself.
type claimedIP struct {
	ip   netip.Addr
	lock net.Listener // stays open as long as the process lives
}

// claimIP finds an IP address that no other process has. The lock is a unix socket without a file: the kernel gives a
// name to one process at a time, and frees it when that process ends, however it ends.
func claimIP() (claimedIP, error) {
	for i := range 1000 { // processes of another PID namespace can have the same id
		n := uint32(firstIP + (os.Getpid()+i)%ips)
		ip := netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
		lock, err := net.Listen("unix", "@carillon-bench-"+ip.String())
		if err == nil {
			return claimedIP{ip, lock}, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return claimedIP{}, fmt.Errorf("an IP address for this process: %w", err)
		}
	}
	return claimedIP{}, errors.New("an IP address for this process: all that were tried have an owner")
}
