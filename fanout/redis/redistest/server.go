// Package redistest gives tests a real redis-server and a proxy in front of it that can fail in the ways networks do.
//
// Everything listens on loopback, keeps nothing on disk and ends with the test. Only processes that were started here
// are signalled, by their pid.
package redistest

import (
	"bufio"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startTimeout is how long a redis-server may take to listen: it takes 10 ms, and here machines are shared.
const startTimeout = 20 * time.Second

// Server is one redis-server process on a loopback port of its own. Its methods belong to the test's goroutine.
type Server struct {
	tb   testing.TB
	dir  string
	port int
	args []string

	cmd    *exec.Cmd
	exited chan struct{} // closed when the process is gone
}

// Start starts a redis-server without persistence and returns when it answers. args are added to its command line, as
// in "--requirepass", "secret". A machine without redis-server fails the test: a test that is skipped proves nothing.
func Start(tb testing.TB, args ...string) *Server {
	tb.Helper()
	dir, err := os.MkdirTemp("", "redistest") //nolint:usetesting // the path of a unix socket has at most 107 bytes, and test names are long
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &Server{tb: tb, dir: dir, args: args}
	tb.Cleanup(s.Kill)
	for range 5 { // another process may take the port between our look and Redis's bind
		s.port = freePort(tb)
		if err = s.run(); err == nil {
			return s
		}
	}
	tb.Fatal(err)
	return nil
}

// Reserve picks a port and starts nothing yet: a Redis that is absent until Restart.
func Reserve(tb testing.TB, args ...string) *Server {
	tb.Helper()
	s := Start(tb, args...)
	s.Kill()
	return s
}

// Addr is the server's address, host:port.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// URL is the server's address as a redis:// URL, without user and password.
func (s *Server) URL() string { return "redis://" + s.Addr() }

// Socket is the path of the unix socket that the server listens on besides its port.
func (s *Server) Socket() string { return filepath.Join(s.dir, "redis.sock") }

// Kill ends the process with SIGKILL and returns when it is gone.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill() // it may be gone already
	<-s.exited
	s.cmd = nil
}

// Restart starts the server again after Kill, empty, on the same port.
func (s *Server) Restart() {
	s.tb.Helper()
	if err := s.run(); err != nil {
		s.tb.Fatal(err)
	}
}

// Stop halts the process with SIGSTOP: the kernel still accepts connections and takes bytes for it, nobody answers.
func (s *Server) Stop() {
	s.tb.Helper()
	s.signal(syscall.SIGSTOP)
}

// Continue lets the process run on after Stop.
func (s *Server) Continue() {
	s.tb.Helper()
	s.signal(syscall.SIGCONT)
}

func (s *Server) signal(sig syscall.Signal) {
	s.tb.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.tb.Fatalf("signal redis-server: %v", err)
	}
}

// run starts the process and returns when it says that it listens.
func (s *Server) run() error {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		s.tb.Fatal("redis-server is not installed: `make test` installs it")
	}
	s.cmd = exec.Command(path, slices.Concat([]string{
		"--bind", "127.0.0.1", "--port", strconv.Itoa(s.port), "--unixsocket", s.Socket(),
		"--dir", s.dir, "--save", "", "--appendonly", "no", "--daemonize", "no",
	}, s.args)...)
	// No redis-server outlives a test binary that is killed. The signal is tied to the thread that forks, so that the
	// goroutine below keeps its thread.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	s.exited = make(chan struct{})
	ready := make(chan error, 1)
	go func() {
		defer close(s.exited)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := s.cmd.Start(); err != nil {
			ready <- err
			return
		}
		var said strings.Builder
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if strings.Contains(lines.Text(), "Ready to accept connections") {
				ready <- nil
				said.Reset()
			}
			if said.Len() < 64<<10 {
				said.WriteString(lines.Text() + "\n")
			}
		}
		_ = s.cmd.Wait() // it is killed, as a rule
		select {
		case ready <- errors.New("redis-server ended:\n" + said.String()):
		default:
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	select {
	case err := <-ready:
		if err != nil {
			<-s.exited
			s.cmd = nil
		}
		return err
	case <-ctx.Done():
		s.Kill()
		return errors.New("redis-server does not get ready")
	}
}

// freePort finds a free port below the range from which the kernel gives ports to outgoing connections: a listener
// that is closed and opened again must find its port unused.
func freePort(tb testing.TB) int {
	tb.Helper()
	var err error
	for range 50 {
		port := 20_000 + rand.IntN(12_000)
		var l net.Listener
		l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			_ = l.Close()
			return port
		}
	}
	tb.Fatalf("no free port: %v", err)
	return 0
}
