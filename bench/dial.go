package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// perSource is how many connections share a source address on loopback: far below what one address has ports
	// for, because searching the last free ports is what makes connecting slow.
	perSource = 2_500
	// fileReserve is what the process needs beside its clients' sockets: epoll, wake-ups, Redis, output, the runtime.
	fileReserve = 64
)

// target is where clients connect.
type target struct {
	addr netip.AddrPort
	host string // for the Host header
	path string
}

// resolve finds the address behind a ws:// URL. IPv4 goes first: only there has loopback more than one address.
func resolve(ctx context.Context, rawURL string) (target, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return target{}, err
	}
	port := 80
	if u.Port() != "" {
		if port, err = strconv.Atoi(u.Port()); err != nil {
			return target{}, err
		}
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil {
		return target{}, fmt.Errorf("resolve %s: %w", u.Hostname(), err)
	}
	best := addrs[0].Unmap()
	for _, a := range addrs {
		if a.Unmap().Is4() {
			best = a.Unmap()
			break
		}
	}
	path := u.RequestURI()
	return target{addr: netip.AddrPortFrom(best, uint16(port)), host: u.Host, path: path}, nil
}

// dialer opens non-blocking sockets to one target, from source addresses that have ports enough. One per worker:
// x/sys encodes an address into the Sockaddr itself. Not safe for concurrent use.
type dialer struct {
	remote  unix.Sockaddr
	family  int
	sources []netip.Addr // empty: the kernel chooses
}

// newDialer plans the source addresses. On loopback any address of 127.0.0.0/8 can be one, without set-up.
func newDialer(t target, connections int) *dialer {
	d := &dialer{family: unix.AF_INET}
	if t.addr.Addr().Is6() {
		d.family = unix.AF_INET6
		d.remote = &unix.SockaddrInet6{Port: int(t.addr.Port()), Addr: t.addr.Addr().As16()}
		return d
	}
	d.remote = &unix.SockaddrInet4{Port: int(t.addr.Port()), Addr: t.addr.Addr().As4()}
	if t.addr.Addr().IsLoopback() {
		for i := range (connections + perSource - 1) / perSource {
			d.sources = append(d.sources, loopbackAddr(i))
		}
	}
	return d
}

// loopbackAddr is 127.0.0.2, 127.0.0.3, …; 127.0.0.1 is left to whoever else uses this machine.
func loopbackAddr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 127<<24+2+uint32(i))))
}

// open starts to connect. The socket is writable when it is connected, or has failed.
func (d *dialer) open(connection int) (fd int, err error) {
	fd, err = unix.Socket(d.family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := d.connect(fd, connection); err != nil {
		_ = unix.Close(fd) // the error that counts is the first
		return -1, err
	}
	return fd, nil
}

func (d *dialer) connect(fd, connection int) error {
	if len(d.sources) > 0 {
		// Without this option bind would reserve the port for all destinations; with it the port is chosen at connect,
		// where only the whole four-tuple must be free.
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
			return os.NewSyscallError("setsockopt IP_BIND_ADDRESS_NO_PORT", err)
		}
		source := d.sources[connection/perSource]
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: source.As4()}); err != nil {
			return fmt.Errorf("bind %s: %w", source, err)
		}
	}
	if err := unix.Connect(fd, d.remote); err != nil && err != unix.EINPROGRESS {
		return os.NewSyscallError("connect", err)
	}
	return nil
}

// checkLimits refuses, before the first socket, what cannot end well.
func checkLimits(t target, connections int) error {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return os.NewSyscallError("getrlimit", err)
	}
	if err := checkFiles(connections, files.Cur); err != nil {
		return err
	}
	if t.addr.Addr().Is4() && t.addr.Addr().IsLoopback() {
		return nil // newDialer takes as many addresses as it needs
	}
	first, last, err := portRange()
	if err != nil {
		return err
	}
	return checkPorts(connections, first, last)
}

func checkFiles(connections int, limit uint64) error {
	need := uint64(connections) + fileReserve
	if need <= limit {
		return nil
	}
	return fmt.Errorf("-connections %d needs %d open files and this process may have %d: raise the limit (ulimit -n %d), or run several bench processes with fewer each",
		connections, need, limit, need)
}

func checkPorts(connections, first, last int) error {
	if ports := last - first + 1; connections > ports {
		return fmt.Errorf("-connections %d needs as many local ports to one address and net.ipv4.ip_local_port_range %d-%d has %d: widen it (sysctl -w net.ipv4.ip_local_port_range='1024 65535'), or run bench on several machines",
			connections, first, last, ports)
	}
	return nil
}

func portRange() (first, last int, err error) {
	const path = "/proc/sys/net/ipv4/ip_local_port_range"
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, 0, err
	}
	if _, err := fmt.Fscan(strings.NewReader(string(text)), &first, &last); err != nil {
		return 0, 0, fmt.Errorf("%s: %w", path, err)
	}
	return first, last, nil
}
