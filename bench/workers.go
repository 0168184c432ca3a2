package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/carillon-ws/carillon/bench/client"
	"github.com/carillon-ws/carillon/bench/host"
	"github.com/carillon-ws/carillon/bench/wire"
)

const (
	// maxOpening bounds the connections that a thread has under way, so that a listener's queue is not what a run
	// measures (SYNs that do not fit are sent again after a second).
	maxOpening = 128
	// fileReserve is what a process needs beside its clients' sockets: epoll, wake-ups, Redis, output, the runtime.
	fileReserve = 64
)

// selfPID is this process.
var selfPID = os.Getpid()

// readers is how many threads of one process read sockets. The other half of a small machine is the server's.
func readers() int { return min(2, max(1, runtime.NumCPU()/2)) }

// processes is how many worker processes a run needs: 0 when this one can hold all clients by itself.
func processes(cfg *config, files uint64) int {
	if cfg.procs > 0 {
		return cfg.procs
	}
	each := max(int(files)-fileReserve, 1)
	if cfg.connections <= each {
		return 0
	}
	return (cfg.connections + each - 1) / each
}

// assemble makes the crew of a run: this process, children of it, or processes elsewhere.
func assemble(ctx context.Context, cfg *config, plan client.Plan) (*crew, error) {
	if len(cfg.workers) > 0 {
		return remoteCrew(ctx, cfg.workers, plan)
	}
	files, err := host.OpenFiles()
	if err != nil {
		return nil, err
	}
	n := processes(cfg, files)
	if n == 0 {
		plan.Threads = readers()
		return localCrew(plan)
	}
	// So many readers would do nothing but push each other off the CPUs: one a process, and fewer handshakes at a time,
	// for a few of them dial at once (crew.connect).
	plan.Threads, plan.Opening = 1, maxOpening/2
	// Nor should all of them speak with all gateways: what a process has in a CPU's caches is worth its turn.
	plan.Blocks = cfg.ownFleet() > 0
	// And the more there are on a CPU, the less often each can look whether it is late.
	plan.Tick = client.TickEvery * time.Duration(max(1, n/runtime.NumCPU()))
	hands := make([]*hand, n)
	var group errgroup.Group
	group.SetLimit(8)
	for i := range n {
		group.Go(func() (err error) {
			hands[i], err = startWorker(i)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, errors.Join(err, dismiss(hands))
	}
	return begin(plan, hands)
}

// begin gives every worker its share of the plan.
func begin(plan client.Plan, hands []*hand) (*crew, error) {
	first := 0
	for i, h := range hands {
		h.first, h.count = first, plan.Count/len(hands)
		if i < plan.Count%len(hands) {
			h.count++
		}
		first += h.count
	}
	var group errgroup.Group
	for _, h := range hands {
		group.Go(func() error {
			own := plan
			own.First, own.Count = h.first, h.count
			return h.There.Begin(own)
		})
	}
	if err := group.Wait(); err != nil {
		return nil, errors.Join(err, dismiss(hands))
	}
	return newCrew(plan, hands), nil
}

func dismiss(hands []*hand) (err error) {
	for _, h := range hands {
		if h == nil {
			continue
		}
		_ = h.Close() // the error that counts is the first
		if h.own != nil {
			err = errors.Join(err, h.own.Stop())
		}
	}
	return err
}

// startWorker starts this program once more, as a worker at the other end of a socket pair.
func startWorker(i int) (*hand, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "worker")
	ours, err := fileConn(pair[0])
	if err != nil {
		_ = theirs.Close() // the error that counts is the first
		return nil, err
	}
	own, err := host.Start(self, []string{"worker"}, host.Options{Files: []*os.File{theirs}, CPU: host.AnyCPU})
	_ = theirs.Close() // ours; the child has its own
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("%d (process %d)", i, own.PID())
	remote := client.NewRemote(name, ours)
	return &hand{Hand: &client.Hand{There: remote}, own: own, where: name}, nil
}

func fileConn(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "worker")
	defer f.Close() //nolint:errcheck // the connection has a descriptor of its own
	return net.FileConn(f)
}

// runWorker is a worker process that bench started: it serves the connection it was given until that ends.
func runWorker(ctx context.Context) error {
	const given = 3
	conn, err := fileConn(given)
	if err != nil {
		return usagef("worker is started by bench itself; bench -worker ADDR waits for a bench on another machine: %w", err)
	}
	runtime.GOMAXPROCS(2) // its reader, and whoever answers the conductor
	return serveWorker(ctx, conn)
}

func serveWorker(ctx context.Context, conn net.Conn) error {
	service, server, err := client.NewService()
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	server.ServeConn(conn) // returns when the conductor hangs up
	return service.Stop(client.None{}, nil)
}

// listenAsWorker is -worker: it serves one bench after the other.
func listenAsWorker(ctx context.Context, addr string, stderr io.Writer) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	fmt.Fprintf(stderr, "bench: a worker at %s, for bench -workers; whoever reaches it can make this machine connect anywhere\n", l.Addr())
	runtime.GOMAXPROCS(max(runtime.NumCPU(), readers()+2))
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		fmt.Fprintf(stderr, "bench: conducted from %s\n", conn.RemoteAddr())
		if err := serveWorker(ctx, conn); err != nil {
			fmt.Fprintf(stderr, "bench: %v\n", err)
		}
	}
}

// remoteCrew is a crew of workers that wait on other machines.
func remoteCrew(ctx context.Context, addrs []string, plan client.Plan) (*crew, error) {
	hands := make([]*hand, 0, len(addrs))
	plan.Threads = readers()
	for _, addr := range addrs {
		d := net.Dialer{Timeout: 5 * time.Second}
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("worker %s: %w", addr, err), dismiss(hands))
		}
		remote := client.NewRemote(addr, conn)
		hands = append(hands, &hand{Hand: &client.Hand{There: remote}, where: addr})
	}
	clock := wire.NewClock()
	for _, h := range hands {
		if err := h.There.Synchronize(clock); err != nil {
			return nil, errors.Join(err, dismiss(hands))
		}
	}
	return begin(plan, hands)
}
