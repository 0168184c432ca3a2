package server

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/fanout/fanouttest"
	"github.com/carillon-ws/carillon/protocol/http1"
)

// patience is how long anything that must happen may take here: far longer than it does, on a busy machine too.
const patience = 30 * time.Second

// starting keeps servers and bare engines from being started at the same time: a port that one has found is free
// until its loops listen, and with SO_REUSEPORT two could share it without noticing.
var starting sync.Mutex

// feeder is a Feeder whose source has one publication at hand at a time, and which may be used by several goroutines.
type feeder struct {
	*fanout.Feeder
	mu sync.Mutex
}

func (f *feeder) Publish(channel, payload string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Feeder.Publish(channel, payload)
	f.Flush()
}

// startServer runs a server on a free port until the test ends.
func startServer(t testing.TB, change func(*Config)) (*Server, *feeder) {
	t.Helper()
	s, feeder, stop := launchServer(t, change)
	t.Cleanup(stop)
	return s, feeder
}

// launchServer runs a server on a free port until stop is called, which fails the test if Run fails or takes too
// long, or if anything was logged as an error. A test that expects errors sets its own Log.
func launchServer(t testing.TB, change func(*Config)) (s *Server, f *feeder, stop func()) {
	t.Helper()
	interest := fanout.NewInterest()
	var log logged
	cfg := Config{
		Addr: "127.0.0.1:0", Loops: 2, Interest: interest, Upgrade: http1.Config{Loopback: true},
		Log: slog.New(&log),
	}
	if change != nil {
		change(&cfg)
	}
	starting.Lock()
	defer starting.Unlock()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	select {
	case <-s.Ready():
	case err := <-done:
		cancel()
		t.Fatalf("Run = %v before it was ready", err)
	case <-time.After(patience):
		cancel()
		t.Fatal("the server does not get ready")
	}
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run = %v", err)
			}
		case <-time.After(patience):
			t.Fatal("Run did not return")
		}
		for _, line := range log.errors() {
			t.Errorf("logged: %s", line)
		}
	})
	return s, &feeder{Feeder: fanout.NewFeeder(interest, s.Loops())}, stop
}

// logged keeps what is logged as a warning or an error.
type logged struct {
	mu    sync.Mutex
	lines []string // Guarded by mu.
}

func (l *logged) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }
func (l *logged) WithAttrs([]slog.Attr) slog.Handler               { return l }
func (l *logged) WithGroup(string) slog.Handler                    { return l }

func (l *logged) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Level.String() + " " + r.Message)
	r.Attrs(func(a slog.Attr) bool {
		b.WriteString(" " + a.String())
		return true
	})
	l.mu.Lock()
	l.lines = append(l.lines, b.String())
	l.mu.Unlock()
	return nil
}

// errors returns the lines of level error.
func (l *logged) errors() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.lines), func(line string) bool { return !strings.HasPrefix(line, "ERROR") })
}

// has reports whether a line has text in it.
func (l *logged) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.lines, func(line string) bool { return strings.Contains(line, text) })
}

// eventually waits until a condition holds that no event tells of.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	fanouttest.Eventually(t, patience, what, holds)
}

// receive waits for a Go channel.
func receive[T any](t testing.TB, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("does not come: %s", what)
		panic("not reached")
	}
}

// onLoop runs f on the loop and waits for its end.
func onLoop(t testing.TB, lp *loop, f func()) {
	t.Helper()
	done := make(chan struct{})
	if !lp.call(func() { defer close(done); f() }) {
		t.Fatal("the loop is not running")
	}
	receive(t, "a call on the loop", done)
}

// blockLoop keeps the loop busy until release is called, so that what is posted meanwhile is taken as one turn.
func blockLoop(t testing.TB, lp *loop) (release func()) {
	t.Helper()
	blocked, free := make(chan struct{}), make(chan struct{})
	if !lp.call(func() { close(blocked); <-free }) {
		t.Fatal("the loop is not running")
	}
	release = sync.OnceFunc(func() { close(free) })
	t.Cleanup(release)
	receive(t, "the loop", blocked)
	return release
}

// sum adds up a counter over all loops.
func sum[N int64 | uint64](s *Server, of func(LoopStats) N) N {
	var n N
	for _, lp := range s.Stats().Loops {
		n += of(lp)
	}
	return n
}

func sockets(s *Server) int64     { return sum(s, func(n LoopStats) int64 { return n.Sockets }) }
func connections(s *Server) int64 { return sum(s, func(n LoopStats) int64 { return n.Connections }) }

// labelCount adds up one label of a counter over all loops.
func labelCount(s *Server, of func(LoopStats) map[string]uint64, label string) uint64 {
	return sum(s, func(n LoopStats) uint64 { return of(n)[label] })
}

func closedAs(s *Server, label string) uint64 {
	return labelCount(s, func(n LoopStats) map[string]uint64 { return n.Closed }, label)
}

func refusedAs(s *Server, label string) uint64 {
	return labelCount(s, func(n LoopStats) map[string]uint64 { return n.Refused }, label)
}

// wantNoBacklog waits until nothing waits for any socket, and checks that the books agree.
func wantNoBacklog(t testing.TB, s *Server) {
	t.Helper()
	eventually(t, "the backlogs are gone", func() bool {
		return sum(s, func(n LoopStats) int64 { return n.Backlogged }) == 0
	})
	for _, lp := range s.loops {
		onLoop(t, lp, func() {
			if n := lp.n.backlogBytes.Load(); n != 0 {
				t.Errorf("loop %d: BacklogBytes = %d without a backlog", lp.id, n)
			}
			for _, word := range lp.backlogs {
				if word != 0 {
					t.Errorf("loop %d: busy = %x without a backlog", lp.id, lp.backlogs)
				}
			}
		})
	}
}
