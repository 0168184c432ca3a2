package observetest

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything may take that must happen.
const patience = 40 * time.Second

// process is a child of the test, ended with it.
type process struct{ *os.Process }

// startProcess runs a program until the test ends; what it says is shown if the test fails.
func startProcess(t *testing.T, name string, args ...string) *process {
	t.Helper()
	said := filepath.Join(t.TempDir(), "output")
	out, err := os.Create(said)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s: %v (make observe-test installs and builds what is needed)", name, err)
	}
	gone := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it is told to end, as a rule
		close(gone)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGCONT)
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-gone:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-gone
			t.Errorf("%s did not end by itself", name)
		}
		_ = out.Close()
		if text, err := os.ReadFile(said); err == nil && t.Failed() {
			t.Logf("%s said:\n%s", name, text)
		}
	})
	return &process{cmd.Process}
}

// eventually asks again and again until the answer is nil.
func eventually(t *testing.T, what string, ask func() error) {
	t.Helper()
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	giveUp := time.After(patience)
	for {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-poll.C:
		case <-giveUp:
			t.Fatalf("does not happen: %s (%v)", what, err)
		}
	}
}

// freeAddrs returns addresses of loopback that nobody listens on.
func freeAddrs(t *testing.T, n int) (addrs []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() //nolint:errcheck // nothing was accepted
		addrs = append(addrs, l.Addr().String())
	}
	return addrs
}
