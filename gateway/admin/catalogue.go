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

// loopMetric is one number for each loop, labelled with the number of the loop.
type loopMetric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*server.LoopStats) float64
}

// labelledMetric is a counter for each reason or code, summed over the loops.
type labelledMetric struct {
	desc  *prometheus.Desc
	known []string // labels that are present from the first scrape on
	value func(*server.LoopStats) map[string]uint64
}

// histogramMetric is a histogram, summed over the loops.
type histogramMetric struct {
	desc   *prometheus.Desc
	scale  *server.Scale
	unit   float64 // how many units of the scale are one unit of the metric
	native bool    // has native buckets beside the classic ones
	value  func(*server.LoopStats) *server.Histogram
}

var buildInfo = desc("carillon_build_info", "Which build this is; always 1.", "version", "goversion")

// scalars begin with three of the four metrics of the article that this gateway grew from; the fourth is a histogram.
// They keep their names and their meaning and have no labels, although the naming conventions differ. For each there is
// a second metric with a conventional name.
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
		desc("ws_sockets_accepted_total", "Sockets accepted, also those that were refused later."), counter,
		sum(func(lp *server.LoopStats) float64 { return float64(lp.Accepted) }),
	},
	{
		desc("ws_sockets_active", "Sockets open now: connections, unfinished handshakes, and sockets that are closing."), gauge,
		sum(func(lp *server.LoopStats) float64 { return float64(lp.Sockets) }),
	},
	{
		desc("ws_commands_received_total", "Messages from clients."), counter,
		sum(func(lp *server.LoopStats) float64 { return float64(lp.Commands) }),
	},
	{
		desc("ws_sent_bytes_total", "Bytes to clients that the kernel has taken."), counter,
		sum(func(lp *server.LoopStats) float64 { return float64(lp.SentBytes) }),
	},
	{
		desc("ws_writes_total", "System calls that sent notifications; fewer than deliveries when one call sends several notifications."), counter,
		sum(func(lp *server.LoopStats) float64 { return float64(lp.Writes) }),
	},
	{
		desc("ws_connections_compressing", "Connections open now with permessage-deflate."), gauge,
		sum(func(lp *server.LoopStats) float64 { return float64(lp.Compressing) }),
	},
	{
		desc("ws_messages_compressed_total", "Notifications delivered compressed."), counter,
		sum(func(lp *server.LoopStats) float64 { return float64(lp.Compressed) }),
	},
	{
		desc("ws_compression_saved_bytes_total", "Bytes saved by compression."), counter,
		sum(func(lp *server.LoopStats) float64 { return float64(lp.SavedBytes) }),
	},
	{
		desc("ws_channels_active", "Channels with a subscriber; a channel counts once for each loop with a subscriber."), gauge,
		sum(func(lp *server.LoopStats) float64 { return float64(lp.Channels) }),
	},
	{
		desc("ws_subscriptions_active", "Subscriptions: pairs of a connection and a channel."), gauge,
		sum(func(lp *server.LoopStats) float64 { return float64(lp.Subscriptions) }),
	},
	{
		desc("ws_subscriptions_waiting", "Subscriptions whose client waits until Redis has confirmed the channel; always 0 with -interest pattern."), gauge,
		sum(func(lp *server.LoopStats) float64 { return float64(lp.Waiting) }),
	},
	{
		desc("ws_backlogged_connections", "Connections with a backlog: they read slower than notifications come."), gauge,
		sum(func(lp *server.LoopStats) float64 { return float64(lp.Backlogged) }),
	},
	{
		desc("ws_backlog_bytes", "Bytes that backlogs hold: a frame counts once for each loop, and 16 bytes for each backlog that it is in."), gauge,
		sum(func(lp *server.LoopStats) float64 { return float64(lp.BacklogBytes) }),
	},
	{
		desc("ws_inbound_unfinished_bytes", "Bytes that unfinished messages and request heads hold; see -max-inbound-total."), gauge,
		func(s *snapshot) float64 { return float64(s.server.InboundBytes) },
	},
	{
		desc("ws_draining", "1 while the gateway drains and refuses new connections."), gauge,
		func(s *snapshot) float64 { return truth(s.server.Draining) },
	},
	{
		desc("loop_panics_total", "Panics that were caught; each closed one connection, or dropped what was being sent, and clients got a gap."), counter,
		sum(func(lp *server.LoopStats) float64 { return float64(lp.Panics) }),
	},
	{
		desc("loop_restarts_total", "Loops that ended by a fault and were started again."), counter,
		func(s *snapshot) float64 { return float64(s.server.Restarts) },
	},
	{
		desc("redis_up", "1 while subscribed to Redis, on every link."), gauge,
		func(s *snapshot) float64 { return truth(s.redis.Up) },
	},
	{
		desc("redis_down_seconds", "How long the link to Redis has been down; 0 while it is up."), gauge,
		func(s *snapshot) float64 { return s.downFor().Seconds() },
	},
	{
		desc("redis_links", "Links to Redis: one, or with -interest sharded one for each master of the Cluster."), gauge,
		func(s *snapshot) float64 { return float64(len(s.redis.Links)) },
	},
	{
		desc("redis_embedded", "1 if the gateway runs an embedded Redis, which is for trying out."), gauge,
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
		desc("redis_pubsub_reconnects_total", "Times that the link to Redis was lost and subscribed again."), counter,
		func(s *snapshot) float64 { return float64(s.redis.Reconnects) },
	},
	{
		desc("redis_pubsub_unexpected_total", "Replies from Redis that a subscriber should not get."), counter,
		func(s *snapshot) float64 { return float64(s.redis.Unexpected) },
	},
	{
		desc("redis_pubsub_gaps_total", "Times that all clients got a gap because the link to Redis was lost."), counter,
		func(s *snapshot) float64 { return float64(s.feeder.Gaps) },
	},
	{
		desc("redis_pubsub_channel_gaps_total", "Channels whose subscribers alone got a gap because the link that carries them was lost."), counter,
		func(s *snapshot) float64 { return float64(s.feeder.ChannelGaps) },
	},
	{
		desc("redis_channels_resubscribed_total", "Channels that Redis confirmed again after their link was lost."), counter,
		func(s *snapshot) float64 { return float64(s.redis.Resubscribed) },
	},
	{
		desc("redis_channels_refused_total", "Times that Redis did not allow a channel, or not then; it is asked again."), counter,
		func(s *snapshot) float64 { return float64(s.redis.Refused) },
	},
	{
		desc("redis_channels_moved_total", "Channels that went to another link because their slot of the Cluster moved."), counter,
		func(s *snapshot) float64 { return float64(s.redis.Moved) },
	},
	{
		desc("publications_total", "Publications taken from Redis."), counter,
		func(s *snapshot) float64 { return float64(s.feeder.Publications) },
	},
	{
		desc("publications_unheard_total", "Publications to channels that nobody on this gateway is subscribed to."), counter,
		func(s *snapshot) float64 { return float64(s.feeder.Unheard) },
	},
	{
		desc("publications_foreign_total", "Publications whose Redis channel does not begin with notifications:."), counter,
		func(s *snapshot) float64 { return float64(s.feeder.Foreign) },
	},
	{
		desc("publications_replaced_bytes_total", "Bytes of publications that were not UTF-8 and were replaced by U+FFFD."), counter,
		func(s *snapshot) float64 { return float64(s.feeder.Replaced) },
	},
	{
		desc("log_lines_dropped_total", "Log lines dropped because standard error was not read fast enough."), counter,
		func(s *snapshot) float64 { return float64(s.logDropped) },
	},
}

var perLoop = []loopMetric{
	{
		desc("ws_connections_active", "Connections open now.", "loop"), gauge,
		func(lp *server.LoopStats) float64 { return float64(lp.Connections) },
	},
	{
		desc("loop_turns_total", "Batches that the loop sent.", "loop"), counter,
		func(lp *server.LoopStats) float64 { return float64(lp.Turns) },
	},
	{
		desc("loop_wakeups_total", "Times that the loop was woken to send.", "loop"), counter,
		func(lp *server.LoopStats) float64 { return float64(lp.Wakeups) },
	},
	{
		desc("loop_slices_total", "Slices of batches: a loop sends a long batch in several slices, and looks at its sockets in between.", "loop"), counter,
		func(lp *server.LoopStats) float64 { return float64(lp.Slices) },
	},
	{
		desc("loop_busy_seconds_total", "Time that the loop spent on sending and on timers; reading from sockets is not included.", "loop"), counter,
		func(lp *server.LoopStats) float64 { return float64(lp.BusyNs) / 1e9 },
	},
	{
		desc("loop_stall_seconds", "Longest time in the last 30 to 60 s during which the loop did not look at its sockets.", "loop"), gauge,
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
		desc("ws_handshakes_refused_total", "Sockets that were refused before they became connections.", "reason"), knownRefusals,
		func(lp *server.LoopStats) map[string]uint64 { return lp.Refused },
	},
	{
		desc("ws_command_errors_total", "Messages from clients that were answered with an error.", "code"), knownErrors,
		func(lp *server.LoopStats) map[string]uint64 { return lp.Errors },
	},
	{
		desc("ws_messages_dropped_total", "Notifications not delivered; the reasons overload and panic count publications, slow counts deliveries.", "reason"), knownDrops,
		func(lp *server.LoopStats) map[string]uint64 { return lp.Dropped },
	},
}

var histograms = []histogramMetric{
	{
		desc("ws_message_latency_ms", "Time from the receipt of a publication from Redis to its last write on a loop; see ws_message_latency_seconds."),
		&server.TimeScale, 1e6, false, func(lp *server.LoopStats) *server.Histogram { return &lp.Latency },
	},
	{
		desc("ws_message_latency_seconds", "Time from the receipt of a publication from Redis to its last write on a loop."),
		&server.TimeScale, 1e9, true, func(lp *server.LoopStats) *server.Histogram { return &lp.Latency },
	},
	{
		desc("ws_fanout_width", "Connections that a publication was sent to on a loop; a publication counts once for each loop with a subscriber."),
		&server.WidthScale, 1, true, func(lp *server.LoopStats) *server.Histogram { return &lp.Width },
	},
	{
		desc("loop_turn_duration_seconds", "Time from the first write of a batch to its last."),
		&server.TimeScale, 1e9, true, func(lp *server.LoopStats) *server.Histogram { return &lp.Turn },
	},
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// sum adds up a number of each loop.
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
