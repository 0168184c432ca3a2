package server

import (
	"context"
	"log/slog"
	"math"
	"sync/atomic"
	"testing"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/protocol"
)

// startQuiet is startServer with one loop, for tests that expect errors to be logged.
func startQuiet(t *testing.T, change func(*Config)) (s *Server, feeder *feeder, lp *loop) {
	t.Helper()
	log := new(logged)
	s, feeder = startServer(t, func(cfg *Config) {
		cfg.Loops, cfg.Log = 1, slog.New(log)
		if change != nil {
			change(cfg)
		}
	})
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("logged: %q", log.errors())
		}
	})
	return s, feeder, s.loops[0]
}

// corrupt has every attempt to give the connection's record back fail.
func corrupt(c *conn) {
	c.due, c.prev = math.MaxUint32, 1<<30 // no such record
}

// awaitRestart waits until the loop has been started again so many times, and runs.
func awaitRestart(t *testing.T, s *Server, lp *loop, restarts uint64) {
	t.Helper()
	eventually(t, "the loop runs again", func() bool { return s.Stats().Restarts >= restarts && lp.call(func() {}) })
}

// The watcher may tell of a socket that belonged to an engine that is over: the new one may have no such record.
func TestWritableOfAnEngineThatIsOver(t *testing.T) {
	t.Parallel()
	s, _, lp := startQuiet(t, nil)
	for _, slot := range []uint32{1, 100, 100_000} {
		lp.postWritable(slot)
	}
	dial(t, s).wantPong()
	if n := s.Stats().Loops[0].Panics; n != 0 {
		t.Errorf("%d panics", n)
	}
}

// Whoever asks a loop that ends before it answers is told so, and not kept waiting.
func TestQuestionsToALoopThatEnds(t *testing.T) {
	t.Parallel()
	s, _, lp := startQuiet(t, nil)
	dial(t, s)
	blocked, release := make(chan struct{}), make(chan struct{})
	lp.call(func() {
		corrupt(lp.conns.at(1))
		lp.end(lp.conns.at(1), protocol.ErrKicked) // which ends the engine, before it comes to the questions
		close(blocked)
		<-release
	})
	receive(t, "the loop", blocked)
	answered := make(chan error, 2)
	go func() { _, err := s.Connections(context.Background(), ConnectionQuery{Limit: 1}); answered <- err }()
	go func() { _, err := s.Kick(context.Background(), Kick{User: "ann"}); answered <- err }()
	eventually(t, "both questions wait", func() bool {
		lp.mailbox.mu.Lock()
		defer lp.mailbox.mu.Unlock()
		return len(lp.mailbox.calls) >= 2
	})
	close(release)
	for range 2 {
		if err := receive(t, "an answer", answered); err != nil {
			t.Error(err)
		}
	}
	awaitRestart(t, s, lp, 1)
}

// The self-wake that an engine is given just before it ends is closed with it.
func TestSelfWakeOfAnEngineThatEnds(t *testing.T) {
	t.Parallel()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0]) //nolint:errcheck // of a test
	lp := newLoop(0, &Server{cfg: Config{Interest: fanout.NewInterest()}})
	lp.mailbox.el, lp.mailbox.awake = &hesitantLoop{}, true
	if !lp.giveSelfWake(int32(pair[1])) {
		t.Fatal("the loop does not run")
	}
	lp.retire()
	if n, err := unix.Read(pair[0], make([]byte, 1)); n != 0 || err != nil {
		t.Errorf("the self-wake is still open: read %d, %v", n, err)
	}
}

// A connection whose record cannot be given back ends the loop, whoever closes its socket.
func TestConnectionThatCannotBeForgottenEndsTheLoop(t *testing.T) {
	t.Parallel()
	s, _, lp := startQuiet(t, nil)
	p := dial(t, s)
	p.subscribe("a")
	onLoop(t, lp, func() {
		c := lp.conns.at(1)
		corrupt(c)
		lp.cut(c, "write_error")
	})
	awaitRestart(t, s, lp, 1)
	dial(t, s).wantPong()
	if n := s.sockets.Load(); n != 1 {
		t.Errorf("%d sockets are counted, want 1", n)
	}
}

// What an engine could not give back is given back when it is over, whether or not another follows.
func TestEngineThatIsOverHoldsNothing(t *testing.T) {
	t.Parallel()
	var log logged
	s, feeder, stop := launchServer(t, func(cfg *Config) {
		slowConfig(SlowClose)(cfg)
		cfg.Loops, cfg.MaxBacklog, cfg.Log, cfg.MaxPerAddress = 1, 1<<20, slog.New(&log), 10
	})
	lp := s.loops[0]
	slow, half, idle := dialSlow(t, s), dial(t, s), dial(t, s)
	slow.subscribe("a")
	idle.subscribe("b")
	half.write("\x81")
	feeder.Publish("notifications:a", pad("1", 500_000))
	eventually(t, "it has a backlog", func() bool { return sum(s, func(n LoopStats) int64 { return n.Backlogged }) == 1 })
	holds(t, s, 1)
	onLoop(t, lp, func() {
		for slot := uint32(1); slot <= 3; slot++ {
			corrupt(lp.conns.at(slot))
		}
	})
	stop()
	if log.has("did not leave in time") {
		t.Error("the drain waits for connections that are gone")
	}
	wantClosedBooks(t, s)
	if n := s.Stats().InboundBytes; n != 0 {
		t.Errorf("%d bytes of unfinished messages are held", n)
	}
	if n := len(s.addresses.count); n != 0 {
		t.Errorf("%d addresses are counted", n)
	}
}

// An engine that ends takes all connections with it, in whatever order gnet closes them.
func TestEngineThatEndsClosesInAnyOrder(t *testing.T) {
	t.Parallel()
	s, _, lp := startQuiet(t, nil)
	for range 30 {
		dial(t, s).subscribe("a")
	}
	breakListener(t, lp)
	awaitRestart(t, s, lp, 1)
	if n := s.Stats().Loops[0]; n.Panics != 0 || n.Sockets != 0 || n.Connections != 0 || n.Closed[ClosedByLoop] == 0 || n.Closed["peer_gone"] != 0 {
		t.Errorf("%d panics, %d sockets, %d connections, closed %v", n.Panics, n.Sockets, n.Connections, n.Closed)
	}
}

// failingLog panics once, when a connection's event is logged after it was armed.
type failingLog struct {
	logged
	armed atomic.Bool
}

func (l *failingLog) Enabled(context.Context, slog.Level) bool { return true }
func (l *failingLog) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *failingLog) WithGroup(string) slog.Handler            { return l }

func (l *failingLog) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "connection" && l.armed.Swap(false) {
		panic("the log fails")
	}
	return l.logged.Handle(ctx, r)
}

// A panic while another connection is ended costs that one, and not the connection that gnet was calling for.
func TestPanicInACallbackCostsWhomItIsAbout(t *testing.T) {
	t.Parallel()
	var log failingLog
	s, _, lp := startQuiet(t, func(cfg *Config) {
		cfg.MaxMessage, cfg.MaxInboundTotal, cfg.Log = 64, 2*unfinishedCost-1, slog.New(&log)
	})
	bad, good := dial(t, s), dial(t, s)
	half := clientFrame(true, ws.OpText, `{"type":"ping"}`)
	bad.write(half[:3])
	holds(t, s, unfinishedCost)
	onLoop(t, lp, func() { lp.events = eventLog{}; log.armed.Store(true) })
	good.write(half[:3]) // now both hold too much, and the older one is ended
	bad.wantEOF()
	good.write(half[3:])
	good.want("pong")
	onLoop(t, lp, func() {
		if lp.atHand != nil {
			t.Error("a connection is at hand that nothing is done with")
		}
	})
	if n := s.Stats().Loops[0]; n.Panics != 1 || n.Connections != 1 {
		t.Errorf("%d panics, %d connections, want 1 and 1", n.Panics, n.Connections)
	}
}

// A loop that cannot write to its self-wake is called all the same.
func TestSelfWakeThatFails(t *testing.T) {
	t.Parallel()
	s, feeder, lp := startQuiet(t, nil)
	p := dial(t, s)
	p.subscribe("a")
	onLoop(t, lp, func() {
		fd := lp.wake.fd
		lp.wake.fd = 1 << 30 // no such descriptor
		lp.again()
		lp.call(func() { lp.wake.fd = fd })
	})
	feeder.Publish("notifications:a", "x")
	p.wantNotification("a", "x")
}

// An answer that comes late is for whoever still listens.
func TestLateAnswer(t *testing.T) {
	t.Parallel()
	s, _, lp := startQuiet(t, nil)
	p, raw := dial(t, s), dialRaw(t, s)
	eventually(t, "both are accepted", func() bool { return sockets(s) == 2 })
	onLoop(t, lp, func() {
		pong := &protocol.Message{Type: protocol.MessagePong}
		lp.answer(lp.conns.at(1), pong)
		lp.answer(lp.conns.at(2), pong)
		lp.goodbye(lp.conns.at(1), protocol.ErrKicked)
		lp.answer(lp.conns.at(1), pong)
	})
	p.want("pong")
	p.wantClose(protocol.CloseKicked)
	raw.upgrade() // and nothing comes before that
}
