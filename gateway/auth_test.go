package main

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/carillon-ws/carillon/gateway/settings"
)

// mint runs `gateway token` and returns the token.
func mint(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if status := run(t.Context(), append([]string{"token"}, args...), &stdout, &stderr); status != exitOK {
		t.Fatalf("gateway token %q = %d: %s", args, status, stderr.String())
	}
	return strings.TrimSpace(stdout.String())
}

// The gateway takes a token that `gateway token` made, logs nothing of it, and an operator can end the connection.
func TestTokenToKick(t *testing.T) {
	t.Parallel()
	key := filepath.Join(t.TempDir(), "jwt.key")
	if err := os.WriteFile(key, []byte(strings.Repeat("k", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	gw := start(t, "-jwt-secret", key, "-jwt-query", "-personal-channel", "user:{sub}", "-log-level", "debug")
	token := mint(t, "-key", key, "-sub", "ann", "-channels", "user:{sub}, news")

	if _, resp, err := websocket.Dial(t.Context(), gw.ws, nil); err == nil || resp == nil || resp.StatusCode != http.StatusUnauthorized {
		t.Fatalf("without a token: %v, %v, want 401", resp, err)
	}
	conn, _, err := websocket.Dial(t.Context(), gw.ws+"?token="+token, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow() //nolint:errcheck // ended by the test already
	for _, want := range []string{`"userId":"ann"`, `"channel":"user:ann"`} {
		if _, text, err := conn.Read(t.Context()); err != nil || !strings.Contains(string(text), want) {
			t.Fatalf("message %s, %v, want %s in it", text, err, want)
		}
	}
	if err := conn.Write(t.Context(), websocket.MessageText, []byte(`{"type":"subscribe","channel":"news"}`)); err != nil {
		t.Fatal(err)
	}
	if _, text, err := conn.Read(t.Context()); err != nil || !strings.Contains(string(text), `"subscribed"`) {
		t.Fatalf("message %s, %v: the space after the comma must not be part of the pattern", text, err)
	}
	resp, err := http.Post(gw.admin+"/disconnect", "application/json", strings.NewReader(`{"user":"ann"}`))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || string(answer) != "{\"disconnected\":1}\n" {
		t.Errorf("POST /disconnect = %q, %v", answer, err)
	}
	if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != 4008 {
		t.Errorf("ends with %v, want 4008", err)
	}
	gw.stop()
	if log := gw.stderr.String(); strings.Contains(log, token) || strings.Contains(log, strings.Split(token, ".")[2]) {
		t.Errorf("the log has the token:\n%s", log)
	}
}

// With a key for tokens the gateway may listen beyond loopback without -insecure.
func TestBeyondLoopbackWithTokens(t *testing.T) {
	t.Parallel()
	cfg, err := settings.Parse("serve", []string{"-addr", "0.0.0.0:8080", "-redis", "redis://127.0.0.1", "-jwt-secret", "k"}, io.Discard)
	if err != nil || !cfg.Authenticates() {
		t.Errorf("settings.Parse = %v", err)
	}
}
