package admin

import (
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/gateway/server"
)

// seedNames keep the meaning and the names of the article that this gateway grew from, against the conventions.
var seedNames = []string{"ws_connections_total", "ws_messages_sent_total", "ws_message_latency_ms", "redis_pubsub_messages"}

// busy is a gateway that has done something of everything.
func busy() Config {
	cfg := testConfig()
	cfg.Server = func() server.Stats {
		first := server.LoopStats{
			Connections: 3, Sockets: 4, Channels: 2, Subscriptions: 5, Backlogged: 1, BacklogBytes: 100,
			Accepted: 9, Upgraded: 8, Commands: 7, Deliveries: 60, SentBytes: 5000, Writes: 40,
			Compressing: 2, Compressed: 30, SavedBytes: 9000,
			Wakeups: 6, Turns: 5, Slices: 11, Panics: 1,
			Refused: map[string]uint64{"bad_origin": 1}, Closed: map[string]uint64{"peer": 4, "novel": 1},
			Errors: map[string]uint64{"bad_json": 2}, Dropped: map[string]uint64{"slow": 3},
		}
		first.Latency.Buckets[0], first.Latency.Buckets[2], first.Latency.SumNs = 1, 2, 1_600_000
		second := server.LoopStats{Connections: 10, Deliveries: 1, Closed: map[string]uint64{"peer": 1}}
		second.Latency.Buckets[len(server.LatencyBounds)], second.Latency.SumNs = 1, 12_000_000_000
		return server.Stats{Loops: []server.LoopStats{first, second}, MaxConnections: 1000, Draining: true, Restarts: 2}
	}
	cfg.Feeder = func() fanout.FeederStats {
		return fanout.FeederStats{Publications: 70, Unheard: 6, Foreign: 5, Replaced: 4, Gaps: 3}
	}
	cfg.Redis = func() fanout.RedisStats {
		return fanout.RedisStats{Messages: 70, Bytes: 7000, Reconnects: 2, Up: true}
	}
	return cfg
}

func TestMetricsOfABusyGateway(t *testing.T) {
	t.Parallel()
	_, url := start(t, busy())
	got := "\n" + do(t, "GET", url+"/metrics", "").body
	for _, line := range []string{
		"# TYPE ws_connections_total untyped", "ws_connections_total 13",
		"# TYPE ws_messages_sent_total counter", "ws_messages_sent_total 61",
		"# TYPE redis_pubsub_messages untyped", "redis_pubsub_messages 70",
		"# TYPE ws_message_latency_ms histogram",
		`ws_message_latency_ms_bucket{le="0.1"} 1`, `ws_message_latency_ms_bucket{le="0.25"} 1`,
		`ws_message_latency_ms_bucket{le="0.5"} 3`, `ws_message_latency_ms_bucket{le="10000"} 3`,
		`ws_message_latency_ms_bucket{le="+Inf"} 4`, "ws_message_latency_ms_sum 12001.6", "ws_message_latency_ms_count 4",
		`ws_message_latency_seconds_bucket{le="0.0005"} 3`, "ws_message_latency_seconds_sum 12.0016",
		`ws_connections_active{loop="0"} 3`, `ws_connections_active{loop="1"} 10`,
		"ws_connections_opened_total 8", "ws_sockets_accepted_total 9", "ws_sockets_active 4", "ws_connections_limit 1000",
		`ws_connections_closed_total{reason="peer"} 5`, `ws_connections_closed_total{reason="novel"} 1`,
		`ws_connections_closed_total{reason="slow_consumer"} 0`,
		`ws_handshakes_refused_total{reason="bad_origin"} 1`, `ws_handshakes_refused_total{reason="full"} 0`,
		"ws_commands_received_total 7", `ws_command_errors_total{code="bad_json"} 2`, `ws_command_errors_total{code="bad_type"} 0`,
		`ws_messages_dropped_total{reason="slow"} 3`, `ws_messages_dropped_total{reason="overload"} 0`,
		"ws_sent_bytes_total 5000", "ws_writes_total 40", "ws_channels_active 2", "ws_subscriptions_active 5",
		"ws_connections_compressing 2", "ws_messages_compressed_total 30", "ws_compression_saved_bytes_total 9000",
		"ws_backlogged_connections 1", "ws_backlog_bytes 100", "ws_draining 1",
		`loop_turns_total{loop="0"} 5`, `loop_wakeups_total{loop="0"} 6`, `loop_slices_total{loop="0"} 11`,
		"loop_panics_total 1", "loop_restarts_total 2",
		"redis_up 1", "redis_pubsub_messages_total 70", "redis_pubsub_bytes_total 7000", "redis_pubsub_reconnects_total 2",
		"redis_pubsub_gaps_total 3",
		"publications_total 70", "publications_unheard_total 6", "publications_foreign_total 5", "publications_replaced_bytes_total 4",
		`carillon_build_info{goversion="` + runtime.Version() + `",version="v9"} 1`,
	} {
		if !strings.Contains(got, "\n"+line+"\n") {
			t.Errorf("/metrics lacks %q", line)
		}
	}
	for _, name := range []string{"\ngo_goroutines ", "\nprocess_open_fds ", "\nprocess_resident_memory_bytes "} {
		if !strings.Contains(got, name) {
			t.Errorf("/metrics lacks %q", strings.TrimSpace(name))
		}
	}
}

func TestSeedMetricsAreThereAtTheFirstScrape(t *testing.T) {
	t.Parallel()
	_, url := start(t, testConfig())
	got := "\n" + do(t, "GET", url+"/metrics", "").body
	for _, line := range []string{
		"ws_connections_total 0", "ws_messages_sent_total 0", "ws_message_latency_ms_count 0", "redis_pubsub_messages 0",
	} {
		if !strings.Contains(got, "\n"+line+"\n") {
			t.Errorf("first scrape lacks %q", line)
		}
	}
}

func TestMetricsPassPromlint(t *testing.T) {
	t.Parallel()
	_, url := start(t, busy())
	problems, err := promlint.New(strings.NewReader(do(t, "GET", url+"/metrics", "").body)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if !slices.Contains(seedNames, p.Metric) {
			t.Errorf("promlint: %s: %s", p.Metric, p.Text)
		}
	}
}
