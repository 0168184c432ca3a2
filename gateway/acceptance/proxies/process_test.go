package proxies

import (
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/carillon-ws/carillon/fanout/fanouttest"
)

// process is a program that the test started. It ends with the test.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when it has ended

	mu   sync.Mutex
	said strings.Builder // Guarded by mu. Both outputs.
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.Write(b)
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.String()
}

func startProcess(t *testing.T, name string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(name, args...), exited: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "CARILLON_LOG_FORMAT=text") // only the text format has the greeting, which is read here
	p.cmd.Stdout, p.cmd.Stderr = p, p
	// No program goes on when the test binary is killed. The kernel sends the signal when the thread that started it ends.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		defer close(p.exited)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // usually a signal ends it
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.stop(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(name), p.output())
		}
	})
	return p
}

// stop sends a signal, and SIGKILL if that does not help, and returns when the process has ended.
func (p *process) stop(sig syscall.Signal) {
	_ = p.cmd.Process.Signal(sig) // it may have ended
	select {
	case <-p.exited:
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// children returns the processes that it started and that still run.
func (p *process) children() []string {
	pid := strconv.Itoa(p.cmd.Process.Pid)
	text, _ := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children") // without the file there are no children
	return strings.Fields(string(text))
}

// gatewayProcess is a gateway behind the proxy.
type gatewayProcess struct {
	*process
	addr, admin string // host:port
}

var greeting = regexp.MustCompile(`(?s)clients +ws://(\S+)/ws.*admin +http://(\S+)/\n`)

func startGateway(t *testing.T, args ...string) *gatewayProcess {
	t.Helper()
	args = append([]string{"-addr", "127.0.0.1:0", "-admin", "127.0.0.1:0", "-loops", "1", "-drain", "0"}, args...)
	g := &gatewayProcess{process: startProcess(t, gatewayBinary, args...)}
	fanouttest.Eventually(t, patience, "the gateway greets", func() bool {
		m := greeting.FindStringSubmatch(g.output())
		if m != nil {
			g.addr, g.admin = m[1], m[2]
		}
		return m != nil
	})
	fanouttest.Eventually(t, patience, "the gateway is ready", func() bool {
		resp, err := http.Get("http://" + g.admin + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return g
}

// connections returns its number of clients, from its metrics.
func (g *gatewayProcess) connections(t *testing.T) int {
	t.Helper()
	resp, err := http.Get("http://" + g.admin + "/stats")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read below, or the test fails
	var n struct{ Connections int }
	if err := json.NewDecoder(resp.Body).Decode(&n); err != nil {
		t.Fatal(err)
	}
	return n.Connections
}

// configuration writes a copy of a file in scripts/, in which some texts are replaced. Each must be there exactly once, so
// that the test uses the file that is shipped.
func configuration(t *testing.T, name string, replace map[string]string) string {
	t.Helper()
	raw, err := os.ReadFile("../../../scripts/" + name)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	var pairs []string
	for _, old := range slices.Sorted(maps.Keys(replace)) {
		if n := strings.Count(text, old); n != 1 {
			t.Fatalf("scripts/%s has %q %d times, want once", name, old, n)
		}
		pairs = append(pairs, old, replace[old])
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(strings.NewReplacer(pairs...).Replace(text)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// awaitListening returns when connections to the address are accepted.
func awaitListening(t *testing.T, addr string, p *process) {
	t.Helper()
	fanouttest.Eventually(t, patience, "the proxy listens on "+addr, func() bool {
		select {
		case <-p.exited:
			t.Fatalf("it ended:\n%s", p.output())
		default:
		}
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

func port(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}
