package admin

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// RedisStats is what the listener shows of the source. It counts from the start of the process.
type RedisStats struct {
	Mode string // how Redis is asked for channels: pattern, dynamic or sharded

	Up        bool      // every link is subscribed, and proves it
	LostAt    time.Time // since when it is not, or zero
	LastError string    // why it is not; without a password

	Messages, Bytes, Unexpected, Reconnects uint64

	Resubscribed, Refused, Moved uint64 // channels: see the metrics

	Links []RedisLink
}

// RedisLink is one link of the source.
type RedisLink struct {
	Name      string // no two links have the same
	Node      string // address of the server; empty: that of the URL
	Up        bool
	LastError string

	Messages, Reconnects uint64

	CanaryAge   time.Duration // since the last canary was heard; negative: there is none
	Channels    int           // that Redis has confirmed; 0 with a pattern
	Unconfirmed int           // channels whose confirmation is outstanding
}

// linkMetric is one number for each link to Redis, labelled with its name. It is absent where value reports false.
type linkMetric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*RedisLink) (value float64, known bool)
}

func (m *linkMetric) collect(links []RedisLink, metrics chan<- prometheus.Metric) {
	for i := range links {
		if v, known := m.value(&links[i]); known {
			metrics <- prometheus.MustNewConstMetric(m.desc, m.kind, v, links[i].Name)
		}
	}
}

var redisInterest = desc("redis_interest", "How the gateway asks Redis for channels (-interest); always 1.", "mode")

var perLink = []linkMetric{
	{
		desc("redis_link_up", "1 while the link is subscribed and its canary is heard.", "link"), gauge,
		func(l *RedisLink) (float64, bool) { return truth(l.Up), true },
	},
	{
		desc("redis_canary_age_seconds", "Time since the gateway last heard the canary that it publishes once a second; absent if Redis does not allow the canary.", "link"), gauge,
		func(l *RedisLink) (float64, bool) { return l.CanaryAge.Seconds(), l.CanaryAge >= 0 },
	},
	{
		desc("redis_link_channels", "Channels that the link is subscribed to in Redis; 0 with -interest pattern.", "link"), gauge,
		func(l *RedisLink) (float64, bool) { return float64(l.Channels), true },
	},
	{
		desc("redis_link_unconfirmed_channels", "Channels that the link has asked for, or given up, and that Redis has not answered yet.", "link"), gauge,
		func(l *RedisLink) (float64, bool) { return float64(l.Unconfirmed), true },
	},
	{
		desc("redis_link_messages_total", "Messages received on the link.", "link"), counter,
		func(l *RedisLink) (float64, bool) { return float64(l.Messages), true },
	},
	{
		desc("redis_link_reconnects_total", "Times that the link was lost and subscribed again.", "link"), counter,
		func(l *RedisLink) (float64, bool) { return float64(l.Reconnects), true },
	},
}

// linkNumbers are the numbers of one link, in the answer of /stats.
type linkNumbers struct {
	Link        string   `json:"link"`
	Node        string   `json:"node,omitempty"`
	Up          bool     `json:"up"`
	Error       string   `json:"error,omitempty"`
	CanaryAge   *float64 `json:"canaryAge,omitempty"` // seconds; absent: there is no canary
	Channels    int      `json:"channels"`
	Unconfirmed int      `json:"unconfirmed"`
	Messages    uint64   `json:"messages"`
	Reconnects  uint64   `json:"reconnects"`
}

func linksOf(links []RedisLink) []linkNumbers {
	out := make([]linkNumbers, len(links))
	for i := range links {
		l := &links[i]
		out[i] = linkNumbers{
			Link: l.Name, Node: l.Node, Up: l.Up, Error: l.LastError,
			Channels: l.Channels, Unconfirmed: l.Unconfirmed, Messages: l.Messages, Reconnects: l.Reconnects,
		}
		if l.CanaryAge >= 0 {
			age := l.CanaryAge.Round(time.Millisecond).Seconds()
			out[i].CanaryAge = &age
		}
	}
	return out
}
