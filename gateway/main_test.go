package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"

	"github.com/carillon-ws/carillon/fanout/fanouttest"
	"github.com/carillon-ws/carillon/fanout/redis/redistest"
	"github.com/carillon-ws/carillon/gateway/settings"
)

// patience is how long a test waits before it fails. A test that passes never waits so long.
const patience = 20 * time.Second

// output is the program's standard error. The test reads it while the program runs.
type output struct {
	mu      sync.Mutex
	text    bytes.Buffer // Guarded by mu.
	changed chan struct{}
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.changed <- struct{}{}:
	default:
	}
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// program is a whole gateway that runs inside the test.
type program struct {
	ws, admin string
	stderr    *output
	stop      func() int // ends it as SIGTERM does and returns the exit status
}

var greeting = regexp.MustCompile(`(?s)clients +(ws://\S+).*admin +(http://\S+)/\n`)

// start runs the gateway on free ports until the test ends.
func start(t *testing.T, args ...string) *program {
	t.Helper()
	args = append([]string{"serve", "-addr", "127.0.0.1:0", "-admin", "127.0.0.1:0", "-loops", "2", "-drain", "0", "-log-format", "text"}, args...)
	ctx, cancel := context.WithCancel(context.Background())
	p := &program{stderr: &output{changed: make(chan struct{}, 1)}}
	status := make(chan int, 1)
	go func() { status <- run(ctx, args, io.Discard, p.stderr) }()
	p.stop = sync.OnceValue(func() int {
		cancel()
		select {
		case s := <-status:
			return s
		case <-time.After(patience):
			t.Error("the gateway does not end")
			return -1
		}
	})
	t.Cleanup(func() { p.stop() })
	deadline := time.After(patience)
	for {
		if m := greeting.FindStringSubmatch(p.stderr.String()); m != nil {
			p.ws, p.admin = m[1], m[2]
			break
		}
		select {
		case <-p.stderr.changed:
		case s := <-status:
			t.Fatalf("the gateway ended with %d: %s", s, p.stderr)
		case <-deadline:
			t.Fatalf("the gateway does not start: %s", p.stderr)
		}
	}
	p.awaitReady(t, http.StatusOK)
	return p
}

// startAt runs the gateway on given addresses. It does not wait until the gateway is ready.
func startAt(t *testing.T, addr, admin string, args ...string) *program {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &program{ws: "ws://" + addr + "/ws", admin: "http://" + admin, stderr: &output{changed: make(chan struct{}, 1)}}
	status := make(chan int, 1)
	go func() {
		status <- run(ctx, append([]string{"serve", "-addr", addr, "-admin", admin, "-drain", "0"}, args...), io.Discard, p.stderr)
	}()
	p.stop = sync.OnceValue(func() int {
		cancel()
		return <-status
	})
	t.Cleanup(func() { p.stop() })
	return p
}

// awaitReady polls /readyz until it answers status.
func (p *program) awaitReady(t *testing.T, status int) {
	t.Helper()
	fanouttest.Eventually(t, patience, fmt.Sprintf("/readyz is %d", status), func() bool {
		resp, err := http.Get(p.admin + "/readyz")
		if err == nil {
			_ = resp.Body.Close()
		}
		return err == nil && resp.StatusCode == status
	})
}

// client is a WebSocket client that shares no code with the gateway.
type client struct {
	t  *testing.T
	ws *websocket.Conn
}

func dial(t *testing.T, url string) *client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		t.Fatalf("dial %s: %v", url, err)
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	return &client{t, ws}
}

func (c *client) send(text string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	if err := c.ws.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		c.t.Fatalf("send %s: %v", text, err)
	}
}

func (c *client) read() map[string]any {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	kind, text, err := c.ws.Read(ctx)
	if err != nil {
		c.t.Fatalf("read: %v", err)
	}
	if kind != websocket.MessageText {
		c.t.Fatalf("read a %v message, want text", kind)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		c.t.Fatalf("read %s: %v", text, err)
	}
	return m
}

// expect reads a message. It must have exactly these fields, and a timestamp of now.
func (c *client) expect(want map[string]any) {
	c.t.Helper()
	got := c.read()
	at, ok := got["timestamp"].(float64)
	if age := time.Since(time.UnixMilli(int64(at))); !ok || age < -time.Minute || age > time.Minute {
		c.t.Errorf("timestamp %v is not Unix milliseconds of now", got["timestamp"])
	}
	delete(got, "timestamp")
	if !maps.Equal(got, want) {
		c.t.Errorf("got %v, want %v", got, want)
	}
}

// join dials, reads the first message and subscribes.
func join(t *testing.T, url, channel string) *client {
	t.Helper()
	c := dial(t, url)
	if got := c.read(); got["type"] != "connected" {
		t.Fatalf("first message %v, want connected", got)
	}
	c.send(fmt.Sprintf(`{"type":"subscribe","channel":%q}`, channel))
	c.expect(map[string]any{"type": "subscribed", "channel": channel})
	return c
}

func redisClient(t *testing.T, url string) *redis.Client {
	t.Helper()
	opts, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(opts)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// publishUntil publishes until Redis counts want receivers: before that a gateway has not subscribed again.
func publishUntil(t *testing.T, r *redis.Client, channel, data string, want int64) {
	t.Helper()
	fanouttest.Eventually(t, patience, fmt.Sprintf("PUBLISH reaches %d subscribers", want), func() bool {
		n, err := r.Publish(t.Context(), channel, data).Result()
		return err == nil && n == want
	})
}

// TestArticleClient speaks exactly what the article's client speaks: its path, its types and fields, its channel,
// and the Redis channel that its server listens to.
func TestArticleClient(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	gw := start(t, "-redis", server.URL())
	c := dial(t, strings.TrimSuffix(gw.ws, "/ws")+"/")

	hello := c.read()
	if keys := slices.Sorted(maps.Keys(hello)); !slices.Equal(keys, []string{"clientId", "timestamp", "type"}) {
		t.Errorf("connected has the fields %v", keys)
	}
	if id, _ := hello["clientId"].(string); len(id) != 36 {
		t.Errorf("clientId %q is no UUID", id)
	}
	c.send(`{"type":"subscribe","channel":"user:1"}`)
	c.expect(map[string]any{"type": "subscribed", "channel": "user:1"})

	// What the article's server would have received; data is a string, whatever it holds.
	publishUntil(t, redisClient(t, server.URL()), "notifications:user:1", `{"title":"hi \"you\""}`, 1)
	c.expect(map[string]any{"type": "notification", "channel": "user:1", "data": `{"title":"hi \"you\""}`})

	c.send(`{"type":"unsubscribe","channel":"user:1"}`)
	c.expect(map[string]any{"type": "unsubscribed", "channel": "user:1"})
}

func TestEmbeddedRedisServesTheFirstRun(t *testing.T) {
	t.Parallel()
	gw := start(t)
	m := regexp.MustCompile(`redis-cli -p (\d+) PUBLISH`).FindStringSubmatch(gw.stderr.String())
	if m == nil {
		t.Fatalf("the greeting names no redis-cli line: %s", gw.stderr)
	}
	c := join(t, gw.ws, "user:123")
	publishUntil(t, redisClient(t, "redis://127.0.0.1:"+m[1]), "notifications:user:123", "hello", 1)
	c.expect(map[string]any{"type": "notification", "channel": "user:123", "data": "hello"})
}

func TestPublishCommand(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	gw := start(t, "-redis", server.URL())
	c := join(t, gw.ws, "user:1")
	for name, flags := range map[string][]string{
		"through the gateway": {"-admin", strings.TrimPrefix(gw.admin, "http://")},
		"through Redis":       {"-redis", server.URL()},
	} {
		var stderr bytes.Buffer
		args := append(append([]string{"publish"}, flags...), "notifications:user:1", name)
		if status := run(t.Context(), args, io.Discard, &stderr); status != 0 {
			t.Fatalf("publish %s = %d: %s", name, status, &stderr)
		}
		c.expect(map[string]any{"type": "notification", "channel": "user:1", "data": name})
	}
}

// In a container the gateway gets its flags from the environment, so the commands that ask it must read them there too.
func TestCommandsFindTheGatewayByTheEnvironment(t *testing.T) {
	gw := start(t, "-redis", redistest.Start(t).URL(), "-admin-token", "hush")
	t.Setenv("CARILLON_ADMIN", strings.TrimPrefix(gw.admin, "http://"))
	t.Setenv("CARILLON_ADMIN_TOKEN", "hush\n")
	for _, args := range [][]string{{"healthcheck"}, {"publish", "user:1", "hello"}} {
		var stderr bytes.Buffer
		if status := run(t.Context(), args, io.Discard, &stderr); status != exitOK {
			t.Errorf("gateway %q = %d: %s", args, status, &stderr)
		}
	}
	var help bytes.Buffer
	if run(t.Context(), []string{"publish", "-h"}, &help, io.Discard); strings.Contains(help.String(), "hush") {
		t.Errorf("the help shows the token:\n%s", &help)
	}
}

func TestTwoGatewaysOneRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	one, two := start(t, "-redis", server.URL()), start(t, "-redis", server.URL())
	a, b := join(t, one.ws, "room"), join(t, two.ws, "room")
	publishUntil(t, redisClient(t, server.URL()), "notifications:room", "both", 2)
	for _, c := range []*client{a, b} {
		c.expect(map[string]any{"type": "notification", "channel": "room", "data": "both"})
	}
}

// TestRedisAwayAndBack kills Redis and starts it again: clients stay connected, get a gap, and then the next publication.
func TestRedisAwayAndBack(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	gw := start(t, "-redis", server.URL())
	clients := make([]*client, 20)
	for i := range clients {
		clients[i] = join(t, gw.ws, "room")
	}
	server.Kill()
	gw.awaitReady(t, http.StatusServiceUnavailable)
	server.Restart()
	gw.awaitReady(t, http.StatusOK)
	publishUntil(t, redisClient(t, server.URL()), "notifications:room", "back", 1)
	for _, c := range clients {
		c.expect(map[string]any{"type": "gap", "reason": "redis"})
		c.expect(map[string]any{"type": "notification", "channel": "room", "data": "back"})
	}
}

func TestRedisAbsentAtStart(t *testing.T) {
	t.Parallel()
	server := redistest.Reserve(t)
	args := []string{"-addr", "127.0.0.1:0", "-admin", "127.0.0.1:0", "-log-format", "text", "-redis", server.URL()}
	ctx, cancel := context.WithCancel(t.Context())
	stderr := &output{changed: make(chan struct{}, 1)}
	status := make(chan int, 1)
	go func() { status <- run(ctx, args, io.Discard, stderr) }()
	var gw program
	for gw.ws == "" {
		if m := greeting.FindStringSubmatch(stderr.String()); m != nil {
			gw.ws, gw.admin = m[1], m[2]
			break
		}
		<-stderr.changed
	}
	gw.awaitReady(t, http.StatusServiceUnavailable)
	c := join(t, gw.ws, "room")
	server.Restart()
	gw.awaitReady(t, http.StatusOK)
	publishUntil(t, redisClient(t, server.URL()), "notifications:room", "hi", 1)
	c.expect(map[string]any{"type": "gap", "reason": "redis"})
	c.expect(map[string]any{"type": "notification", "channel": "room", "data": "hi"})
	cancel()
	if s := <-status; s != exitOK {
		t.Errorf("exit status %d, want 0", s)
	}
}

func TestStopTellsEveryClientToComeBack(t *testing.T) {
	t.Parallel()
	gw := start(t)
	clients := make([]*client, 10)
	for i := range clients {
		clients[i] = join(t, gw.ws, "room")
	}
	done := make(chan int, 1)
	go func() { done <- gw.stop() }()
	for _, c := range clients {
		_, _, err := c.ws.Read(t.Context())
		if got := websocket.CloseStatus(err); got != websocket.StatusServiceRestart {
			t.Errorf("closed with %v (%v), want 1012", got, err)
		}
		if !strings.Contains(fmt.Sprint(err), "retry=") {
			t.Errorf("close reason in %v has no retry=", err)
		}
	}
	if s := <-done; s != exitOK {
		t.Errorf("exit status %d, want 0: %s", s, gw.stderr)
	}
}

func TestTakenPorts(t *testing.T) {
	t.Parallel()
	gw := start(t)
	addr := strings.TrimSuffix(strings.TrimPrefix(gw.ws, "ws://"), "/ws")
	for name, args := range map[string][]string{
		"clients": {"-addr", addr, "-admin", "127.0.0.1:0"},
		"admin":   {"-addr", "127.0.0.1:0", "-admin", strings.TrimPrefix(gw.admin, "http://")},
	} {
		var stderr bytes.Buffer
		if status := run(t.Context(), args, io.Discard, &stderr); status != exitError {
			t.Errorf("%s: exit status %d, want %d", name, status, exitError)
		}
		if !strings.Contains(stderr.String(), "taken") || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("%s: %q does not say in one line that the port is taken", name, &stderr)
		}
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"-nope"}, "-nope"},
		{[]string{"frobnicate"}, "unknown command"},
		{[]string{"-addr", "0.0.0.0:8080"}, "-insecure"},
		{[]string{"-addr", ":8080"}, "-insecure"},
		{[]string{"-addr", "0.0.0.0:8080", "-insecure"}, "needs -redis"},
		{[]string{"-addr", "8080"}, "host:port"},
		{[]string{"-admin", "x"}, "host:port"},
		{[]string{"-loops", "65"}, "64"},
		{[]string{"-max-message", "0"}, "size"},
		{[]string{"-max-message", "64XB"}, "size"},
		{[]string{"-max-message", "64KiB", "-max-inbound-total", "127KiB"}, "twice"},
		{[]string{"-max-connections", "-1"}, "negative"},
		{[]string{"-ping-interval", "-1s"}, "negative"},
		{[]string{"-ping-interval", "30"}, "as in 500ms, 30s"},
		{[]string{"-max-channels", "1k"}, "whole number"},
		{[]string{"-handshake-timeout", "0"}, "time above 0 is needed"},
		{[]string{"-max-fragments", "0"}, "at least 1"},
		{[]string{"-max-channels", "0"}, "between 1 and 65535"},
		{[]string{"-max-channels", "65536"}, "between 1 and 65535"},
		{[]string{"-max-channels", "32768"}, "-max-message-burst 32767 is less than -max-channels 32768"},
		{[]string{"-max-message-burst", "32768"}, "between 1 and 32767"},
		{[]string{"-max-message-burst", "50"}, "-max-message-rate"},
		{[]string{"-max-message-burst", "999"}, "-max-channels 1000"},
		{[]string{"-heartbeat", "1s"}, "-heartbeat"},
		{[]string{"-jwt-secret", "/does/not/exist"}, "secret"},
		{[]string{"-jwt-secret", ""}, "-jwt-secret is given (flag) and empty"},
		{[]string{"-admin-token", ""}, "-admin-token is given (flag) and empty"},
		{[]string{"-jwt-audience", "x"}, "without a key"},
		{[]string{"-personal-channel", "user:{sub}"}, "without a key"},
		{[]string{"-jwt-secret", "k", "-personal-channel", "user:{id}"}, "{id}"},
		{[]string{"-jwt-secret", "k", "-personal-channel", "{sub}:{org}"}, "\"{org}\""},
		{[]string{"-jwt-secret", "k", "-personal-channel", "user:{Sub}"}, "{Sub}"},
		{[]string{"-jwt-secret", "k", "-personal-channel", "user:{}"}, "{}"},
		{[]string{"-jwt-secret", "k", "-personal-channel", "user:{sub"}, "{sub"},
		{[]string{"-trusted-proxy", "10.0.0.1/8"}, "network"},
		{[]string{"-trusted-proxy", "::ffff:10.0.0.0/104"}, "network"},
		{[]string{"-trusted-proxy", "fe80::1%eth0"}, "network"},
		{[]string{"-proxy-protocol"}, "-trusted-proxy"},
		{[]string{"-jwt-secret", "k", "-jwt-cookie", "session", "-allow-origin", "*"}, "list the origins"},
		{[]string{"token", "-sub", "ann"}, "-key"},
		{[]string{"token", "-nope"}, "-nope"},
		{[]string{"token", "-chanels", "x"}, "is -channels meant?"},
		{[]string{"token", "-key", "k", "-sub", "ann", "-ttl", "1d"}, "as in 500ms, 30s"},
		{[]string{"doctor", "-conections", "5"}, "is -connections meant?"},
		{[]string{"doctor", "-loops", "65"}, "between 1 and 64"},
		{[]string{"doctor", "-loops", "-1"}, "between 1 and 64"},
		{[]string{"healthcheck", "-admin", "http://127.0.0.1:9090"}, "not host:port"},
		{[]string{"publish", "-admn", "x"}, "is -admin meant?"},
		{[]string{"publish", "-admin", "9090", "user:1", "x"}, "not host:port"},
		{[]string{"-slow-consumer", "wait"}, "close or drop"},
		{[]string{"-allow-origin", "example.org"}, "scheme://"},
		{[]string{"-allow-origin", "https://*.example.org"}, "wildcard"},
		{[]string{"-log-level", "loud"}, "debug"},
		{[]string{"-log-format", "xml"}, "auto, text or json"},
		{[]string{"-max-conections", "5"}, "is -max-connections meant?"},
		{[]string{"-redis", "http://127.0.0.1"}, "-redis"},
		{[]string{"serve", "extra"}, "extra"},
		{[]string{"demo", "-redis", "redis://127.0.0.1"}, "demo"},
		{[]string{"demo", "-addr", "0.0.0.0:1", "-insecure"}, "loopback"},
		{[]string{"publish", "user:1"}, "channel and data"},
		{[]string{"publish", "", "x"}, "empty"},
		{[]string{"version", "x"}, "no arguments"},
	}
	for _, tt := range tests {
		var stderr bytes.Buffer
		if status := run(t.Context(), tt.args, io.Discard, &stderr); status != exitUsage {
			t.Errorf("run(%q) = %d, want %d", tt.args, status, exitUsage)
		}
		if got := stderr.String(); !strings.Contains(got, tt.want) || strings.Count(got, "\n") != 1 {
			t.Errorf("run(%q) says %q, want one line with %q", tt.args, got, tt.want)
		}
	}
}

func TestHelpListsEveryFlag(t *testing.T) {
	t.Parallel()
	var stdout bytes.Buffer
	if status := run(t.Context(), []string{"-h"}, &stdout, io.Discard); status != exitOK {
		t.Fatalf("run(-h) = %d", status)
	}
	settings.NewFlagSet(&settings.Settings{}).VisitAll(func(f *flag.Flag) {
		if !strings.Contains(stdout.String(), "  -"+f.Name+" ") {
			t.Errorf("help does not list -%s", f.Name)
		}
	})
}

func TestVersion(t *testing.T) {
	t.Parallel()
	var stdout bytes.Buffer
	if status := run(t.Context(), []string{"version"}, &stdout, io.Discard); status != exitOK || !strings.HasPrefix(stdout.String(), "carillon ") {
		t.Errorf("version = %d, %q", status, &stdout)
	}
}
