package proxies

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/carillon-ws/carillon/fanout/fanouttest"
)

// idle is how long the proxies keep a silent connection open in these tests. The gateways send a ping after pingInterval of
// silence.
const (
	idle         = 8 * time.Second
	pingInterval = 3 * time.Second
)

// proxy is one of the two programs.
type proxy struct {
	name         string
	gatewayFlags []string // with which a gateway learns the client's address from this proxy
	start        func(t *testing.T, gateways []*gatewayProcess) *running
}

// running is a running proxy.
type running struct {
	*process
	addr   string // host:port of its TLS listener
	reload syscall.Signal
}

var proxies = []proxy{
	{"nginx", []string{"-trusted-proxy", "127.0.0.1"}, startNginx},
	{"haproxy", []string{"-trusted-proxy", "127.0.0.1", "-proxy-protocol"}, startHAProxy},
}

// program returns the path of a program, which Debian may install into /usr/sbin.
func program(t *testing.T, name string) string {
	t.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	t.Fatalf("%s is not installed: make proxy-test installs it", name)
	return ""
}

// second replaces the second gateway in the file; with only one gateway it is left out.
func second(gateways []*gatewayProcess, line func(g *gatewayProcess) string) string {
	if len(gateways) < 2 {
		return ""
	}
	return line(gateways[1])
}

func startNginx(t *testing.T, gateways []*gatewayProcess) *running {
	t.Helper()
	addr := fanouttest.Addr(t)
	dir := t.TempDir()
	config := configuration(t, "nginx.conf", map[string]string{
		"listen 443 ssl":              "listen " + addr + " ssl",
		"/etc/nginx/carillon.crt":     certificate.certFile,
		"/etc/nginx/carillon.key":     certificate.keyFile,
		"/run/nginx.pid":              filepath.Join(dir, "pid"),
		"/var/log/nginx/error.log":    "stderr",
		"server 127.0.0.1:8080":       "server " + gateways[0].addr,
		"proxy_read_timeout 75s":      fmt.Sprintf("proxy_read_timeout %ds", int(idle.Seconds())),
		"proxy_send_timeout 75s":      fmt.Sprintf("proxy_send_timeout %ds", int(idle.Seconds())),
		"worker_rlimit_nofile 210000": "worker_rlimit_nofile 20000", // what the test machine allows
		"worker_connections 100000":   "worker_connections 15000",
		"server 127.0.0.1:8081 max_fails=2 fail_timeout=2s;": second(gateways, func(g *gatewayProcess) string {
			return "server " + g.addr + " max_fails=2 fail_timeout=2s;"
		}),
	})
	p := startProcess(t, program(t, "nginx"), "-c", config, "-e", "stderr", "-g", "daemon off;")
	awaitListening(t, addr, p)
	return &running{p, addr, syscall.SIGHUP}
}

func startHAProxy(t *testing.T, gateways []*gatewayProcess) *running {
	t.Helper()
	addr := fanouttest.Addr(t)
	server := func(name string, g *gatewayProcess) string {
		return "server " + name + " " + g.addr + " check port " + port(g.admin)
	}
	times := fmt.Sprintf("%ds", int(idle.Seconds()))
	config := configuration(t, "haproxy.cfg", map[string]string{
		"bind :443":                                 "bind " + addr,
		"/etc/haproxy/carillon.pem":                 certificate.bothFile,
		"maxconn 100000":                            "maxconn 9000", // what the test machine allows
		"\tuser haproxy\n":                          "",             // tests may run without root
		"\tgroup haproxy\n":                         "",
		"timeout client 75s":                        "timeout client " + times,
		"timeout server 75s":                        "timeout server " + times,
		"timeout tunnel 75s":                        "timeout tunnel " + times,
		"server one 127.0.0.1:8080 check port 9090": server("one", gateways[0]),
		"server two 127.0.0.1:8081 check port 9091": second(gateways, func(g *gatewayProcess) string { return server("two", g) }),
	})
	p := startProcess(t, program(t, "haproxy"), "-W", "-f", config)
	awaitListening(t, addr, p)
	return &running{p, addr, syscall.SIGUSR2}
}

// reloadAndAwait reloads the proxy's configuration. It returns when there are new workers; the old ones still have clients.
func (r *running) reloadAndAwait(t *testing.T) {
	t.Helper()
	before := r.children()
	if len(before) == 0 {
		t.Fatal("the proxy has no workers")
	}
	if err := r.cmd.Process.Signal(r.reload); err != nil {
		t.Fatal(err)
	}
	fanouttest.Eventually(t, patience, "new workers start", func() bool {
		return slices.ContainsFunc(r.children(), func(pid string) bool { return !slices.Contains(before, pid) })
	})
	for _, pid := range before {
		if !slices.Contains(r.children(), pid) {
			t.Errorf("worker %s is gone with its clients", pid)
		}
	}
}
