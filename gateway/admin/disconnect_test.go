package admin

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/carillon-ws/carillon/gateway/server"
)

func TestDisconnect(t *testing.T) {
	t.Parallel()
	var asked server.Kick
	var failure error
	cfg := testConfig()
	cfg.Kick = func(_ context.Context, k server.Kick) (int, error) {
		asked = k
		return 3, failure
	}
	_, url := start(t, cfg)
	tests := []struct {
		body   string
		status int
		want   server.Kick
	}{
		{`{"user":"ann"}`, http.StatusOK, server.Kick{User: "ann"}},
		{`{"client":"c","reconnect":true}`, http.StatusOK, server.Kick{Client: "c", Return: true}},
		{`{"user":"ann","client":"c"}`, http.StatusBadRequest, server.Kick{}},
		{`{}`, http.StatusBadRequest, server.Kick{}},
		{`{"userId":"ann"}`, http.StatusBadRequest, server.Kick{}},
		{`{"user":"ann"}{"user":"bob"}`, http.StatusBadRequest, server.Kick{}},
		{`ann`, http.StatusBadRequest, server.Kick{}},
		{``, http.StatusBadRequest, server.Kick{}},
		{`{"user":"` + strings.Repeat("x", 5000) + `"}`, http.StatusBadRequest, server.Kick{}},
	}
	for _, tc := range tests {
		asked = server.Kick{}
		got := do(t, http.MethodPost, url+"/disconnect", tc.body)
		if got.status != tc.status || asked != tc.want {
			t.Errorf("POST %.60s = %d %q and asks for %+v, want %d and %+v", tc.body, got.status, got.body, asked, tc.status, tc.want)
		}
		if got.status == http.StatusOK && got.body != "{\"disconnected\":3}\n" {
			t.Errorf("POST %s answers %q", tc.body, got.body)
		}
	}
	failure = errors.New("late")
	if got := do(t, http.MethodPost, url+"/disconnect", `{"user":"ann"}`); got.status != http.StatusGatewayTimeout {
		t.Errorf("while a loop hangs: %d, want 504", got.status)
	}
	if got := do(t, http.MethodPost, url+"/disconnect", `{"user":"ann"}`, header("Origin", "https://evil.example")); got.status != http.StatusForbidden {
		t.Errorf("from another site's page: %d, want 403", got.status)
	}
}
