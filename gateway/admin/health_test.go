package admin

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/carillon-ws/carillon/gateway/server"
)

func TestReadyz(t *testing.T) {
	t.Parallel()
	listening := Check{Name: "listening", OK: true, Detail: "127.0.0.1:8080"}
	redis := Check{Name: "redis subscribed", Detail: "connection refused"}
	draining := Check{Name: "not draining"}
	tests := []struct {
		name          string
		checks        []Check
		status        int
		body, verbose string
	}{
		{"ready", []Check{listening}, 200, "ok\n", "ok   listening (127.0.0.1:8080)\nok\n"},
		{
			"redis lost",
			[]Check{listening, redis},
			503, "failed: redis subscribed (connection refused)\n",
			"ok   listening (127.0.0.1:8080)\nFAIL redis subscribed (connection refused)\nfailed: redis subscribed (connection refused)\n",
		},
		{
			"two at once",
			[]Check{redis, draining},
			503, "failed: redis subscribed (connection refused); not draining\n",
			"FAIL redis subscribed (connection refused)\nFAIL not draining\nfailed: redis subscribed (connection refused); not draining\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := testConfig()
			cfg.Ready = func() []Check { return tt.checks }
			_, url := start(t, cfg)
			if got := do(t, "GET", url+"/readyz", ""); got.status != tt.status || got.body != tt.body {
				t.Errorf("/readyz = %d %q, want %d %q", got.status, got.body, tt.status, tt.body)
			}
			if got := do(t, "GET", url+"/readyz?verbose", ""); got.status != tt.status || got.body != tt.verbose {
				t.Errorf("/readyz?verbose = %d %q, want %d %q", got.status, got.body, tt.status, tt.verbose)
			}
			if got := do(t, "GET", url+"/livez", ""); got.status != 200 || got.body != "ok\n" {
				t.Errorf("/livez = %d %q: it must not depend on /readyz", got.status, got.body)
			}
		})
	}
}

func TestLivez(t *testing.T) {
	t.Parallel()
	cfg := testConfig()
	cfg.Live = func() error { return errors.New("loop 1 has stood still for 12s") }
	_, url := start(t, cfg)
	want := "failed: loops turning (loop 1 has stood still for 12s)\n"
	if got := do(t, "GET", url+"/livez", ""); got.status != 503 || got.body != want {
		t.Errorf("/livez = %d %q, want 503 %q", got.status, got.body, want)
	}
}

func TestInfo(t *testing.T) {
	t.Parallel()
	a, url := start(t, testConfig())
	got := do(t, "GET", url+"/info", "")
	want := `{"name":"carillon","version":"v9","pid":42,"addr":"127.0.0.1:8080","url":"ws://127.0.0.1:8080/ws",` +
		`"admin":"` + a.Addr() + `","redis":"redis://127.0.0.1:6379","redisEmbedded":false,"loops":2}` + "\n"
	if got.body != want || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("/info = %q %q, want %q", got.header.Get("Content-Type"), got.body, want)
	}
}

func TestInfoSeenFrom(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ url, host, want string }{
		{"ws://127.0.0.1:8080/ws", "localhost:9090", "ws://127.0.0.1:8080/ws"},
		{"ws://gw.example:8080/ws", "10.0.0.1:9090", "ws://gw.example:8080/ws"},
		{"ws://0.0.0.0:8080/ws", "10.0.0.1:9090", "ws://10.0.0.1:8080/ws"},
		{"ws://[::]:8080/ws", "[fd00::1]:9090", "ws://[fd00::1]:8080/ws"},
		{"ws://:8080/ws", "gw.example", "ws://gw.example:8080/ws"},
	} {
		if got := (Info{URL: tt.url}).seenFrom(tt.host).URL; got != tt.want {
			t.Errorf("%s seen from %s = %s, want %s", tt.url, tt.host, got, tt.want)
		}
	}
}

func TestStats(t *testing.T) {
	t.Parallel()
	cfg := busy()
	busyRedis := cfg.Redis
	cfg.Redis = func() RedisStats { st := busyRedis(); st.Up = false; return st }
	_, url := start(t, cfg)
	var got numbers
	if err := json.Unmarshal([]byte(do(t, "GET", url+"/stats", "").body), &got); err != nil {
		t.Fatal(err)
	}
	if got.Connections != 13 || got.Subscriptions != 5 || got.Deliveries != 61 || got.Publications != 70 || got.RedisUp ||
		got.Closed["peer"] != 5 || got.Backlogged != 1 || got.Limit != 1000 || !got.Draining {
		t.Errorf("/stats = %+v", got)
	}
	if len(got.Links) != 2 || got.Waiting != 6 || got.RedisInterest != "sharded" || got.Resubscribed != 8 || got.Unallowed != 9 || got.Moved != 10 {
		t.Errorf("/stats = %+v", got)
	} else if l := got.Links[0]; l.Link != "10.0.0.1:6379" || !l.Up || l.CanaryAge == nil || *l.CanaryAge != 1.5 || l.Channels != 11 || l.Unconfirmed != 12 || l.Messages != 13 || l.Reconnects != 14 {
		t.Errorf("the first link is %+v", l)
	} else if l := got.Links[1]; l.Up || l.CanaryAge != nil || l.Error != "connection refused" {
		t.Errorf("the second link is %+v", l)
	}
	if n := len(got.Latency); n != len(server.TimeScale.Bounds)+1 || got.Latency[2] != (bucket{0.0005, 2}) || got.Latency[n-1] != (bucket{0, 1}) {
		t.Errorf("latency %+v", got.Latency)
	}
}

func TestLoops(t *testing.T) {
	t.Parallel()
	_, url := start(t, busy())
	var got []loopNumbers
	if err := json.Unmarshal([]byte(do(t, "GET", url+"/loops", "").body), &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].BusySeconds != 1.5 || got[0].StallSeconds != 0.25 || got[0].MailboxBytes != 77 || got[1].Connections != 10 || got[1].Loop != 1 {
		t.Errorf("/loops = %+v", got)
	}
}
