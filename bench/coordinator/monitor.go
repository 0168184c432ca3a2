package coordinator

import (
	"context"
	"time"

	"github.com/carillon-ws/carillon/bench/host"
	"github.com/carillon-ws/carillon/bench/report"
)

// monitor takes a sample of everything once a second, for the charts over time.
type monitor struct {
	c      *coordinator
	cancel context.CancelFunc
	ended  chan struct{}

	// Owned by run until it has ended.
	series        []report.Second
	at            time.Time
	received      int
	server, bench host.Usage
}

func startMonitor(ctx context.Context, c *coordinator) *monitor {
	ctx, cancel := context.WithCancel(ctx)
	m := &monitor{c: c, cancel: cancel, ended: make(chan struct{}), at: time.Now()}
	m.server, _ = c.fleet.Usage() // 0: unknown
	m.bench = c.workers.usage()
	go m.run(ctx)
	return m
}

// stop ends it and returns the series.
func (m *monitor) stop() []report.Second {
	m.cancel()
	<-m.ended
	return m.series
}

func (m *monitor) run(ctx context.Context) {
	defer close(m.ended)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			m.sample(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (m *monitor) sample(ctx context.Context) {
	now := time.Now()
	seconds, received := now.Sub(m.at).Seconds(), m.c.workers.received()
	s := report.Second{
		At: now.Sub(m.c.begun).Seconds(), Connected: m.c.workers.ready(), Closed: m.c.workers.closed(),
		Deliveries: float64(received-m.received) / seconds,
	}
	if h, err := m.c.workers.sample(); err == nil && h.Count() > 0 {
		s.P50, s.P99, s.Max = h.At(50), h.At(99), h.Max()
	}
	if u, err := m.c.fleet.Usage(); err == nil && u.CPU > 0 {
		s.RSS = u.RSS
		s.Cores = max(0, (u.CPU-m.server.CPU).Seconds()/seconds) // a gateway that was killed took its time with it
		m.server = u
	}
	bench := m.c.workers.usage()
	s.Bench = max(0, (bench.CPU-m.bench.CPU).Seconds()/seconds)
	if mem, err := host.ReadMemory(); err == nil {
		s.Available = mem.Available
	}
	m.garbage(ctx, &s)
	m.at, m.received, m.bench = now, received, bench
	m.series = append(m.series, s)
}

// garbage asks the first gateway what its collector does: one of many stands for all, and one is all that is worth it.
func (m *monitor) garbage(ctx context.Context, s *report.Second) {
	gateways := m.c.fleet.All()
	g := gateways[0]
	if g.Admin == nil || len(gateways) > 1 {
		return
	}
	if numbers, err := g.Admin.Metrics(ctx); err == nil {
		s.Heap, s.GCs, s.GCPause = numbers["go_memstats_heap_alloc_bytes"], numbers["go_gc_duration_seconds_count"], numbers["go_gc_duration_seconds_sum"]
	}
}
