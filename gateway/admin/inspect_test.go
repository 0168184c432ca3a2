package admin

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/carillon-ws/carillon/gateway/server"
)

func TestConnections(t *testing.T) {
	t.Parallel()
	var asked server.ConnectionQuery
	var failure error
	cfg := testConfig()
	cfg.Connections = func(_ context.Context, q server.ConnectionQuery) (server.ConnectionList, error) {
		asked = q
		return server.ConnectionList{Matched: 9, Connections: []server.ConnectionInfo{{Client: "x", Channels: []string{"a"}, State: "open"}}}, failure
	}
	_, url := start(t, cfg)
	for _, tt := range []struct {
		query  string
		status int
		want   server.ConnectionQuery
	}{
		{"", 200, server.ConnectionQuery{Limit: defaultListed}},
		{"?user=ann&channel=notifications:a&limit=7", 200, server.ConnectionQuery{User: "ann", Channel: "a", Limit: 7}},
		{"?backlogged", 200, server.ConnectionQuery{Backlogged: true, Limit: defaultListed}},
		{"?backlogged=1", 200, server.ConnectionQuery{Backlogged: true, Limit: defaultListed}},
		{"?backlogged=false", 200, server.ConnectionQuery{Limit: defaultListed}},
		{"?backlogged=maybe", 400, server.ConnectionQuery{}},
		{"?limit=0", 400, server.ConnectionQuery{}},
		{"?limit=1001", 400, server.ConnectionQuery{}},
		{"?limit=x", 400, server.ConnectionQuery{}},
		{"?channel=", 400, server.ConnectionQuery{}},
		{"?usr=ann", 400, server.ConnectionQuery{}},
	} {
		asked = server.ConnectionQuery{}
		got := do(t, "GET", url+"/connections"+tt.query, "")
		if got.status != tt.status || asked != tt.want {
			t.Errorf("GET %s = %d %q and asks for %+v, want %d and %+v", tt.query, got.status, got.body, asked, tt.status, tt.want)
		}
	}
	want := `{"matched":9,"connections":[{"client":"x","user":"","loop":0,"state":"open","channels":["a"],"channelCount":0,` +
		`"ageSeconds":0,"idleSeconds":0,"backlogBytes":0,"stuckSeconds":0}]}` + "\n"
	if got := do(t, "GET", url+"/connections", ""); got.body != want {
		t.Errorf("/connections = %s, want %s", got.body, want)
	}
	failure = errors.New("late")
	if got := do(t, "GET", url+"/connections", ""); got.status != http.StatusGatewayTimeout {
		t.Errorf("while a loop hangs: %d, want 504", got.status)
	}
}

func TestLogLevel(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	cfg := testConfig()
	cfg.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: cfg.LogLevel}))
	_, url := start(t, cfg)
	if got := do(t, "GET", url+"/log-level", ""); got.body != "info\n" {
		t.Errorf("GET = %q", got.body)
	}
	for _, body := range []string{"", "loud", strings.Repeat("debug", 100)} {
		if got := do(t, "POST", url+"/log-level", body); got.status != 400 || cfg.LogLevel.Level() != slog.LevelInfo {
			t.Errorf("POST %.20q = %d, and the level is %v", body, got.status, cfg.LogLevel.Level())
		}
	}
	if got := do(t, "POST", url+"/log-level", "debug", header("Origin", "https://evil.example")); got.status != 403 || cfg.LogLevel.Level() != slog.LevelInfo {
		t.Errorf("from another site's page: %d", got.status)
	}
	if got := do(t, "POST", url+"/log-level", "DEBUG\n"); got.status != 200 || got.body != "debug\n" || cfg.LogLevel.Level() != slog.LevelDebug {
		t.Errorf("POST debug = %d %q, and the level is %v", got.status, got.body, cfg.LogLevel.Level())
	}
	if !strings.Contains(log.String(), `msg="log level changed" from=info to=debug`) {
		t.Errorf("the log says %q", log.String())
	}
}

func TestOpsPageIsSmallAndSelfContained(t *testing.T) {
	t.Parallel()
	_, url := start(t, testConfig())
	got := do(t, "GET", url+"/ops", "")
	if csp := got.header.Get("Content-Security-Policy"); !strings.Contains(csp, "connect-src 'self';") || strings.Contains(csp, "unsafe") {
		t.Errorf("policy %q", csp)
	}
	if inline := regexp.MustCompile(`<style|<script>| style=| on[a-z]+=`).FindString(got.body); inline != "" {
		t.Errorf("the page holds %q, which its policy forbids", inline)
	}
	entries, err := fs.ReadDir(opsFiles, "ops")
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for _, entry := range entries {
		content, err := opsFiles.ReadFile("ops/" + entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		size += len(content)
		for _, danger := range []string{"innerHTML", "insertAdjacentHTML", "document.write", "eval(", "https://", "//cdn"} {
			if strings.Contains(string(content), danger) {
				t.Errorf("%s contains %q", entry.Name(), danger)
			}
		}
	}
	if size > 24_000 {
		t.Errorf("the page is %d bytes, want at most 24,000", size)
	}
	if len(entries) != len(opsAssets)+1 {
		t.Errorf("%d files in ops, %d served", len(entries), len(opsAssets)+1)
	}
}
