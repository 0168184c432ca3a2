package doctor

import (
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2/server"

	"github.com/carillon-ws/carillon/fanout/redis"
	"github.com/carillon-ws/carillon/fanout/redis/redistest"
)

func TestCheckRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	results := CheckRedis(t.Context(), redis.Config{URL: server.URL()})
	for _, check := range []string{"Redis", "Redis round trip", "Redis permissions", "Redis pubsub buffer"} {
		r := find(t, results, check)
		slow := check == "Redis round trip" && r.Status == Warn // Redis is on this machine, which may be busy
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
		{"a soft limit of a moment", redistest.Start(t, "--client-output-buffer-limit", "pubsub 32mb 8mb 5"), "", "Redis pubsub buffer", Warn, "'pubsub 33554432 8388608 60'"},
		{"a replica", redistest.Start(t, "--replicaof", "127.0.0.1 1"), "", "Redis", Warn, "primary"},
		{"no canary", redistest.Start(t, strings.Fields("--user bell on nopass ~* resetchannels &notifications:* +@all")...), "bell:x@", "Redis permissions", Warn, "&carillon:canary:*"},
		{"no channels", redistest.Start(t, strings.Fields("--user bell on nopass ~* resetchannels &other:* +@all")...), "bell:x@", "Redis permissions", Fail, "&notifications:*"},
		{"CONFIG is forbidden", redistest.Start(t, "--rename-command", "CONFIG", ""), "", "Redis pubsub buffer", Skip, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			results := CheckRedis(t.Context(), redis.Config{URL: "redis://" + tt.user + tt.server.Addr()})
			r := find(t, results, tt.check)
			if r.Status != tt.status || !strings.Contains(r.Fix, tt.fix) {
				t.Errorf("%+v, want %s and a fix with %q", r, tt.status, tt.fix)
			}
			for _, r := range results {
				if strings.Contains(r.Value+r.Fix, secret) {
					t.Errorf("the result has the password: %+v", r)
				}
			}
		})
	}
	for _, wrong := range []string{"http://127.0.0.1", "redis://:" + secret + "/x@127.0.0.1", "redis://me@127.0.0.1:1/" + secret + "@h", "me:" + secret + "@h"} {
		r := find(t, CheckRedis(t.Context(), redis.Config{URL: wrong}), "Redis")
		if r.Status != Fail || r.Value == "" || strings.Contains(r.Value+r.Fix, secret) {
			t.Errorf("%s: %+v, want a failure without the password", wrong, r)
		}
	}
	if r := find(t, CheckRedis(t.Context(), redis.Config{URL: "redis://:hun%ter2@127.0.0.1"}), "Redis"); r.Status != Fail || strings.Contains(r.Value+r.Fix, "ter2") {
		t.Errorf("a password that is not percent-encoded: %+v, want no part of it", r)
	}
	if r := find(t, CheckRedis(t.Context(), redis.Config{URL: "unix://u:p@/nowhere/redis.sock"}), "Redis"); !strings.HasPrefix(r.Fix, "redis-cli -s /nowhere/redis.sock PING") {
		t.Errorf("a socket: %+v", r)
	}
}

// TestVersionOfAnOldRedis: before 7.0 INFO takes one section at most.
func TestVersionOfAnOldRedis(t *testing.T) {
	t.Parallel()
	old, err := server.NewServer("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(old.Close)
	for cmd, answer := range map[string]func(*server.Peer, []string){
		"PING": func(c *server.Peer, _ []string) { c.WriteInline("PONG") },
		"INFO": func(c *server.Peer, args []string) {
			if len(args) > 1 {
				c.WriteError("ERR syntax error")
				return
			}
			c.WriteBulk("# Server\r\nredis_version:6.0.16\r\n# Replication\r\nrole:master\r\n")
		},
	} {
		if err := old.Register(cmd, func(c *server.Peer, _ string, args []string) { answer(c, args) }); err != nil {
			t.Fatal(err)
		}
	}
	r := find(t, CheckRedis(t.Context(), redis.Config{URL: "redis://" + old.Addr().String()}), "Redis")
	if r.Status != Warn || !strings.HasPrefix(r.Value, "6.0.16 at ") {
		t.Errorf("%+v, want a warning: 6.0 gets no fixes", r)
	}
}

// TestFixOfTheBuffer runs the fix, and checks again.
func TestFixOfTheBuffer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--client-output-buffer-limit", "pubsub 1mb 512kb 60")
	fix, _, _ := strings.Cut(find(t, CheckRedis(t.Context(), redis.Config{URL: server.URL()}), "Redis pubsub buffer").Fix, " (")
	shell(t, fix)
	if r := find(t, CheckRedis(t.Context(), redis.Config{URL: server.URL()}), "Redis pubsub buffer"); r.Status != OK {
		t.Errorf("after %q: %+v", fix, r)
	}
}

// TestCheckRedisOfSeveral: the doctor finds the server behind Sentinels and in a Cluster.
func TestCheckRedisOfSeveral(t *testing.T) {
	t.Parallel()
	watched, sharing := redistest.StartSentinel(t), redistest.StartCluster(t, "--cluster-allow-pubsubshard-when-down", "no")
	for _, tt := range []struct {
		name  string
		cfg   redis.Config
		check string
		want  Status
	}{
		{"Sentinel", redis.Config{URL: watched.URL(), Mode: redis.Dynamic}, "Redis permissions", OK},
		{"Cluster", redis.Config{URL: sharing.URL(), Mode: redis.Sharded}, "Redis permissions", OK},
		{"Cluster, by pattern", redis.Config{URL: sharing.URL()}, "Redis permissions", OK},
		{"shards when down", redis.Config{URL: sharing.URL(), Mode: redis.Sharded}, "Redis shards when down", Warn},
		{"no Cluster", redis.Config{URL: "redis+cluster://" + watched.Master.Addr()}, "Redis", Fail},
		{"sharded without a Cluster", redis.Config{URL: watched.URL(), Mode: redis.Sharded}, "Redis", Fail},
	} {
		if r := find(t, CheckRedis(t.Context(), tt.cfg), tt.check); r.Status != tt.want || r.Value == "" {
			t.Errorf("%s: %+v, want %s", tt.name, r, tt.want)
		}
	}
}
