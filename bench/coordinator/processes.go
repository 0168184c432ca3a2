package coordinator

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
	"github.com/carillon-ws/carillon/bench/settings"
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

// Readers is how many threads of one process read sockets. The other half of a small machine is the server's.
func Readers() int { return min(2, max(1, runtime.NumCPU()/2)) }

// processes is how many worker processes a run needs: 0 when this one can hold all clients by itself.
func processes(cfg *settings.Config, files uint64) int {
	if cfg.Procs > 0 {
		return cfg.Procs
	}
	each := max(int(files)-fileReserve, 1)
	if n := (cfg.Connections + each - 1) / each; n > 1 {
		return n
	}
	return 0
}

// assemble makes the workers of a run: this process, children of it, or processes elsewhere.
func assemble(ctx context.Context, cfg *settings.Config, plan client.Plan) (*Workers, error) {
	if len(cfg.Workers) > 0 {
		return remoteWorkers(ctx, cfg.Workers, plan)
	}
	files, err := host.OpenFiles()
	if err != nil {
		return nil, err
	}
	n := processes(cfg, files)
	if n == 0 {
		plan.Threads = Readers()
		return Local(plan)
	}
	// More readers would only take the CPUs from each other: there is one a process. It has fewer handshakes at a time,
	// because a few processes dial at once (Workers.connect).
	plan.Threads, plan.Opening = 1, maxOpening/2
	// Each process connects to few gateways, so that what it needs stays in the CPU's caches.
	plan.Blocks = cfg.OwnFleet() > 0
	// The more processes share a CPU, the less often each can look whether it is late.
	plan.Tick = client.TickEvery * time.Duration(max(1, n/runtime.NumCPU()))
	workers := make([]*worker, n)
	var group errgroup.Group
	group.SetLimit(8)
	for i := range n {
		group.Go(func() (err error) {
			workers[i], err = startWorker(i)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, errors.Join(err, dismiss(workers))
	}
	return begin(plan, workers)
}

// begin gives every worker its share of the plan.
func begin(plan client.Plan, workers []*worker) (*Workers, error) {
	first := 0
	for i, w := range workers {
		w.first, w.count = first, client.ShareOf(i, plan.Count, len(workers))
		first += w.count
	}
	var group errgroup.Group
	for _, w := range workers {
		group.Go(func() error {
			own := plan
			own.First, own.Count = w.first, w.count
			return w.There.Begin(own)
		})
	}
	if err := group.Wait(); err != nil {
		return nil, errors.Join(err, dismiss(workers))
	}
	return newWorkers(plan, workers), nil
}

// dismiss ends workers, all at the same time.
func dismiss(workers []*worker) error {
	var group errgroup.Group
	for _, w := range workers {
		if w != nil {
			group.Go(w.end)
		}
	}
	return group.Wait()
}

// startWorker starts this program once more, as a worker at the other end of a socket pair.
func startWorker(i int) (*worker, error) {
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
	return &worker{Handle: &client.Handle{There: remote}, own: own, where: name}, nil
}

func fileConn(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "worker")
	defer f.Close() //nolint:errcheck // the connection has a descriptor of its own
	return net.FileConn(f)
}

// RunWorker is a worker process that bench started: it serves the connection it was given until that ends.
func RunWorker(ctx context.Context) error {
	const given = 3
	conn, err := fileConn(given)
	if err != nil {
		return settings.Usagef("worker is started by bench itself; bench -worker ADDR waits for a bench on another machine: %w", err)
	}
	runtime.GOMAXPROCS(2) // its reader, and whoever answers the coordinator
	return serveWorker(ctx, conn)
}

func serveWorker(ctx context.Context, conn net.Conn) error {
	service, server, err := client.NewService()
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	server.ServeConn(conn) // returns when the coordinator hangs up
	return service.Stop(client.None{}, nil)
}

// ListenAsWorker is -worker: it serves one bench after the other.
func ListenAsWorker(ctx context.Context, addr string, stderr io.Writer) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	fmt.Fprintf(stderr, "bench: a worker at %s, for bench -workers; whoever reaches it can make this machine connect anywhere\n", l.Addr())
	runtime.GOMAXPROCS(max(runtime.NumCPU(), Readers()+2))
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		fmt.Fprintf(stderr, "bench: coordinated from %s\n", conn.RemoteAddr())
		if err := serveWorker(ctx, conn); err != nil {
			fmt.Fprintf(stderr, "bench: %v\n", err)
		}
	}
}

// remoteWorkers are workers that wait on other machines.
func remoteWorkers(ctx context.Context, addrs []string, plan client.Plan) (*Workers, error) {
	workers := make([]*worker, 0, len(addrs))
	plan.Threads = Readers()
	for _, addr := range addrs {
		d := net.Dialer{Timeout: 5 * time.Second}
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("worker %s: %w", addr, err), dismiss(workers))
		}
		remote := client.NewRemote(addr, conn)
		workers = append(workers, &worker{Handle: &client.Handle{There: remote}, where: addr})
	}
	clock := wire.NewClock()
	for _, w := range workers {
		if err := w.There.Synchronize(clock); err != nil {
			return nil, errors.Join(err, dismiss(workers))
		}
	}
	return begin(plan, workers)
}
