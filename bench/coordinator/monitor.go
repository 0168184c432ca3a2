package coordinator

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carillon-ws/carillon/bench/host"
	"github.com/carillon-ws/carillon/bench/report"
	"github.com/carillon-ws/carillon/bench/settings"
)

// monitor takes a sample of everything once a second, for the charts over time, and says how the run
// goes: one line that is written over on a terminal, a line a second elsewhere.
type monitor struct {
	// Fixed at creation.
	c        *coordinator
	out      io.Writer
	terminal bool
	cancel   context.CancelFunc
	wg       sync.WaitGroup

	// Atomic.
	phase atomic.Pointer[string]

	// Owned by run until it has ended.
	series        []report.Second
	at            time.Time
	received      int
	connected     int
	server, bench host.Usage
	width         int
}

// startMonitor begins to watch a run.
func startMonitor(ctx context.Context, c *coordinator, out io.Writer) *monitor {
	if c.cfg.Progress == settings.ProgressNone {
		out = io.Discard
	}
	m := &monitor{c: c, out: out, terminal: c.cfg.Progress == settings.ProgressAuto && isTerminal(out), at: time.Now()}
	m.enter("start")
	m.server, m.bench = c.fleet.Usage(), c.workers.usage()
	ctx, m.cancel = context.WithCancel(ctx)
	m.wg.Go(func() { m.run(ctx) })
	return m
}

// enter names the phase that begins. Safe to call from any goroutine.
func (m *monitor) enter(phase string) { m.phase.Store(&phase) }

// stop ends it and returns the series. Nothing is written afterwards.
func (m *monitor) stop() []report.Second {
	m.cancel()
	m.wg.Wait()
	if m.width > 0 {
		fmt.Fprintf(m.out, "\r%s\r", strings.Repeat(" ", m.width))
	}
	return m.series
}

func (m *monitor) run(ctx context.Context) {
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
	now, workers := time.Now(), m.c.workers
	seconds, received := now.Sub(m.at).Seconds(), workers.received()
	s := report.Second{
		At: now.Sub(m.c.begun).Seconds(), Connected: workers.ready(), Closed: workers.closed(),
		Deliveries: float64(received-m.received) / seconds,
	}
	m.show(&s, float64(s.Connected-m.connected)/seconds)
	if h := workers.sample(); h.TotalCount() > 0 {
		s.P50, s.P99, s.Max = h.ValueAtQuantile(50), h.ValueAtQuantile(99), h.Max()
	}
	if u := m.c.fleet.Usage(); u.CPU > 0 {
		s.RSS = u.RSS
		s.Cores = max(0, (u.CPU-m.server.CPU).Seconds()/seconds) // a gateway that was killed took its time with it
		m.server = u
	}
	bench := workers.usage()
	s.Bench = max(0, (bench.CPU-m.bench.CPU).Seconds()/seconds)
	if mem, err := host.ReadMemory(); err == nil {
		s.Available = mem.Available
	}
	// The collector of a single gateway: among many, one would not stand for all.
	if gateways := m.c.fleet.All(); len(gateways) == 1 && gateways[0].Admin != nil {
		if numbers, err := gateways[0].Admin.Metrics(ctx); err == nil {
			s.Heap, s.GCs, s.GCPause = numbers["go_memstats_heap_alloc_bytes"], numbers["go_gc_duration_seconds_count"], numbers["go_gc_duration_seconds_sum"]
		}
	}
	m.at, m.received, m.connected, m.bench = now, received, s.Connected, bench
	m.series = append(m.series, s)
}

// show writes the line of a sample.
func (m *monitor) show(s *report.Second, upPerSecond float64) {
	workers := m.c.workers
	line := fmt.Sprintf("%5.1f s  %-7s connected %s/%s", s.At, *m.phase.Load(), report.Thousands(s.Connected), report.Thousands(workers.connections()))
	if upPerSecond > 0 {
		line += fmt.Sprintf(" (+%s/s)", report.Thousands(int(upPerSecond)))
	}
	line += fmt.Sprintf("  %s deliveries/s  %d on their way", report.Thousands(int(s.Deliveries)), workers.tracker.outstanding())
	if s.Closed > 0 {
		line += fmt.Sprintf("  %s CLOSED", report.Thousands(s.Closed))
	}
	if !m.terminal {
		fmt.Fprintln(m.out, line)
		return
	}
	fmt.Fprintf(m.out, "\r%-*s", m.width, line)
	m.width = len(line)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
