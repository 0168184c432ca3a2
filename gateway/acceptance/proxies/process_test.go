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

// process is a program that was started here and ends with the test.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when it is gone

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
	p.cmd.Env = append(os.Environ(), "CARILLON_LOG_FORMAT=text") // a gateway greets people, who are read here
	p.cmd.Stdout, p.cmd.Stderr = p, p
	// Nothing outlives a test binary that is killed. The signal is tied to the thread that forks.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		defer close(p.exited)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // it is killed, as a rule
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

// stop sends a signal, and in the end SIGKILL, and returns when the process is gone.
func (p *process) stop(sig syscall.Signal) {
	_ = p.cmd.Process.Signal(sig) // it may be gone
	select {
	case <-p.exited:
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// children are the processes that it started and that are still there.
func (p *process) children() []string {
	pid := strconv.Itoa(p.cmd.Process.Pid)
	text, _ := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children") // gone: no children
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

// connections is how many clients it holds, as it says itself.
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

// configuration writes one of the files in scripts/, with each old text replaced, which must be there exactly once:
// what is tested is what is shipped.
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

// awaitListening returns when somebody accepts connections there.
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
