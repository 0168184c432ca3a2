package server

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// portClaim holds a port until every loop listens on it.
type portClaim struct {
	addr string // host:port, with the port that was found
	ln   net.Listener
}

// claimPort listens on the address without SO_REUSEPORT, with which every loop listens later: so a port that another
// process has is noticed, which SO_REUSEPORT would share in silence, and port 0 becomes a number. Only then is
// SO_REUSEPORT set, which lets the loops in beside the claim and nobody who does not set it.
func claimPort(addr string) (*portClaim, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	ln, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is taken: another gateway or program listens there", addr)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	if err := shareWithLoops(ln.(*net.TCPListener)); err != nil {
		_ = ln.Close()
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	found := ln.Addr().(*net.TCPAddr)
	if net.ParseIP(host) == nil && host != "" {
		host = found.IP.String() // gnet is given an address: names are looked up once
	}
	return &portClaim{net.JoinHostPort(host, strconv.Itoa(found.Port)), ln}, nil
}

func shareWithLoops(ln *net.TCPListener) error {
	raw, err := ln.SyscallConn()
	if err != nil {
		return err
	}
	var setErr error
	if err := raw.Control(func(fd uintptr) {
		setErr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}); err != nil {
		return err
	}
	return setErr
}

// release lets go of the port: the loops hold it now. Clients that the kernel put into the claim's queue meanwhile
// are refused, as they would have been before. To close the socket is not enough: a process that is being started just
// now has a copy of it, and the kernel would go on to put clients into its queue.
func (p *portClaim) release() {
	if raw, err := p.ln.(*net.TCPListener).SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) }) // fails if it is released already
	}
	_ = p.ln.Close()
}
