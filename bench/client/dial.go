package client

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// perSource is how many connections share a source address on loopback: far below what one address has ports for,
// because searching the last free ports is what makes connecting slow.
const perSource = 2_500

// Target is where clients connect.
type Target struct {
	Addr netip.AddrPort
	Host string // for the Host header
	Path string
}

// Resolve finds the address behind a ws:// URL. IPv4 goes first: only there has loopback more than one address.
func Resolve(rawURL string) (Target, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return Target{}, err
	}
	addr, err := net.ResolveTCPAddr("tcp", HostPort(u))
	if err != nil {
		return Target{}, err
	}
	at := addr.AddrPort()
	return Target{Addr: netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), Host: u.Host, Path: u.RequestURI()}, nil
}

// HostPort is the address in a ws:// URL; without a port that is 80.
func HostPort(u *url.URL) string { return net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "80")) }

// Loopback reports whether any address of 127.0.0.0/8 can be the source of a connection there, without set-up.
func (t *Target) Loopback() bool { return t.Addr.Addr().Is4() && t.Addr.Addr().IsLoopback() }

// dialer opens non-blocking sockets to the targets, from source addresses that have ports enough. One per poller:
// x/sys encodes an address into the Sockaddr itself. Not safe for concurrent use.
type dialer struct {
	remotes []unix.Sockaddr
	family  int
	sources []netip.Addr // given ones
	any     bool         // sources come from 127.0.0.0/8
}

func newDialer(targets []Target, sources []string) (*dialer, error) {
	d := &dialer{family: unix.AF_INET, any: true}
	for i := range targets {
		addr := targets[i].Addr
		d.any = d.any && targets[i].Loopback()
		if addr.Addr().Is6() {
			d.family = unix.AF_INET6
			d.remotes = append(d.remotes, &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16()})
			continue
		}
		d.remotes = append(d.remotes, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()})
	}
	for _, s := range sources {
		addr, err := netip.ParseAddr(s)
		if err != nil || !addr.Is4() {
			return nil, fmt.Errorf("source address %q is not an IPv4 address", s)
		}
		d.sources = append(d.sources, addr)
	}
	return d, nil
}

// source is where a connection comes from; the kernel chooses when it is not valid.
func (d *dialer) source(connection int) netip.Addr {
	switch {
	case len(d.sources) > 0:
		return d.sources[connection%len(d.sources)]
	case d.any:
		return loopbackAddr(connection / perSource)
	default:
		return netip.Addr{}
	}
}

// loopbackAddr is 127.0.0.2, 127.0.0.3, …; 127.0.0.1 is left to other programs.
func loopbackAddr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 127<<24+2+uint32(i))))
}

// open starts to connect. The socket is writable when it is connected, or has failed.
func (d *dialer) open(connection, target int) (fd int, err error) {
	fd, err = unix.Socket(d.family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := d.connect(fd, connection, target); err != nil {
		_ = unix.Close(fd) // the error that counts is the first
		return -1, err
	}
	return fd, nil
}

func (d *dialer) connect(fd, connection, target int) error {
	if source := d.source(connection); source.IsValid() {
		// Without this option bind would reserve the port for all destinations; with it the port is chosen at connect,
		// where only the whole four-tuple must be free.
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
			return os.NewSyscallError("setsockopt IP_BIND_ADDRESS_NO_PORT", err)
		}
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: source.As4()}); err != nil {
			return fmt.Errorf("bind %s: %w", source, err)
		}
	}
	if err := unix.Connect(fd, d.remotes[target]); err != nil && err != unix.EINPROGRESS {
		return os.NewSyscallError("connect", err)
	}
	return nil
}

// CheckPorts refuses, before the first socket, more connections than there are local ports for: to targets that any
// address of loopback can reach there are always enough.
func CheckPorts(targets []Target, sources, connections int) error {
	if !slices.ContainsFunc(targets, func(t Target) bool { return !t.Loopback() }) {
		return nil
	}
	const path = "/proc/sys/net/ipv4/ip_local_port_range"
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var first, last int
	if _, err := fmt.Sscan(string(text), &first, &last); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return checkPorts(connections, max(sources, 1)*len(targets), first, last)
}

func checkPorts(connections, pairs, first, last int) error {
	ports := last - first + 1
	if connections <= pairs*ports {
		return nil
	}
	return fmt.Errorf("-connections %d needs as many local ports, and net.ipv4.ip_local_port_range %d-%d has %d to each target and source address: widen it (sysctl -w net.ipv4.ip_local_port_range='1024 65535'), give more addresses (-source-ips), or more machines (-workers)",
		connections, first, last, ports)
}
