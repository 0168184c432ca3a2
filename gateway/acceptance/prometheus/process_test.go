package prometheus

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/carillon-ws/carillon/fanout/fanouttest"
)

// patience is how long a test waits before it fails.
const patience = 40 * time.Second

// startProcess runs a program until the test ends. Its output is shown if the test fails.
func startProcess(t *testing.T, name string, args ...string) {
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
		_ = cmd.Wait() // usually a signal ends it
		close(gone)
	}()
	t.Cleanup(func() {
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
}

// eventually calls a function again and again until it returns nil.
func eventually(t *testing.T, what string, ask func() error) {
	t.Helper()
	var err error
	defer func() {
		if err != nil {
			t.Logf("the last answer: %v", err)
		}
	}()
	fanouttest.Eventually(t, patience, what, func() bool {
		err = ask()
		return err == nil
	})
}
