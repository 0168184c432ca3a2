package admin

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/gateway/server"
)

// testConfig returns the Config of a healthy gateway without traffic.
func testConfig() Config {
	return Config{
		Addr: "127.0.0.1:0",
		Info: Info{
			Name: "carillon", Version: "v9", PID: 42, Addr: "127.0.0.1:8080", URL: "ws://127.0.0.1:8080/ws",
			Redis: "redis://127.0.0.1:6379", Loops: 2,
		},
		Server:  func() server.Stats { return server.Stats{Loops: make([]server.LoopStats, 2)} },
		Feeder:  func() fanout.FeederStats { return fanout.FeederStats{} },
		Redis:   func() RedisStats { return RedisStats{Mode: "pattern", Up: true} },
		Publish: func(context.Context, string, string) (int64, error) { return 1, nil },
		Kick:    func(context.Context, server.Kick) (int, error) { return 1, nil },
		Connections: func(context.Context, server.ConnectionQuery) (server.ConnectionList, error) {
			return server.ConnectionList{}, nil
		},
		LogLevel:   new(slog.LevelVar),
		LogDropped: func() uint64 { return 0 },
		Ready:      func() []Check { return nil },
		Live:       func() error { return nil },
	}
}

// start runs an Admin until the test ends, and returns it with its URL.
func start(t *testing.T, cfg Config) (*Admin, string) {
	t.Helper()
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	run(t, a)
	_, port, err := net.SplitHostPort(a.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return a, "http://127.0.0.1:" + port
}

func run(t *testing.T, a *Admin) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run() = %v", err)
		}
	})
}

type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request. The edits change it before it is sent.
func do(t *testing.T, method, url, body string, edits ...func(*http.Request)) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, edit := range edits {
		edit(req)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // the answer was read to its end
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

func header(key, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(key, value) }
}

func host(name string) func(*http.Request) {
	return func(r *http.Request) { r.Host = name }
}

func TestNewSaysThatThePortIsTaken(t *testing.T) {
	t.Parallel()
	a, _ := start(t, testConfig())
	cfg := testConfig()
	cfg.Addr = a.Addr()
	_, err := New(cfg)
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), a.Addr()) || !strings.Contains(err.Error(), "-admin") {
		t.Errorf("New on a taken port = %v, want an error that names it and the flag", err)
	}
}

func TestAllIPv4AddressesStayIPv4(t *testing.T) {
	t.Parallel()
	cfg := testConfig()
	cfg.Addr = "0.0.0.0:0"
	if a, _ := start(t, cfg); !strings.HasPrefix(a.Addr(), "0.0.0.0:") {
		t.Errorf("Addr() of a listener on 0.0.0.0 = %s", a.Addr())
	}
}

func TestNewRefusesAnAddressWithoutPort(t *testing.T) {
	t.Parallel()
	cfg := testConfig()
	cfg.Addr = "127.0.0.1"
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "-admin") {
		t.Errorf("New(%q) = %v, want an error that names the flag", cfg.Addr, err)
	}
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	_, url := start(t, testConfig())
	tests := []struct {
		method, path string
		status       int
	}{
		{"GET", "/", 200},
		{"HEAD", "/", 200},
		{"GET", "/page.css", 200},
		{"GET", "/page.js", 200},
		{"GET", "/bell.svg", 200},
		{"GET", "/metrics", 200},
		{"GET", "/livez", 200},
		{"GET", "/readyz", 200},
		{"GET", "/info", 200},
		{"GET", "/stats", 200},
		{"GET", "/ops", 200},
		{"GET", "/ops.css", 200},
		{"GET", "/ops.js", 200},
		{"GET", "/loops", 200},
		{"GET", "/connections", 200},
		{"GET", "/log-level", 200},
		{"POST", "/log-level", 400},
		{"GET", "/debug/pprof/", 200},
		{"GET", "/debug/pprof/heap", 200},
		{"GET", "/debug/pprof/goroutine?debug=1", 200},
		{"GET", "/debug/pprof/cmdline", 200},
		{"POST", "/debug/pprof/symbol", 200},
		{"POST", "/publish/user:1", 200},

		{"GET", "/nothing", 404},
		{"POST", "/nothing", 404},
		{"GET", "/page/index.html", 404},
		{"GET", "/index.html", 404},
		{"GET", "/debug/pprof/nothing", 404},
		{"GET", "/publish", 404},
		{"GET", "/publish/user:1", 405},
		{"PUT", "/publish/user:1", 405},
		{"POST", "/", 405},
		{"POST", "/info", 405},
		{"POST", "/connections", 405},
		{"PUT", "/log-level", 405},
		{"GET", "/ops/index.html", 404},
		{"POST", "/metrics", 405},
		{"DELETE", "/readyz", 405},
	}
	for _, tt := range tests {
		got := do(t, tt.method, url+tt.path, "")
		if got.status != tt.status {
			t.Errorf("%s %s = %d %q, want %d", tt.method, tt.path, got.status, got.body, tt.status)
		}
		if got.header.Get("X-Content-Type-Options") != "nosniff" || got.header.Get("Content-Security-Policy") == "" {
			t.Errorf("%s %s lacks security headers: %v", tt.method, tt.path, got.header)
		}
		if got.status == 405 && got.header.Get("Allow") == "" {
			t.Errorf("%s %s = 405 without Allow", tt.method, tt.path)
		}
	}
}

func TestProfileOutlastsTheReadTimeout(t *testing.T) {
	t.Parallel()
	a, err := New(testConfig())
	if err != nil {
		t.Fatal(err)
	}
	a.http.ReadTimeout, a.http.WriteTimeout = 100*time.Millisecond, 200*time.Millisecond
	run(t, a)
	began := time.Now()
	got := do(t, "GET", "http://"+a.Addr()+"/debug/pprof/trace?seconds=1", "")
	if got.status != 200 || got.body == "" || time.Since(began) < time.Second {
		t.Errorf("a trace of 1 s = %d, %d bytes, after %v", got.status, len(got.body), time.Since(began))
	}
}

func TestRunEndsInSpiteOfALongRequest(t *testing.T) {
	t.Parallel()
	cfg := testConfig()
	entered, left := make(chan struct{}), make(chan struct{})
	cfg.Publish = func(context.Context, string, string) (int64, error) {
		close(entered)
		<-left
		return 0, nil
	}
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	failed := make(chan error, 1)
	go func() {
		resp, err := http.Post("http://"+a.Addr()+"/publish/user:1", "", strings.NewReader("x"))
		if err == nil {
			_ = resp.Body.Close()
		}
		failed <- err
	}()
	<-entered
	stop()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("Run() = %v", err)
		}
	case <-time.After(shutdownGrace + 5*time.Second):
		t.Fatal("Run did not return while a request was under way")
	}
	if err := <-failed; err == nil {
		t.Error("the request under way was answered after Run returned")
	}
	close(left)
	if _, err := net.Dial("tcp", a.Addr()); err == nil {
		t.Error("the port is open after Run returned")
	}
}
