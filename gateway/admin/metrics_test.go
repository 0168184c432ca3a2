package admin

import (
	"errors"
	"io"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/gateway/server"
)

// seedNames are the metrics of the article that this gateway grew from. They keep their names, against the conventions.
var seedNames = []string{"ws_connections_total", "ws_messages_sent_total", "ws_message_latency_ms", "redis_pubsub_messages"}

// busy returns the Config of a gateway whose counters are not 0.
func busy() Config {
	cfg := testConfig()
	cfg.Server = func() server.Stats {
		first := server.LoopStats{
			Connections: 3, Sockets: 4, Channels: 2, Subscriptions: 5, Waiting: 6, Backlogged: 1, BacklogBytes: 100,
			Accepted: 9, Upgraded: 8, Commands: 7, Deliveries: 60, SentBytes: 5000, Writes: 40,
			Compressing: 2, Compressed: 30, SavedBytes: 9000,
			Wakeups: 6, Turns: 5, Slices: 11, Panics: 1,
			Refused: map[string]uint64{"bad_origin": 1}, Closed: map[string]uint64{"peer": 4, "novel": 1},
			Errors: map[string]uint64{"bad_json": 2}, Dropped: map[string]uint64{"slow": 3},
		}
		first.MailboxBytes, first.BusyNs, first.StallNs = 77, 1_500_000_000, 250_000_000
		first.Latency = server.Histogram{Zero: 1, Native: map[int]int64{-100: 2}, Sum: 1_600_000}
		first.Latency.Classic[0], first.Latency.Classic[2] = 1, 2
		first.Width = server.Histogram{Native: map[int]int64{0: 1, 27: 2}, Sum: 21}
		first.Width.Classic[0], first.Width.Classic[3] = 1, 2
		second := server.LoopStats{Connections: 10, Deliveries: 1, Closed: map[string]uint64{"peer": 1}}
		second.Latency = server.Histogram{Native: map[int]int64{-100: 1, 29: 1}, Sum: 12_000_000_000}
		second.Latency.Classic[0], second.Latency.Classic[len(second.Latency.Classic)-1] = 1, 1
		return server.Stats{Loops: []server.LoopStats{first, second}, MaxConnections: 1000, Draining: true, Restarts: 2}
	}
	cfg.Feeder = func() fanout.FeederStats {
		return fanout.FeederStats{Publications: 70, Unheard: 6, Foreign: 5, Replaced: 4, Gaps: 3, ChannelGaps: 2}
	}
	cfg.Info.RedisEmbedded = true
	cfg.LogDropped = func() uint64 { return 9 }
	cfg.Redis = func() RedisStats {
		return RedisStats{
			Mode: "sharded", Messages: 70, Bytes: 7000, Reconnects: 2, Up: true, Resubscribed: 8, Refused: 9, Moved: 10,
			Links: []RedisLink{
				{Name: "10.0.0.1:6379", Up: true, CanaryAge: 1500 * time.Millisecond, Channels: 11, Unconfirmed: 12, Messages: 13, Reconnects: 14},
				{Name: "10.0.0.2:6379", CanaryAge: -1, LastError: "connection refused"},
			},
		}
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
		`ws_message_latency_ms_bucket{le="0.1"} 2`, `ws_message_latency_ms_bucket{le="0.25"} 2`,
		`ws_message_latency_ms_bucket{le="0.5"} 4`, `ws_message_latency_ms_bucket{le="10000"} 4`,
		`ws_message_latency_ms_bucket{le="+Inf"} 5`, "ws_message_latency_ms_sum 12001.6", "ws_message_latency_ms_count 5",
		`ws_message_latency_seconds_bucket{le="0.0005"} 4`, "ws_message_latency_seconds_sum 12.0016",
		`ws_fanout_width_bucket{le="1"} 1`, `ws_fanout_width_bucket{le="10"} 3`, "ws_fanout_width_sum 21",
		"loop_turn_duration_seconds_count 0",
		`loop_busy_seconds_total{loop="0"} 1.5`, `loop_stall_seconds{loop="0"} 0.25`, `loop_mailbox_bytes{loop="0"} 77`,
		"redis_links 2", `redis_interest{mode="sharded"} 1`, `redis_link_up{link="10.0.0.1:6379"} 1`, `redis_link_up{link="10.0.0.2:6379"} 0`,
		`redis_canary_age_seconds{link="10.0.0.1:6379"} 1.5`, `redis_link_channels{link="10.0.0.1:6379"} 11`,
		`redis_link_unconfirmed_channels{link="10.0.0.1:6379"} 12`, `redis_link_messages_total{link="10.0.0.1:6379"} 13`,
		`redis_link_reconnects_total{link="10.0.0.1:6379"} 14`, "redis_channels_resubscribed_total 8", "redis_channels_refused_total 9",
		"redis_channels_moved_total 10", "redis_pubsub_channel_gaps_total 2", "ws_subscriptions_waiting 6",
		"redis_down_seconds 0", "redis_embedded 1", "log_lines_dropped_total 9",
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

// TestEveryReasonIsThereAtTheFirstScrape: a counter that appears with its first event has no rate at that event. The
// reasons are read from the sources, so that a new one is not forgotten here.
func TestEveryReasonIsThereAtTheFirstScrape(t *testing.T) {
	t.Parallel()
	_, url := start(t, testConfig())
	got := "\n" + do(t, "GET", url+"/metrics", "").body
	for _, source := range []struct{ path, reason, metric string }{
		{"../../protocol/http1/refusal.go", `Reason: "(\w+)"`, "ws_handshakes_refused_total"},
		{"../../protocol/codes.go", `ErrorCode += "(\w+)"`, "ws_command_errors_total"},
	} {
		text, err := os.ReadFile(source.path)
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(source.reason).FindAllStringSubmatch(string(text), -1)
		if len(found) < 5 {
			t.Errorf("%s has %d reasons: is it still the right file?", source.path, len(found))
		}
		for _, m := range found {
			if !regexp.MustCompile(`\n` + source.metric + `\{\w+="` + m[1] + `"\} 0\n`).MatchString(got) {
				t.Errorf("the first scrape lacks %s of %q", source.metric, m[1])
			}
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

// A Prometheus that keeps native histograms scrapes by protobuf. There both forms are present and agree.
func TestNativeHistograms(t *testing.T) {
	t.Parallel()
	_, url := start(t, busy())
	got := do(t, "GET", url+"/metrics", "", header("Accept", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"))
	families := map[string]*dto.MetricFamily{}
	decoder := expfmt.NewDecoder(strings.NewReader(got.body), expfmt.ResponseFormat(got.header))
	for {
		var family dto.MetricFamily
		if err := decoder.Decode(&family); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		families[family.GetName()] = &family
	}
	for name, want := range map[string]struct {
		count, zero uint64
		deltas      []int64
	}{
		"ws_message_latency_seconds": {5, 1, []int64{3, -2}},
		"ws_fanout_width":            {3, 0, []int64{1, 1}},
		"loop_turn_duration_seconds": {0, 0, nil},
	} {
		family := families[name]
		if family == nil {
			t.Errorf("no %s among %d families", name, len(families))
			continue
		}
		h := family.GetMetric()[0].GetHistogram()
		if h.GetSampleCount() != want.count || h.GetZeroCount() != want.zero || !slices.Equal(h.GetPositiveDelta(), want.deltas) {
			t.Errorf("%s = %v, want %+v", name, h, want)
		}
		if h.GetSchema() != server.NativeSchema || len(h.GetBucket()) != len(server.TimeScale.Bounds) || h.GetZeroThreshold() == 0 && len(h.GetPositiveSpan()) == 0 {
			t.Errorf("%s lacks one of its forms: %v", name, h)
		}
	}
	if h := families["ws_message_latency_ms"].GetMetric()[0].GetHistogram(); h.Schema != nil {
		t.Errorf("ws_message_latency_ms has native buckets: %v", h)
	}
}

func TestRedisDownSeconds(t *testing.T) {
	t.Parallel()
	cfg := testConfig()
	cfg.Redis = func() RedisStats { return RedisStats{LostAt: time.Now().Add(-time.Hour)} }
	_, url := start(t, cfg)
	m := regexp.MustCompile(`(?m)^redis_down_seconds (\S+)$`).FindStringSubmatch(do(t, "GET", url+"/metrics", "").body)
	if m == nil {
		t.Fatal("no redis_down_seconds")
	}
	if s, err := strconv.ParseFloat(m[1], 64); err != nil || s < 3600 || s > 3700 {
		t.Errorf("redis_down_seconds = %s, want an hour", m[1])
	}
}
