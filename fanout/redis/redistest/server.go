// Package redistest gives tests real redis-servers (one, with Sentinels, or a Cluster) and a proxy in front of one that
// can fail in the ways networks do.
//
// Everything listens on loopback, keeps nothing on disk and ends with the test. Only processes that were started here
// are signalled, by their pid.
package redistest

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/carillon-ws/carillon/fanout/fanouttest"
)

// startTimeout is how long a redis-server may take to listen: it takes 10 ms, and here machines are shared.
const startTimeout = 20 * time.Second

// Server is one redis-server process on a loopback address of its own. Its methods belong to the test's goroutine.
type Server struct {
	tb   testing.TB
	dir  string
	addr string
	args []string
	pass string // for Do; empty: none
	conf string // file that a Sentinel is started with; it writes there what it learns

	cmd    *exec.Cmd
	exited chan struct{} // closed when the process is gone
}

// Start starts a redis-server without persistence and returns when it answers. args are added to its command line, as
// in "--requirepass", "secret". A machine without redis-server fails the test: a test that is skipped proves nothing.
func Start(tb testing.TB, args ...string) *Server {
	tb.Helper()
	s := Reserve(tb, args...)
	s.Restart()
	return s
}

// Reserve takes an address and starts nothing yet: a Redis that is absent until Restart.
func Reserve(tb testing.TB, args ...string) *Server {
	tb.Helper()
	dir, err := os.MkdirTemp("", "redistest") //nolint:usetesting // the path of a unix socket has at most 107 bytes, and test names are long
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &Server{tb: tb, dir: dir, addr: fanouttest.Addr(tb), args: args}
	tb.Cleanup(s.Kill)
	return s
}

// Addr is the server's address, host:port.
func (s *Server) Addr() string { return s.addr }

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

// Restart starts the server after Reserve, or again after Kill: empty, on the same address.
func (s *Server) Restart() {
	s.tb.Helper()
	if err := s.run(); err != nil {
		s.tb.Fatal(err)
	}
}

// RestartWith is Restart with other arguments: they may need the server's address.
func (s *Server) RestartWith(args ...string) {
	s.tb.Helper()
	s.args = args
	s.Restart()
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
	host, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		return err
	}
	args := slices.Concat([]string{
		"--bind", host, "--port", port, "--unixsocket", s.Socket(),
		"--dir", s.dir, "--save", "", "--appendonly", "no", "--daemonize", "no",
	}, s.args)
	if s.conf != "" {
		args = []string{s.conf, "--sentinel"}
	}
	s.cmd = exec.Command(path, args...)
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
			if strings.Contains(lines.Text(), "Ready to accept connections") || strings.Contains(lines.Text(), "Sentinel ID is") {
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

// Do sends one command with redis-cli and returns the answer, errors of Redis too.
func (s *Server) Do(args ...string) string {
	s.tb.Helper()
	out, err := s.try(args...)
	if err != nil {
		s.tb.Fatalf("redis-cli %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (s *Server) try(args ...string) (string, error) {
	host, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "redis-cli", slices.Concat([]string{"-h", host, "-p", port}, args)...)
	if s.pass != "" {
		cmd.Env = append(os.Environ(), "REDISCLI_AUTH="+s.pass)
	}
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}
