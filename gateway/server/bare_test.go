package server

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"
)

// bare is an event handler made of functions, for an engine of gnet without any of our code.
type bare struct {
	gnet.BuiltinEventEngine
	open     func(gnet.Conn) gnet.Action
	traffic  func(gnet.Conn) gnet.Action
	close    func(gnet.Conn)
	tick     func()
	shutdown func()

	listen string // address; empty: a free port
	engine gnet.Engine
	addr   chan string
}

func (h *bare) OnBoot(eng gnet.Engine) gnet.Action {
	h.engine = eng
	fd, err := eng.Dup()
	if err != nil {
		panic(err)
	}
	defer unix.Close(fd) //nolint:errcheck // a copy
	sa, err := unix.Getsockname(fd)
	if err != nil {
		panic(err)
	}
	h.addr <- fmt.Sprint("127.0.0.1:", sa.(*unix.SockaddrInet4).Port)
	return gnet.None
}

func (h *bare) OnOpen(c gnet.Conn) ([]byte, gnet.Action) {
	if h.open == nil {
		return nil, gnet.None
	}
	return nil, h.open(c)
}

func (h *bare) OnTraffic(c gnet.Conn) gnet.Action {
	if h.traffic == nil {
		_, _ = c.Discard(-1)
		return gnet.None
	}
	return h.traffic(c)
}

func (h *bare) OnClose(c gnet.Conn, _ error) gnet.Action {
	if h.close != nil {
		h.close(c)
	}
	return gnet.None
}

func (h *bare) OnTick() (time.Duration, gnet.Action) {
	if h.tick != nil {
		h.tick()
	}
	return time.Hour, gnet.None
}

func (h *bare) OnShutdown(gnet.Engine) {
	if h.shutdown != nil {
		h.shutdown()
	}
}

// run runs the engine as ours are run, and more options.
func (h *bare) run(more ...gnet.Option) error {
	if h.listen == "" {
		h.listen = "127.0.0.1:0"
	}
	return gnet.Run(h, "tcp://"+h.listen, append([]gnet.Option{
		gnet.WithNumEventLoop(1), gnet.WithReusePort(true), gnet.WithReuseAddr(true), gnet.WithTicker(true),
		gnet.WithLogger(gnetLogger{discard}),
	}, more...)...)
}

// startBare runs a bare engine until the test ends.
func startBare(t *testing.T, h *bare, more ...gnet.Option) (addr string) {
	t.Helper()
	h.addr = make(chan string, 1)
	starting.Lock()
	defer starting.Unlock()
	done := make(chan error, 1)
	go func() { done <- h.run(more...) }()
	addr = receive(t, "the engine", h.addr)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := h.engine.Stop(ctx); err != nil {
			t.Logf("stop: %v", err) // it has ended already
		}
		if err := receive(t, "the end of the engine", done); err != nil {
			t.Errorf("gnet.Run = %v", err)
		}
	})
	return addr
}

// knock connects to a bare engine.
func knock(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	p, err := tryDial(t, addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p.nc
}

// task is a gnet.Runnable of a function.
type task func() error

func (f task) Run(context.Context) error { return f() }

// execute runs f on the loop of a bare engine and waits for it.
func execute(t *testing.T, el gnet.EventLoop, f func()) {
	t.Helper()
	done := make(chan struct{})
	if err := el.Execute(t.Context(), task(func() error { defer close(done); f(); return nil })); err != nil {
		t.Fatal(err)
	}
	receive(t, "a task on the loop", done)
}

// child is a process that plays one part.
type child struct {
	t     *testing.T
	lines chan string // what it prints, until it ends
	hangs func() error
	wait  func() error

	mu     sync.Mutex
	stderr strings.Builder // Guarded by mu.
}

func startChild(t *testing.T, name string) *child {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childEnv+"="+name)
	c := &child{t: t, lines: make(chan string, 1000)}
	cmd.Stderr = c
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(c.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			c.lines <- s.Text()
		}
	}()
	c.hangs = in.Close
	c.wait = sync.OnceValue(func() error { <-read; return cmd.Wait() })
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = c.wait()
	})
	return c
}

func (c *child) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stderr.Write(p)
}

func (c *child) said() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stderr.String()
}

// line waits for a line that begins with prefix, and returns the rest of it.
func (c *child) line(prefix string) string {
	c.t.Helper()
	giveUp := time.After(patience)
	for {
		select {
		case line, ok := <-c.lines:
			if !ok {
				c.t.Fatalf("the child ended without saying %q; stderr: %s", prefix, c.said())
			}
			if rest, ok := strings.CutPrefix(line, prefix); ok {
				return strings.TrimSpace(rest)
			}
		case <-giveUp:
			c.t.Fatalf("the child does not say %q; stderr: %s", prefix, c.said())
		}
	}
}

// setFileLimit lowers the limit of open files of this process, a child, for good.
func setFileLimit(n uint64) {
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: n}); err != nil {
		panic(err)
	}
}
