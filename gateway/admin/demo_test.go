package admin

import (
	"errors"
	"net/http"
	"testing"
	"time"
)

func TestPauseRedis(t *testing.T) {
	t.Parallel()
	asked := make(chan time.Duration, 1)
	cfg := testConfig()
	cfg.PauseRedis = func(d time.Duration) error {
		if d == time.Second {
			return errors.New("paused already")
		}
		asked <- d
		return nil
	}
	_, url := start(t, cfg)
	for _, tt := range []struct {
		body   string
		origin string
		want   int
	}{
		{`{"pause":4000}`, "", 200},
		{`{"pause":1000}`, "", 409},
		{`{"pause":0}`, "", 400},
		{`{"pause":-1}`, "", 400},
		{`{"pause":60001}`, "", 400},
		{`{}`, "", 400},
		{`pause`, "", 400},
		{`{"pause":4000}`, "https://evil.example", 403},
	} {
		got := do(t, "POST", url+"/demo/redis", tt.body, func(r *http.Request) {
			if tt.origin != "" {
				r.Header.Set("Origin", tt.origin)
			}
		})
		if got.status != tt.want {
			t.Errorf("POST %s from %q = %d %q, want %d", tt.body, tt.origin, got.status, got.body, tt.want)
		}
	}
	if d := <-asked; d != 4*time.Second || len(asked) > 0 {
		t.Errorf("paused for %v, and %d times more", d, len(asked))
	}
}

func TestOnlyADemoPausesRedis(t *testing.T) {
	t.Parallel()
	_, url := start(t, testConfig())
	if got := do(t, "POST", url+"/demo/redis", `{"pause":4000}`); got.status != 404 {
		t.Errorf("outside of a demo: %d %q, want 404", got.status, got.body)
	}
}
