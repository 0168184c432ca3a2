package admin

import (
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/gateway/server"
	"github.com/carillon-ws/carillon/protocol"
	"github.com/carillon-ws/carillon/protocol/http1"
	"github.com/carillon-ws/carillon/protocol/websocket"
)

// snapshot has the counters of one scrape, all read at its start.
type snapshot struct {
	server server.Stats
	feeder fanout.FeederStats
	redis  RedisStats
	at     time.Time

	embedded   bool
	logDropped uint64
}

// downFor returns how long the link to Redis has been down; 0 while it is up.
func (s *snapshot) downFor() time.Duration {
	if s.redis.Up || s.redis.LostAt.IsZero() {
		return 0
	}
	return s.at.Sub(s.redis.LostAt)
}

func (cfg *Config) snapshot() *snapshot {
	return &snapshot{cfg.Server(), cfg.Feeder(), cfg.Redis(), time.Now(), cfg.Info.RedisEmbedded, cfg.LogDropped()}
}

// newMetrics returns the handler of /metrics, with a registry of its own. OpenMetrics is off: it names a counter without
// its _total, so that there would be two metrics redis_pubsub_messages.
func newMetrics(cfg *Config) http.Handler {
	registry := newRegistry(cfg)
	var one sync.Mutex // one scrape at a time, because each opens files of /proc, which are reserved once
	gather := func() ([]*dto.MetricFamily, error) {
		one.Lock()
		defer one.Unlock()
		return registry.Gather()
	}
	return promhttp.HandlerFor(prometheus.GathererFunc(gather), promhttp.HandlerOpts{})
}

func newRegistry(cfg *Config) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&collector{cfg: cfg},
	)
	return registry
}

// collector reads the gateway's own counters when Prometheus scrapes. So the loops do no more than increment plain
// counters. Safe to call from any goroutine.
type collector struct {
	cfg *Config
}

func (c *collector) Describe(descs chan<- *prometheus.Desc) {
	descs <- buildInfo
	for i := range scalars {
		descs <- scalars[i].desc
	}
	for i := range perLoop {
		descs <- perLoop[i].desc
	}
	descs <- redisInterest
	for i := range perLink {
		descs <- perLink[i].desc
	}
	for i := range labelled {
		descs <- labelled[i].desc
	}
	for i := range histograms {
		descs <- histograms[i].desc
	}
}

func (c *collector) Collect(metrics chan<- prometheus.Metric) {
	s := c.cfg.snapshot()
	metrics <- prometheus.MustNewConstMetric(buildInfo, prometheus.GaugeValue, 1, c.cfg.Info.Version, runtime.Version())
	for i := range scalars {
		m := &scalars[i]
		metrics <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(s))
	}
	for i := range perLoop {
		m := &perLoop[i]
		for n := range s.server.Loops {
			metrics <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(&s.server.Loops[n]), strconv.Itoa(n))
		}
	}
	metrics <- prometheus.MustNewConstMetric(redisInterest, gauge, 1, s.redis.Mode)
	for i := range perLink {
		perLink[i].collect(s.redis.Links, metrics)
	}
	for i := range labelled {
		labelled[i].collect(s, metrics)
	}
	for i := range histograms {
		metrics <- histograms[i].metric(s)
	}
}

func (m *labelledMetric) collect(s *snapshot, metrics chan<- prometheus.Metric) {
	total := make(map[string]uint64, len(m.known))
	for _, label := range m.known { // present as 0, so that there is a rate at the first event
		total[label] = 0
	}
	for i := range s.server.Loops {
		for label, n := range m.value(&s.server.Loops[i]) {
			total[label] += n
		}
	}
	for label, n := range total {
		metrics <- prometheus.MustNewConstMetric(m.desc, prometheus.CounterValue, float64(n), label)
	}
}

// The reasons and codes that are present from the first scrape on. Others appear with their first event.
var (
	knownCloses = []string{
		"peer", "peer_gone", server.ClosedByLoop,
		websocket.ErrProtocol.Label, websocket.ErrBinary.Label, websocket.ErrUTF8.Label, websocket.ErrMessageTooBig.Label,
		websocket.ErrTooManyFrames.Label, protocol.ErrMessageTimeout.Label, protocol.ErrSlowConsumer.Label,
		protocol.ErrHeartbeatMissed.Label, protocol.ErrInternal.Label, protocol.ErrRestart.Label,
		protocol.ErrRateLimit.Label, protocol.ErrTokenExpired.Label, protocol.ErrKicked.Label,
		protocol.ErrInboundFull.Label,
	}
	knownRefusals = []string{
		http1.RefuseTimeout.Reason, http1.RefuseHeadLong.Reason, http1.RefuseFull.Reason,
		http1.RefuseDraining.Reason, http1.RefuseAddress.Reason, http1.RefuseRate.Reason, http1.RefuseProxy.Reason,
		http1.RefuseNoToken.Reason, http1.RefuseToken.Reason, http1.RefuseExpired.Reason, http1.RefuseKey.Reason,
		http1.RefuseInbound.Reason, http1.RefuseInternal.Reason, "bad_request", "not_upgrade", "bad_path", "bad_method", "bad_origin", "bad_version",
	}
	knownErrors = []string{
		string(protocol.ErrorBadJSON), string(protocol.ErrorBadType), string(protocol.ErrorBadChannel),
		string(protocol.ErrorTooManyChannels), string(protocol.ErrorForbidden), string(protocol.ErrorRateLimited),
		string(protocol.ErrorBadToken), string(protocol.ErrorInternal),
	}
	knownDrops = []string{string(protocol.GapOverload), string(protocol.GapSlow), server.DroppedByPanic}
)
