package admin

import (
	"net/http"
	"time"

	"github.com/carillon-ws/carillon/gateway/server"
)

// numbers is the answer of /stats: what the pages show. Everything else is in /metrics. Counters count from the start of
// the process; a page asks again and again, and shows the differences as rates.
type numbers struct {
	At            int64  `json:"at"` // Unix milliseconds
	Connections   int64  `json:"connections"`
	Limit         int    `json:"limit"`
	Sockets       int64  `json:"sockets"`
	Subscriptions int64  `json:"subscriptions"`
	Waiting       int64  `json:"waiting"`  // subscriptions whose client waits for Redis
	Channels      int64  `json:"channels"` // once on each loop that has a subscriber
	Deliveries    uint64 `json:"deliveries"`
	Publications  uint64 `json:"publications"`
	Unheard       uint64 `json:"unheard"`
	SentBytes     uint64 `json:"sentBytes"`
	Accepted      uint64 `json:"accepted"`
	Draining      bool   `json:"draining"`

	Backlogged   int64 `json:"backlogged"`
	BacklogBytes int64 `json:"backlogBytes"`

	Closed  map[string]uint64 `json:"closed"`  // by reason
	Refused map[string]uint64 `json:"refused"` // by reason
	Dropped map[string]uint64 `json:"dropped"` // by reason

	Latency []bucket `json:"latency"` // of publications, from their receipt to the last write on a loop
	Width   []bucket `json:"width"`   // connections that a publication was sent to on a loop

	RedisUp          bool    `json:"redisUp"`
	RedisDownSeconds float64 `json:"redisDownSeconds"`
	RedisError       string  `json:"redisError,omitempty"`
	RedisReconnects  uint64  `json:"redisReconnects"`
	RedisInterest    string  `json:"redisInterest"` // the mode

	Resubscribed uint64        `json:"resubscribed"` // channels, in Redis
	Unallowed    uint64        `json:"unallowed"`
	Moved        uint64        `json:"moved"`
	Links        []linkNumbers `json:"links"`
}

// bucket counts values that are at most UpTo, in seconds or connections, and above the bucket before.
type bucket struct {
	UpTo float64 `json:"upTo"` // 0: the last bucket, without an upper bound
	N    uint64  `json:"n"`
}

// loopNumbers are the numbers of one loop, in the answer of /loops.
type loopNumbers struct {
	Loop          int     `json:"loop"`
	Connections   int64   `json:"connections"`
	Sockets       int64   `json:"sockets"`
	Channels      int64   `json:"channels"`
	Subscriptions int64   `json:"subscriptions"`
	Backlogged    int64   `json:"backlogged"`
	BacklogBytes  int64   `json:"backlogBytes"`
	MailboxBytes  int64   `json:"mailboxBytes"`
	Deliveries    uint64  `json:"deliveries"`
	Turns         uint64  `json:"turns"`
	Slices        uint64  `json:"slices"`
	Wakeups       uint64  `json:"wakeups"`
	Panics        uint64  `json:"panics"`
	BusySeconds   float64 `json:"busySeconds"`
	StallSeconds  float64 `json:"stallSeconds"` // the longest, in the last 30 to 60 s
}

func (a *Admin) stats(w http.ResponseWriter, _ *http.Request) {
	s := a.cfg.snapshot()
	n := numbers{
		At: s.at.UnixMilli(), Limit: s.server.MaxConnections, Draining: s.server.Draining,
		Publications: s.feeder.Publications, Unheard: s.feeder.Unheard,
		Closed: map[string]uint64{}, Refused: map[string]uint64{}, Dropped: map[string]uint64{},
		RedisUp: s.redis.Up, RedisDownSeconds: s.downFor().Round(time.Millisecond).Seconds(),
		RedisError: s.redis.LastError, RedisReconnects: s.redis.Reconnects,
		RedisInterest: s.redis.Mode, Resubscribed: s.redis.Resubscribed, Unallowed: s.redis.Refused, Moved: s.redis.Moved,
		Links: linksOf(s.redis.Links),
	}
	var latency, width server.Histogram
	for i := range s.server.Loops {
		lp := &s.server.Loops[i]
		n.Connections += lp.Connections
		n.Sockets += lp.Sockets
		n.Subscriptions += lp.Subscriptions
		n.Channels += lp.Channels
		n.Waiting += lp.Waiting
		n.Deliveries += lp.Deliveries
		n.SentBytes += lp.SentBytes
		n.Accepted += lp.Accepted
		n.Backlogged += lp.Backlogged
		n.BacklogBytes += lp.BacklogBytes
		add(n.Closed, lp.Closed)
		add(n.Refused, lp.Refused)
		add(n.Dropped, lp.Dropped)
		latency.Add(&lp.Latency)
		width.Add(&lp.Width)
	}
	n.Latency, n.Width = bucketsOf(&latency, &server.TimeScale), bucketsOf(&width, &server.WidthScale)
	answerJSON(w, n)
}

func (a *Admin) loops(w http.ResponseWriter, _ *http.Request) {
	stats := a.cfg.Server().Loops
	out := make([]loopNumbers, len(stats))
	for i := range stats {
		lp := &stats[i]
		out[i] = loopNumbers{
			Loop: i, Connections: lp.Connections, Sockets: lp.Sockets, Channels: lp.Channels, Subscriptions: lp.Subscriptions,
			Backlogged: lp.Backlogged, BacklogBytes: lp.BacklogBytes, MailboxBytes: lp.MailboxBytes,
			Deliveries: lp.Deliveries, Turns: lp.Turns, Slices: lp.Slices, Wakeups: lp.Wakeups, Panics: lp.Panics,
			BusySeconds: float64(lp.BusyNs) / 1e9, StallSeconds: float64(lp.StallNs) / 1e9,
		}
	}
	answerJSON(w, out)
}

func add(to, from map[string]uint64) {
	for key, n := range from {
		to[key] += n
	}
}

func bucketsOf(h *server.Histogram, scale *server.Scale) []bucket {
	out := make([]bucket, 0, len(h.Classic))
	for i, n := range h.Classic {
		b := bucket{N: n}
		if i < len(scale.Bounds) {
			b.UpTo = float64(scale.Bounds[i]) / scale.Unit
		}
		out = append(out, b)
	}
	return out
}
