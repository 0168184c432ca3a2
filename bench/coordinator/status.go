package coordinator

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carillon-ws/carillon/bench/report"
	"github.com/carillon-ws/carillon/bench/settings"
)

// status tells whoever watches how a run goes: one line that is written over on a terminal, a line a second elsewhere.
type status struct {
	// Fixed at creation.
	workers  *Workers
	out      io.Writer
	terminal bool
	begun    time.Time
	done     chan struct{}
	wg       sync.WaitGroup

	// Atomic.
	name atomic.Pointer[string]

	// Owned by run.
	received  int
	connected int
	at        time.Time
	width     int
}

func startStatus(c *Workers, out io.Writer, progress string) *status {
	if progress == settings.ProgressNone {
		out = io.Discard
	}
	s := &status{workers: c, out: out, terminal: progress == settings.ProgressAuto && isTerminal(out), begun: time.Now(), at: time.Now(), done: make(chan struct{})}
	s.phase("start")
	s.wg.Go(s.run)
	return s
}

// phase names what is going on. Safe to call from any goroutine.
func (s *status) phase(name string) { s.name.Store(&name) }

// stop ends the line; nothing is written afterwards.
func (s *status) stop() {
	close(s.done)
	s.wg.Wait()
}

func (s *status) run() {
	every := time.Second
	if s.terminal {
		every = 250 * time.Millisecond
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			s.show(now)
		case <-s.done:
			if s.terminal && s.width > 0 {
				fmt.Fprintf(s.out, "\r%s\r", strings.Repeat(" ", s.width))
			}
			return
		}
	}
}

func (s *status) show(now time.Time) {
	received, connected := s.workers.received(), s.workers.ready()
	seconds := now.Sub(s.at).Seconds()
	line := fmt.Sprintf("%5.1f s  %-7s connected %s/%s", now.Sub(s.begun).Seconds(), *s.name.Load(), report.Thousands(connected), report.Thousands(s.workers.connections()))
	if up := connected - s.connected; up > 0 {
		line += fmt.Sprintf(" (+%s/s)", report.Thousands(int(float64(up)/seconds)))
	}
	line += fmt.Sprintf("  %s deliveries/s  %d on their way", report.Thousands(int(float64(received-s.received)/seconds)), s.workers.tracker.outstanding())
	if closed := s.workers.closed(); closed > 0 {
		line += fmt.Sprintf("  %s CLOSED", report.Thousands(closed))
	}
	s.received, s.connected, s.at = received, connected, now
	if !s.terminal {
		fmt.Fprintln(s.out, line)
		return
	}
	fmt.Fprintf(s.out, "\r%-*s", s.width, line)
	s.width = len(line)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
