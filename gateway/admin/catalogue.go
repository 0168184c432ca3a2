package admin

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-ws/carillon/gateway/server"
)

const (
	counter = prometheus.CounterValue
	gauge   = prometheus.GaugeValue
	untyped = prometheus.UntypedValue
)

// scalarMetric is one number for the whole gateway.
type scalarMetric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*snapshot) float64
}

// loopMetric is one number a loop, labelled with the loop's.
type loopMetric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*server.LoopStats) float64
}

// labelledMetric is a counter by reason or code, over all loops.
type labelledMetric struct {
	desc  *prometheus.Desc
	known []string // present from the first scrape on
	value func(*server.LoopStats) map[string]uint64
}

// histogramMetric is a histogram over all loops.
type histogramMetric struct {
	desc   *prometheus.Desc
	scale  *server.Scale
	unit   float64 // raw units of the scale in one unit of the metric
	native bool    // has native buckets beside the classic ones
	value  func(*server.LoopStats) *server.Histogram
}

var buildInfo = desc("carillon_build_info", "Which build this is; always 1.", "version", "goversion")

// scalars begin with three of the four names that the article this gateway grew from gave its metrics; the fourth is
// a histogram. They keep their meaning, unlabelled, whatever the naming conventions say; conventional twins follow.
var scalars = []scalarMetric{
	{
		desc("ws_connections_total", "Connections open now; see ws_connections_active."), untyped,
		sum(func(lp *server.LoopStats) float64 { return float64(lp.Connections) }),
	},
	{
		desc("ws_messages_sent_total", "Notifications delivered: one publication to ten subscribers counts ten."), counter,
		sum(func(lp *server.LoopStats) float64 { return float64(lp.Deliveries) }),
	},
	{
		desc("redis_pubsub_messages", "Messages received from Redis; see redis_pubsub_messages_total."), untyped,
		func(s *snapshot) float64 { return float64(s.redis.Messages) },
	},
	{
		desc("ws_connections_limit", "Connections allowed at a time."), gauge,
		func(s *snapshot) float64 { return float64(s.server.MaxConnections) },
	},
	{
		desc("ws_connections_opened_total", "Handshakes that became connections."), counter,
		sum(func(lp *server.LoopStats) float64 { return float64(lp.Upgraded) }),
	},
	{
		desc("ws_sockets_accepted_total", "Sockets accepted, whatever became of them."), counter,
		sum(func(lp *server.LoopStats) float64 { return float64(lp.Accepted) }),
	},
	{
		desc("ws_sockets_active", "Sockets open now, handshakes and closing ones included."), gauge,
		sum(func(lp *server.LoopStats) float64 { return float64(lp.Sockets) }),
	},
	{
		desc("ws_commands_received_total", "Messages from clients."), counter,
		sum(func(lp *server.LoopStats) float64 { return float64(lp.Commands) }),
	},
	{
		desc("ws_sent_bytes_total", "Bytes that the kernel took for clients."), counter,
		sum(func(lp *server.LoopStats) float64 { return float64(lp.SentBytes) }),
	},
	{
		desc("ws_writes_total", "Send calls of the fan-out; below deliveries when notifications left together."), counter,
		sum(func(lp *server.LoopStats) float64 { return float64(lp.Writes) }),
	},
	{
		desc("ws_connections_compressing", "Connections open now that negotiated permessage-deflate."), gauge,
		sum(func(lp *server.LoopStats) float64 { return float64(lp.Compressing) }),
	},
	{
		desc("ws_messages_compressed_total", "Notifications that were delivered compressed."), counter,
		sum(func(lp *server.LoopStats) float64 { return float64(lp.Compressed) }),
	},
	{
		desc("ws_compression_saved_bytes_total", "Bytes that these were smaller than uncompressed."), counter,
		sum(func(lp *server.LoopStats) float64 { return float64(lp.SavedBytes) }),
	},
	{
		desc("ws_channels_active", "Channels with a subscriber; a channel counts once on each loop that has one."), gauge,
		sum(func(lp *server.LoopStats) float64 { return float64(lp.Channels) }),
	},
	{
		desc("ws_subscriptions_active", "Pairs of connection and channel."), gauge,
		sum(func(lp *server.LoopStats) float64 { return float64(lp.Subscriptions) }),
	},
	{
		desc("ws_backlogged_connections", "Connections that do not take what is sent as fast as it comes."), gauge,
		sum(func(lp *server.LoopStats) float64 { return float64(lp.Backlogged) }),
	},
	{
		desc("ws_backlog_bytes", "Bytes held for such connections: a frame counts once for each loop, and each reference to it 16."), gauge,
		sum(func(lp *server.LoopStats) float64 { return float64(lp.BacklogBytes) }),
	},
	{
		desc("ws_inbound_unfinished_bytes", "Bytes that unfinished messages and request heads hold; see -max-inbound-total."), gauge,
		func(s *snapshot) float64 { return float64(s.server.InboundBytes) },
	},
	{
		desc("ws_draining", "1 while no new connections are taken."), gauge,
		func(s *snapshot) float64 { return truth(s.server.Draining) },
	},
	{
		desc("loop_panics_total", "Handlers that failed; each cost one connection, or what was being sent, which is told as a gap."), counter,
		sum(func(lp *server.LoopStats) float64 { return float64(lp.Panics) }),
	},
	{
		desc("loop_restarts_total", "Loops that ended unasked and were started again."), counter,
		func(s *snapshot) float64 { return float64(s.server.Restarts) },
	},
	{
		desc("redis_up", "1 while subscribed to Redis."), gauge,
		func(s *snapshot) float64 { return truth(s.redis.Up) },
	},
	{
		desc("redis_down_seconds", "For how long the link to Redis has been down; 0 while it is up."), gauge,
		func(s *snapshot) float64 { return s.downFor().Seconds() },
	},
	{
		desc("redis_embedded", "1 while the gateway runs a Redis of its own, which is for trying out."), gauge,
		func(s *snapshot) float64 { return truth(s.embedded) },
	},
	{
		desc("redis_pubsub_messages_total", "Messages received from Redis."), counter,
		func(s *snapshot) float64 { return float64(s.redis.Messages) },
	},
	{
		desc("redis_pubsub_bytes_total", "Bytes of the messages received from Redis."), counter,
		func(s *snapshot) float64 { return float64(s.redis.Bytes) },
	},
	{
		desc("redis_pubsub_reconnects_total", "Times that the lost link to Redis was subscribed again."), counter,
		func(s *snapshot) float64 { return float64(s.redis.Reconnects) },
	},
	{
		desc("redis_pubsub_unexpected_total", "Replies from Redis that are nothing a subscriber is sent."), counter,
		func(s *snapshot) float64 { return float64(s.redis.Unexpected) },
	},
	{
		desc("redis_pubsub_gaps_total", "Times that everybody was told of a lost link to Redis."), counter,
		func(s *snapshot) float64 { return float64(s.feeder.Gaps) },
	},
	{
		desc("publications_total", "Publications taken from Redis."), counter,
		func(s *snapshot) float64 { return float64(s.feeder.Publications) },
	},
	{
		desc("publications_unheard_total", "Publications that no connection here is subscribed to."), counter,
		func(s *snapshot) float64 { return float64(s.feeder.Unheard) },
	},
	{
		desc("publications_foreign_total", "Publications whose Redis channel lacks the prefix."), counter,
		func(s *snapshot) float64 { return float64(s.feeder.Foreign) },
	},
	{
		desc("publications_replaced_bytes_total", "Bytes of publications that were not UTF-8 and went out as U+FFFD."), counter,
		func(s *snapshot) float64 { return float64(s.feeder.Replaced) },
	},
	{
		desc("log_lines_dropped_total", "Log lines that were not written: standard error was not read fast enough."), counter,
		func(s *snapshot) float64 { return float64(s.logDropped) },
	},
}

var perLoop = []loopMetric{
	{
		desc("ws_connections_active", "Connections open now.", "loop"), gauge,
		func(lp *server.LoopStats) float64 { return float64(lp.Connections) },
	},
	{
		desc("loop_turns_total", "Batches sent.", "loop"), counter,
		func(lp *server.LoopStats) float64 { return float64(lp.Turns) },
	},
	{
		desc("loop_wakeups_total", "Times that the loop was woken to send.", "loop"), counter,
		func(lp *server.LoopStats) float64 { return float64(lp.Wakeups) },
	},
	{
		desc("loop_slices_total", "Pieces that batches were sent in.", "loop"), counter,
		func(lp *server.LoopStats) float64 { return float64(lp.Slices) },
	},
	{
		desc("loop_busy_seconds_total", "Time spent on sending and on timers; reading from sockets is not in it.", "loop"), counter,
		func(lp *server.LoopStats) float64 { return float64(lp.BusyNs) / 1e9 },
	},
	{
		desc("loop_stall_seconds", "The longest time in the last 30 to 60 s that the loop did not look at its sockets.", "loop"), gauge,
		func(lp *server.LoopStats) float64 { return float64(lp.StallNs) / 1e9 },
	},
	{
		desc("loop_mailbox_bytes", "Bytes that wait to be sent by the loop.", "loop"), gauge,
		func(lp *server.LoopStats) float64 { return float64(lp.MailboxBytes) },
	},
}

var labelled = []labelledMetric{
	{
		desc("ws_connections_closed_total", "Connections ended.", "reason"), knownCloses,
		func(lp *server.LoopStats) map[string]uint64 { return lp.Closed },
	},
	{
		desc("ws_handshakes_refused_total", "Sockets that did not become connections.", "reason"), knownRefusals,
		func(lp *server.LoopStats) map[string]uint64 { return lp.Refused },
	},
	{
		desc("ws_command_errors_total", "Messages from clients that were answered by an error.", "code"), knownErrors,
		func(lp *server.LoopStats) map[string]uint64 { return lp.Errors },
	},
	{
		desc("ws_messages_dropped_total", "Notifications not delivered; overload and panic count publications, slow counts deliveries.", "reason"), knownDrops,
		func(lp *server.LoopStats) map[string]uint64 { return lp.Dropped },
	},
}

var histograms = []histogramMetric{
	{
		desc("ws_message_latency_ms", "From Redis to the last write of a publication on a loop; see ws_message_latency_seconds."),
		&server.TimeScale, 1e6, false, func(lp *server.LoopStats) *server.Histogram { return &lp.Latency },
	},
	{
		desc("ws_message_latency_seconds", "From Redis to the last write of a publication on a loop."),
		&server.TimeScale, 1e9, true, func(lp *server.LoopStats) *server.Histogram { return &lp.Latency },
	},
	{
		desc("ws_fanout_width", "Connections that a publication went to; it counts once on each loop that has some."),
		&server.WidthScale, 1, true, func(lp *server.LoopStats) *server.Histogram { return &lp.Width },
	},
	{
		desc("loop_turn_duration_seconds", "From the first write of a batch to its last."),
		&server.TimeScale, 1e9, true, func(lp *server.LoopStats) *server.Histogram { return &lp.Turn },
	},
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// sum adds a number up over the loops.
func sum(of func(*server.LoopStats) float64) func(*snapshot) float64 {
	return func(s *snapshot) float64 {
		total := 0.0
		for i := range s.server.Loops {
			total += of(&s.server.Loops[i])
		}
		return total
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
