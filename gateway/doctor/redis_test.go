package doctor

import (
	"strings"
	"testing"

	"github.com/carillon-ws/carillon/fanout/redistest"
)

func TestCheckRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	results := CheckRedis(t.Context(), server.URL())
	for _, check := range []string{"Redis", "Redis round trip", "Redis pubsub buffer"} {
		r := find(t, results, check)
		slow := check == "Redis round trip" && r.Status == Warn // it is next door, but this machine may be busy
		if r.Status != OK && !slow || r.Value == "" {
			t.Errorf("%+v, want ok: it has its defaults", r)
		}
	}
	if got := find(t, results, "Redis pubsub buffer").Value; got != "32 MiB, 8 MiB for 60 s" {
		t.Errorf("buffer = %q", got)
	}
}

func TestCheckRedisThatIsNotFit(t *testing.T) {
	t.Parallel()
	secret := "hunter2"
	tests := []struct {
		name   string
		server *redistest.Server
		user   string
		check  string
		status Status
		fix    string
	}{
		{"away", redistest.Reserve(t), "", "Redis", Fail, "PING"},
		{"password is wrong", redistest.Start(t, "--requirepass", "other"), ":" + secret + "@", "Redis", Fail, "PING"},
		{"small buffer", redistest.Start(t, "--client-output-buffer-limit", "pubsub 1mb 512kb 60"), "", "Redis pubsub buffer", Warn, "'pubsub 33554432 8388608 60'"},
		{"no limit", redistest.Start(t, "--client-output-buffer-limit", "pubsub 0 0 0"), "", "Redis pubsub buffer", Warn, "'pubsub 33554432 8388608 60'"},
		{"a replica", redistest.Start(t, "--replicaof", "127.0.0.1 1"), "", "Redis", Warn, "primary"},
		{"CONFIG is forbidden", redistest.Start(t, "--rename-command", "CONFIG", ""), "", "Redis pubsub buffer", Skip, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			results := CheckRedis(t.Context(), "redis://"+tt.user+tt.server.Addr())
			r := find(t, results, tt.check)
			if r.Status != tt.status || !strings.Contains(r.Fix, tt.fix) {
				t.Errorf("%+v, want %s and a fix with %q", r, tt.status, tt.fix)
			}
			for _, r := range results {
				if strings.Contains(r.Value+r.Fix, secret) {
					t.Errorf("the password is told: %+v", r)
				}
			}
		})
	}
	for _, wrong := range []string{"http://127.0.0.1", "redis://:" + secret + "/x@127.0.0.1", "redis://me@127.0.0.1:1/" + secret + "@h", "me:" + secret + "@h"} {
		r := find(t, CheckRedis(t.Context(), wrong), "Redis")
		if r.Status != Fail || r.Value == "" || strings.Contains(r.Value+r.Fix, secret) {
			t.Errorf("%s: %+v, want a failure that does not tell the password", wrong, r)
		}
	}
}

// TestFixOfTheBuffer types the fix as it is told, and looks again.
func TestFixOfTheBuffer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--client-output-buffer-limit", "pubsub 1mb 512kb 60")
	fix, _, _ := strings.Cut(find(t, CheckRedis(t.Context(), server.URL()), "Redis pubsub buffer").Fix, " (")
	shell(t, fix)
	if r := find(t, CheckRedis(t.Context(), server.URL()), "Redis pubsub buffer"); r.Status != OK {
		t.Errorf("after %q: %+v", fix, r)
	}
}
