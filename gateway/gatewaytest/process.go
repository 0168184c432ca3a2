package gatewaytest

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/carillon-ws/carillon/fanout/fanouttest"
)

// Patience is how long a test waits before it fails. A test that passes never waits so long.
const Patience = 20 * time.Second

// Process is a running gateway.
type Process struct {
	Addr  string // where clients connect, host:port
	Admin string // base URL of the admin listener
	Redis string // URL of the embedded Redis; empty with -redis

	tb     testing.TB
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process has ended

	mu      sync.Mutex
	log     bytes.Buffer  // Guarded by mu.
	changed chan struct{} // a signal: log has changed
}

// Start runs the gateway at path until the test ends. It listens on free ports of 127.0.0.1 unless args say otherwise.
func Start(tb testing.TB, path string, args ...string) *Process {
	tb.Helper()
	return StartCommand(tb, path, append([]string{"-addr", "127.0.0.1:0", "-admin", "127.0.0.1:0"}, args...)...)
}

// StartCommand runs a command that becomes the gateway, as in sh -c 'ulimit -n 1000; exec …'.
func StartCommand(tb testing.TB, path string, args ...string) *Process {
	tb.Helper()
	p := &Process{tb: tb, cmd: exec.Command(path, args...), exited: make(chan struct{}), changed: make(chan struct{}, 1)}
	p.cmd.Stderr = p
	p.cmd.Env = append(os.Environ(), "CARILLON_LOG_FORMAT=text") // only the text format has the greeting, which is read here
	// A gateway does not go on when the test binary is killed.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		defer close(p.exited)
		runtime.LockOSThread() // the kernel sends the signal when the thread that started the process ends
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // the exit status is in ProcessState
		}
	}()
	if err := <-started; err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended already
		<-p.exited
		if tb.Failed() {
			tb.Logf("the gateway's log:\n%s", tail(p.Log(), 4<<10))
		}
	})
	p.awaitGreeting()
	p.AwaitStatus("/readyz", http.StatusOK)
	return p
}

var (
	greeting     = regexp.MustCompile(`(?s)clients +ws://(\S+)/ws.*admin +(http://\S+)/\n.*Try next`)
	embeddedPort = regexp.MustCompile(`redis +embedded at (\S+)`)
)

func (p *Process) awaitGreeting() {
	p.tb.Helper()
	giveUp := time.After(Patience)
	for {
		log := p.Log()
		if m := greeting.FindStringSubmatch(log); m != nil {
			p.Addr, p.Admin = m[1], m[2]
			if m := embeddedPort.FindStringSubmatch(log); m != nil {
				p.Redis = "redis://" + m[1]
			}
			return
		}
		select {
		case <-p.changed:
		case <-p.exited:
			p.tb.Fatalf("the gateway ended: %s", p.Log())
		case <-giveUp:
			p.tb.Fatalf("the gateway does not start: %s", log)
		}
	}
}

// Write adds what the process writes to its standard error.
func (p *Process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case p.changed <- struct{}{}:
	default:
	}
	return p.log.Write(b)
}

// Log returns all that the gateway has written to its standard error.
func (p *Process) Log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

func tail(text string, n int) string {
	if len(text) > n {
		return "…" + text[len(text)-n:]
	}
	return text
}

// Signal sends the process a signal.
func (p *Process) Signal(sig os.Signal) {
	p.tb.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.tb.Fatalf("signal the gateway: %v", err)
	}
}

// Exited returns a channel that is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Alive reports whether the process is still running.
func (p *Process) Alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// ExitStatus waits for the end and returns the exit status; -1 if a signal ended the process.
func (p *Process) ExitStatus(patience time.Duration) int {
	p.tb.Helper()
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		p.tb.Fatalf("the gateway has not ended after %v", patience)
		return -1
	}
}

// AwaitStatus requests path from the admin listener until the answer has the status.
func (p *Process) AwaitStatus(path string, status int) {
	p.tb.Helper()
	Eventually(p.tb, Patience, path+" has another status", func() bool {
		got, _, err := Get(p.Admin + path)
		return err == nil && got == status
	})
}

// Get sends a GET on a connection of its own.
func Get(url string) (status int, body string, err error) {
	client := http.Client{Timeout: Patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), errors.Join(err, resp.Body.Close())
}

// Publish publishes through the admin listener.
func (p *Process) Publish(channel, data string) error {
	resp, err := http.Post(p.Admin+"/publish/"+channel, "text/plain", strings.NewReader(data))
	if err != nil {
		return err
	}
	text, err := io.ReadAll(resp.Body)
	if resp.StatusCode/100 != 2 {
		err = errors.Join(err, errors.New(resp.Status+": "+string(text)))
	}
	return errors.Join(err, resp.Body.Close())
}

// Eventually is [fanouttest.Eventually]. otherwise says what is wrong while holds is false.
func Eventually(tb testing.TB, patience time.Duration, otherwise string, holds func() bool) {
	tb.Helper()
	fanouttest.Eventually(tb, patience, "the end of this: "+otherwise, holds)
}
