package admin

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
)

func TestPublish(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	published := map[string]string{} // Guarded by mu.
	cfg := testConfig()
	cfg.Publish = func(_ context.Context, channel, data string) (int64, error) {
		mu.Lock()
		defer mu.Unlock()
		published[channel] = data
		return 3, nil
	}
	_, url := start(t, cfg)
	mebibyte := strings.Repeat("x", maxPublish)
	tests := []struct {
		name, path, data string
		status           int
		channel          string
	}{
		{"plain", "/publish/user:1", "hello", 200, "user:1"},
		{"no data", "/publish/user:2", "", 200, "user:2"},
		{"not UTF-8", "/publish/user:3", "\xff\x00", 200, "user:3"},
		{"form data stays as it is", "/publish/user:4", "a=1&b=%20", 200, "user:4"},
		{"long form", "/publish/notifications:user:5", "x", 200, "user:5"},
		{"escaped", "/publish/user%3A6%20%C3%A9", "x", 200, "user:6 é"},
		{"slash", "/publish/org/7", "x", 200, "org/7"},
		{"escaped slash", "/publish/org%2F8", "x", 200, "org/8"},
		{"slashes that a mux would clean", "/publish//org//9/../9/", "x", 200, "/org//9/../9/"},
		{"escaped percent", "/publish/100%25", "x", 200, "100%"},
		{"largest", "/publish/big", mebibyte, 200, "big"},
		{"longest name", "/publish/" + strings.Repeat("n", 255), "x", 200, strings.Repeat("n", 255)},

		{"too large", "/publish/user:1", mebibyte + "x", 413, ""},
		{"no name", "/publish/", "x", 400, ""},
		{"prefix only", "/publish/notifications:", "x", 400, ""},
		{"long name", "/publish/" + strings.Repeat("n", 256), "x", 400, ""},
		{"control character", "/publish/a%0Ab", "x", 400, ""},
		{"name not UTF-8", "/publish/%FF", "x", 400, ""},
	}
	for _, tt := range tests {
		got := do(t, "POST", url+tt.path, tt.data, header("Content-Type", "application/x-www-form-urlencoded"))
		if got.status != tt.status {
			t.Errorf("%s: status = %d %q, want %d", tt.name, got.status, got.body, tt.status)
			continue
		}
		if tt.status != 200 {
			if strings.TrimSpace(got.body) == "" {
				t.Errorf("%s: refused without a text", tt.name)
			}
			continue
		}
		var answer struct {
			Channel   string
			Receivers int64
		}
		if err := json.Unmarshal([]byte(got.body), &answer); err != nil || answer.Channel != tt.channel || answer.Receivers != 3 {
			t.Errorf("%s: answer = %q, want channel %q and 3 receivers", tt.name, got.body, tt.channel)
		}
		mu.Lock()
		if data, ok := published[tt.channel]; !ok || data != tt.data {
			t.Errorf("%s: published %d bytes to %q, want %d", tt.name, len(data), tt.channel, len(tt.data))
		}
		mu.Unlock()
	}
}

func TestPublishSaysThatRedisFails(t *testing.T) {
	t.Parallel()
	cfg := testConfig()
	cfg.Publish = func(ctx context.Context, _, _ string) (int64, error) {
		if _, bounded := ctx.Deadline(); !bounded {
			t.Error("Publish was called without a deadline")
		}
		return 0, errors.New("dial tcp 127.0.0.1:6379: connection refused")
	}
	_, url := start(t, cfg)
	got := do(t, "POST", url+"/publish/user:1", "x")
	if got.status != 502 || !strings.Contains(got.body, "Redis") || !strings.Contains(got.body, "connection refused") {
		t.Errorf("publish = %d %q, want 502 with the reason", got.status, got.body)
	}
}
