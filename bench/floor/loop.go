package floor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/carillon-ws/carillon/bench/host"
	"github.com/carillon-ws/carillon/bench/wire"
)

// Server is the cheapest server that can do a gateway's work: one thread, one epoll, one pre-built frame per
// publication, one raw non-blocking sendto per subscriber, in the order they were accepted. It has no limits, no
// backlog and no time-outs, and it expects clients that send whole frames in one piece: ours. What it costs is what
// the kernel takes; what a gateway costs beyond that is the gateway's own.
//
// Owned by one thread, locked by whoever calls Listen and Serve; only Stop may be called from another.
type Server struct {
	mode              Mode
	addr, controlAddr string
	epfd, wakefd      int
	listenfd          int
	controlListenfd   int

	conns    []conn // by file descriptor
	channels map[string]*channel
	touched  []*channel // channels with something joined, in this turn
	in       []byte     // one read of a client
	control  []byte     // what came from publishers, up to an incomplete line
	frame    []byte     // the notification being sent
	out      []byte     // an answer

	accepted, publications, deliveries, writes, failed int
	thread                                             int        // that run and newFloor are called on
	atStart, atFirst                                   host.Usage // CPU when it began, and at the first publication
	acceptedAtFirst                                    int
}

// conn is what the floor server knows of a file descriptor.
type conn struct {
	kind  kind
	order uint32 // of acceptance
}

type kind uint8

const (
	kindNone kind = iota
	kindControl
	kindOpening
	kindOpen
)

// Listen opens the server's sockets, on the thread that will run it.
func Listen(cfg Config) (*Server, error) {
	f := &Server{
		mode: cfg.Mode, epfd: -1, wakefd: -1, listenfd: -1, controlListenfd: -1,
		channels: map[string]*channel{},
		in:       make([]byte, 64<<10), control: make([]byte, 0, 256<<10),
		frame: make([]byte, 0, 4<<10), out: make([]byte, 0, 4<<10),
		thread: unix.Gettid(), atStart: host.ThreadUsage(),
	}
	if err := f.open(cfg); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (f *Server) open(cfg Config) (err error) {
	if f.epfd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if f.wakefd, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	if f.listenfd, f.addr, err = listenRaw(cfg.Addr); err != nil {
		return err
	}
	if f.controlListenfd, f.controlAddr, err = listenRaw(cfg.Control); err != nil {
		return err
	}
	for _, fd := range []int{f.wakefd, f.listenfd, f.controlListenfd} {
		if err := f.watch(fd); err != nil {
			return err
		}
	}
	return nil
}

// listenRaw opens a listening socket and returns its address. What it accepts inherits TCP_NODELAY: a call fewer a
// connection.
func listenRaw(addr string) (fd int, bound string, err error) {
	sa, err := resolveIPv4(addr)
	if err != nil {
		return -1, "", err
	}
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, "", os.NewSyscallError("socket", err)
	}
	err = errors.Join(
		os.NewSyscallError("setsockopt SO_REUSEADDR", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)),
		os.NewSyscallError("setsockopt TCP_NODELAY", unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)),
		os.NewSyscallError("bind "+addr, unix.Bind(fd, sa)),
		os.NewSyscallError("listen "+addr, unix.Listen(fd, 4096)))
	if err != nil {
		_ = unix.Close(fd) // the error that counts is the first
		return -1, "", err
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return fd, "", os.NewSyscallError("getsockname", err)
	}
	in4, ok := name.(*unix.SockaddrInet4)
	if !ok {
		return fd, "", fmt.Errorf("listening on %s gave another kind of address", addr)
	}
	return fd, net.JoinHostPort(net.IP(in4.Addr[:]).String(), strconv.Itoa(in4.Port)), nil
}

// Close ends all connections.
func (f *Server) Close() {
	for fd := range f.conns {
		if f.conns[fd].kind != kindNone {
			_ = unix.Close(fd)
		}
	}
	for _, fd := range []int{f.epfd, f.wakefd, f.listenfd, f.controlListenfd} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// Stop makes Serve return. Safe to call from any goroutine.
func (f *Server) Stop() {
	one := [8]byte{1}
	_, _ = unix.Write(f.wakefd, one[:]) // can only fail when it is already stopping
}

func (f *Server) watch(fd int) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(f.epfd, unix.EPOLL_CTL_ADD, fd, &ev))
}

// Serve is the loop, until Stop, on the thread that made the server.
func (f *Server) Serve() error {
	events := make([]unix.EpollEvent, 256)
	for {
		// The time-out only lets the runtime have its turn now and then.
		n, err := wire.Poll(f.epfd, events, 1000)
		if err != nil && err != unix.EINTR { //nolint:errorlint // a bare errno
			return os.NewSyscallError("epoll_wait", err)
		}
		for _, ev := range events[:n] {
			switch fd := int(ev.Fd); fd {
			case f.wakefd:
				return nil
			case f.listenfd:
				f.accept(fd, kindOpening)
			case f.controlListenfd:
				f.accept(fd, kindControl)
			default:
				f.read(fd)
			}
		}
	}
}

func (f *Server) accept(listenfd int, kind kind) {
	for {
		fd, err := wire.Accept(listenfd)
		if err != nil {
			return // EAGAIN: the queue is empty
		}
		for fd >= len(f.conns) {
			f.conns = append(f.conns, conn{})
		}
		f.conns[fd] = conn{kind: kind, order: uint32(f.accepted)}
		if kind == kindOpening {
			f.accepted++
		}
		if err := f.watch(fd); err != nil {
			f.hangUp(fd)
		}
	}
}

func (f *Server) read(fd int) {
	if fd >= len(f.conns) || f.conns[fd].kind == kindNone {
		return // closed earlier in this turn
	}
	if f.conns[fd].kind == kindControl {
		f.readControl(fd)
		return
	}
	n, err := wire.Receive(fd, f.in)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR: //nolint:errorlint // a bare errno
	case err != nil || n == 0:
		f.hangUp(fd)
	case f.conns[fd].kind == kindOpening:
		f.upgrade(fd, f.in[:n])
	default:
		f.commands(fd, f.in[:n])
	}
}

// readControl takes publications, one a line.
func (f *Server) readControl(fd int) {
	if len(f.control) == cap(f.control) {
		f.control = append(make([]byte, 0, 2*cap(f.control)), f.control...)
	}
	n, err := wire.Receive(fd, f.control[len(f.control):cap(f.control)])
	if err != nil || n == 0 {
		if err == nil {
			f.hangUp(fd)
		}
		return
	}
	data := f.control[:len(f.control)+n]
	for {
		line, rest, ok := bytes.Cut(data, []byte("\n"))
		if !ok {
			break
		}
		f.line(fd, line)
		data = rest
	}
	f.control = f.control[:copy(f.control[:cap(f.control)], data)]
	f.flush()
}

func (f *Server) line(fd int, line []byte) {
	if channel, payload, ok := bytes.Cut(line, []byte(" ")); ok {
		f.publish(channel, payload)
		return
	}
	if string(line) == "stats" {
		answer, err := json.Marshal(f.stats())
		if err == nil {
			_, _ = wire.Send(fd, append(answer, '\n')) // whoever asked has gone, or hears it
		}
	}
}

func (f *Server) hangUp(fd int) {
	_ = unix.Close(fd)
	if f.conns[fd].kind == kindOpen {
		for _, ch := range f.channels {
			ch.remove(fd)
		}
	}
	f.conns[fd].kind = kindNone
}

// Addr is where clients connect, host:port.
func (f *Server) Addr() string { return f.addr }

// ControlAddr is where publications come from, host:port.
func (f *Server) ControlAddr() string { return f.controlAddr }
