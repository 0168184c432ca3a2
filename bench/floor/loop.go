package floor

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/carillon-ws/carillon/bench/host"
	"github.com/carillon-ws/carillon/bench/wire"
)

// Server is the cheapest server that can do a gateway's work: one thread, one epoll, one pre-built frame per
// publication, one raw non-blocking sendto per subscriber, in the order they were accepted. It has no limits, no
// backlog and no time-outs, and it expects clients that send whole frames in one piece: ours. What it costs is what
// the kernel takes; what a gateway costs beyond that is the gateway's own.
//
// Owned by one thread, on which Listen and Serve are called. Only Stop may be called from another.
type Server struct {
	mode                Mode
	clients, publishers listener
	epfd, wakefd        int

	conns    []conn // by file descriptor
	channels map[string]*channel
	touched  []*channel // channels with something joined, in this turn
	in       []byte     // one read of a client
	lines    []byte     // what came from publishers, up to an incomplete line
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
		mode: cfg.Mode, epfd: -1, wakefd: -1,
		channels: map[string]*channel{},
		in:       make([]byte, 64<<10), lines: make([]byte, 0, 256<<10),
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
	if f.clients, err = listen(cfg.Addr); err != nil {
		return err
	}
	if f.publishers, err = listen(cfg.Control); err != nil {
		return err
	}
	for _, fd := range []int{f.wakefd, f.clients.fd, f.publishers.fd} {
		if err := f.watch(fd); err != nil {
			return err
		}
	}
	return nil
}

// listener is a listening socket from which the loop accepts by itself.
type listener struct {
	net.Listener
	fd int
}

// listen opens a listening socket. What it accepts inherits TCP_NODELAY: a call fewer a connection.
func listen(addr string) (l listener, err error) {
	config := net.ListenConfig{Control: func(_, _ string, socket syscall.RawConn) error {
		return socket.Control(func(fd uintptr) {
			l.fd = int(fd)
			_ = unix.SetsockoptInt(l.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // cannot fail for a TCP socket
		})
	}}
	config.SetMultipathTCP(false) // a gateway's listener has none
	l.Listener, err = config.Listen(context.Background(), "tcp4", addr)
	return l, err
}

// Close ends all connections.
func (f *Server) Close() {
	for fd := range f.conns {
		if f.conns[fd].kind != kindNone {
			_ = unix.Close(fd)
		}
	}
	for _, l := range []listener{f.clients, f.publishers} {
		if l.Listener != nil {
			_ = l.Close() // nothing depends on how it ends
		}
	}
	_ = unix.Close(f.epfd)
	_ = unix.Close(f.wakefd)
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
			case f.clients.fd:
				f.accept(fd, kindOpening)
			case f.publishers.fd:
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
	if len(f.lines) == cap(f.lines) {
		f.lines = append(make([]byte, 0, 2*cap(f.lines)), f.lines...)
	}
	n, err := wire.Receive(fd, f.lines[len(f.lines):cap(f.lines)])
	if err != nil || n == 0 {
		if err == nil {
			f.hangUp(fd)
		}
		return
	}
	data := f.lines[:len(f.lines)+n]
	for {
		line, rest, ok := bytes.Cut(data, []byte("\n"))
		if !ok {
			break
		}
		f.line(fd, line)
		data = rest
	}
	f.lines = f.lines[:copy(f.lines[:cap(f.lines)], data)]
	f.flush()
}

func (f *Server) line(fd int, line []byte) {
	if channel, payload, ok := bytes.Cut(line, []byte(" ")); ok {
		f.publish(channel, payload)
		return
	}
	if string(line) == "stats" {
		answer, err := json.Marshal(f.Stats())
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
