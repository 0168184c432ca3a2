package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/protocol"
	"github.com/carillon-ws/carillon/protocol/http1"
)

func TestDrain(t *testing.T) {
	t.Parallel()
	s, feeder, stop := launchServer(t, func(cfg *Config) { cfg.Loops = 4 })
	const n = 600
	peers := make([]*peer, n)
	for i := range peers {
		peers[i] = dial(t, s)
		peers[i].subscribe("a")
	}
	coder, _, err := websocket.Dial(t.Context(), "ws://"+s.Addr()+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	opening := dialRaw(t, s)
	opening.write(handshake[:20])
	feeder.Publish("notifications:a", "last")
	stopped := make(chan struct{})
	go func() { defer close(stopped); stop() }()

	later := make(map[string]int)
	for i, p := range peers {
		p.wantNotification("a", "last") // what was published before is delivered before
		c := p.wantClose(protocol.CloseServiceRestart)
		var ms int64
		if _, err := fmt.Sscanf(c.reason, "retry=%d", &ms); err != nil || ms < 0 || ms >= retryWindow.Milliseconds() {
			t.Fatalf("reason %q", c.reason)
		}
		later[c.reason]++
		if i == 0 { // the others, and this one, still hold the drain
			if !s.Stats().Draining {
				t.Error("Stats do not say that it drains")
			}
			newcomer := dialRaw(t, s)
			newcomer.write(handshake)
			newcomer.wantStatus(http.StatusServiceUnavailable)
			newcomer.wantEOF()
			_ = newcomer.nc.Close()
		}
	}
	if len(later) < n/4 {
		t.Errorf("%d different times to come back for %d clients", len(later), n)
	}
	opening.wantStatus(http.StatusServiceUnavailable)
	for err == nil {
		_, _, err = coder.Read(t.Context())
	}
	var ce websocket.CloseError
	if !errors.As(err, &ce) || ce.Code != websocket.StatusServiceRestart || !strings.HasPrefix(ce.Reason, "retry=") {
		t.Errorf("coder/websocket: Read = %v, want close 1012", err)
	}
	for _, p := range append(peers, opening) {
		_ = p.nc.Close()
	}
	receive(t, "the end of Run", stopped)
	if n := sockets(s); n != 0 {
		t.Errorf("%d sockets left", n)
	}
	if nc, err := net.Dial("tcp", s.Addr()); err == nil {
		_ = nc.Close()
		t.Error("it still listens")
	}
	feeder.Publish("notifications:a", "to nobody") // the source may be slower to stop: nothing happens
	feeder.Lost()
	for _, lp := range s.loops {
		if lp.call(func() {}) {
			t.Error("a loop that has ended takes a call")
		}
	}
}

// Clients that never answer, and one that does not even read, hold the drain no longer than they may.
func TestDrainIsBounded(t *testing.T) {
	t.Parallel()
	s, feeder, stop := launchServer(t, func(cfg *Config) { cfg.SendBuffer = 1 })
	for range 5 {
		dial(t, s)
	}
	stalled := dialSlow(t, s)
	stalled.subscribe("a")
	feeder.Publish("notifications:a", strings.Repeat("x", 8<<20))
	eventually(t, "there is a backlog", func() bool {
		return sum(s, func(n LoopStats) int64 { return n.Backlogged }) == 1
	})
	began := time.Now()
	stop()
	if took := time.Since(began); took > StopPatience+10*time.Second {
		t.Errorf("the drain took %v", took)
	}
	wantClosedBooks(t, s)
}

// An idle server stops at once, and one whose clients are busy does too.
func TestDrainUnderLoad(t *testing.T) {
	t.Parallel()
	s, feeder, stop := launchServer(t, nil)
	var wg sync.WaitGroup
	for range 50 {
		p := dial(t, s)
		p.subscribe("a")
		wg.Go(func() {
			last := 0
			for {
				m, err := p.next()
				var c *closed
				switch {
				case errors.As(err, &c):
					if c.code != protocol.CloseServiceRestart {
						t.Error(c)
					}
					_, _ = p.nc.Write([]byte(closeFrame(ws.StatusNormalClosure, "")))
					_ = p.nc.Close()
					return
				case err != nil:
					t.Error(err)
					return
				}
				if n := number(t, m.Data); n != last+1 {
					t.Errorf("%d after %d", n, last)
					return
				}
				last++
			}
		})
	}
	ended := make(chan struct{})
	publishing := make(chan struct{})
	go func() {
		defer close(publishing)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for i := 1; ; i++ {
			feeder.Publish("notifications:a", fmt.Sprint(i))
			if i%10 != 0 {
				continue
			}
			select {
			case <-ended:
				return
			case <-tick.C:
			}
		}
	}()
	eventually(t, "it is under way", func() bool { return sum(s, func(n LoopStats) uint64 { return n.Deliveries }) > 1000 })
	stop()
	wg.Wait()
	close(ended)
	<-publishing
	wantClosedBooks(t, s)
}

// TestDrainIsEven asks a loop for parts of a drain, without a clock: that part of the clients is told, and no more.
func TestDrainIsEven(t *testing.T) {
	t.Parallel()
	const n = 600
	s, _ := startServer(t, func(cfg *Config) { cfg.Loops = 1 })
	for range n {
		dial(t, s)
	}
	lp := s.loops[0]
	told := func() int { return int(closedAs(s, protocol.ErrRestart.Label)) }
	lp.call(func() { lp.drainAfter(0) })
	for _, part := range []float64{0, 0.25, 0.25, 0.3, 0.9, 1} {
		lp.call(func() { lp.drainTo(part) })
		// The first leaves at once; what is less than a whole client waits.
		least, most := int(part*n), min(int(part*n)+1, n)
		eventually(t, fmt.Sprint(part, " are told"), func() bool { return told() >= least })
		awaitSweeps(t, lp)
		if got := told(); got > most || part == 0 && got != 1 {
			t.Errorf("after %v of the window %d of %d are told, want %d", part, got, n, most)
		}
	}
	eventually(t, "all are closed", func() bool { return told() == n })
}

// Clients that leave by themselves do not leave those that are told less time.
func TestDrainKeepsItsPaceWhenClientsLeave(t *testing.T) {
	t.Parallel()
	const n = 201
	s, _ := startServer(t, func(cfg *Config) { cfg.Loops = 1 })
	peers := make([]*peer, n)
	for i := range peers {
		peers[i] = dial(t, s)
	}
	lp := s.loops[0]
	told := func() int { return int(closedAs(s, protocol.ErrRestart.Label)) }
	onLoop(t, lp, func() { lp.drainAfter(0); lp.drainTo(0) })
	awaitSweeps(t, lp)
	for _, p := range peers[n-100:] {
		_ = p.nc.Close()
	}
	eventually(t, "half of the clients have left", func() bool { return connections(s) == 100 })
	for part, want := range map[float64]int{0.5: 51} {
		onLoop(t, lp, func() { lp.drainTo(part) })
		awaitSweeps(t, lp)
		if got := told(); got != want {
			t.Errorf("after %v of the window %d are told, want %d", part, got, want)
		}
	}
	onLoop(t, lp, func() { lp.drainTo(1) })
	eventually(t, "all have left", func() bool { return connections(s) == 0 && told() == 101 })
}

// Whoever opened its socket before the drain and sends its request afterwards is refused, as a newcomer is.
func TestDrainRefusesLateRequests(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.Loops = 1 })
	stays, late, half := dial(t, s), dialRaw(t, s), dialRaw(t, s)
	half.write(handshake[:20])
	eventually(t, "all are accepted", func() bool { return sockets(s) == 3 })
	s.draining.Store(true) // the loop has not come to the drain yet
	late.write(handshake)
	late.wantStatus(http.StatusServiceUnavailable)
	late.wantEOF()
	onLoop(t, s.loops[0], func() { s.loops[0].drainAfter(0) })
	half.wantStatus(http.StatusServiceUnavailable)
	half.wantEOF()
	onLoop(t, s.loops[0], func() { s.loops[0].drainTo(1) })
	stays.wantClose(protocol.CloseServiceRestart)
	if n := refusedAs(s, http1.RefuseDraining.Reason); n != 2 {
		t.Errorf("%d are refused because the gateway drains, want 2", n)
	}
}

// With a delay everything goes on as before until it is over, and only who asks whether the server is ready is told. A
// loop that ends unasked is started again, too.
func TestDrainDelay(t *testing.T) {
	t.Parallel()
	var log logged
	s, feeder, stop := launchServer(t, func(cfg *Config) { cfg.Loops, cfg.DrainDelay, cfg.Log = 1, time.Minute, slog.New(&log) })
	over := make(chan time.Time)
	s.after = func(d time.Duration) <-chan time.Time {
		if d != time.Minute {
			t.Errorf("the delay is %v", d)
		}
		return over
	}
	lp := s.loops[0]
	first := dial(t, s)
	first.subscribe("a")
	stopped := make(chan struct{})
	go func() { defer close(stopped); stop() }()
	eventually(t, "the server says that it leaves", func() bool { return s.Stats().Leaving })

	onLoop(t, lp, func() { lp.index = &fanout.Index[member]{} }) // from which nobody can be taken
	first.reset()
	eventually(t, "the loop runs again", func() bool { return s.Stats().Restarts == 1 && lp.call(func() {}) })
	second := dial(t, s)
	second.subscribe("a")
	feeder.Publish("notifications:a", "still here")
	second.wantNotification("a", "still here")
	if s.Stats().Draining {
		t.Error("it drains before the delay is over")
	}
	close(over)
	second.wantClose(protocol.CloseServiceRestart)
	if !s.Stats().Draining {
		t.Error("it does not drain after the delay")
	}
	_ = second.nc.Close()
	receive(t, "the end of Run", stopped)
}

// A loop that cannot be started again ends the delay.
func TestDrainDelayEndsWithALoop(t *testing.T) {
	t.Parallel()
	s := &Server{cfg: Config{DrainDelay: time.Minute}, after: func(time.Duration) <-chan time.Time { return nil }}
	failed := make(chan error, 1)
	failed <- errNoStart
	if err := s.delayDrain(failed); !errors.Is(err, errNoStart) {
		t.Errorf("delayDrain = %v, want %v", err, errNoStart)
	}
}

// awaitSweeps waits until no sweep is under way on the loop.
func awaitSweeps(t *testing.T, lp *loop) {
	t.Helper()
	eventually(t, "the end of the sweeps", func() (none bool) {
		onLoop(t, lp, func() { none = len(lp.sweeps) == 0 && len(lp.endings) == 0 })
		return none
	})
}

// wantClosedBooks checks the counters of a server that has ended.
func wantClosedBooks(t *testing.T, s *Server) {
	t.Helper()
	for i, n := range s.Stats().Loops {
		if n.Sockets != 0 || n.Connections != 0 || n.Backlogged != 0 || n.BacklogBytes != 0 {
			t.Errorf("loop %d has ended with %d sockets, %d connections, %d backlogs of %d bytes", i,
				n.Sockets, n.Connections, n.Backlogged, n.BacklogBytes)
		}
	}
	if n := s.sockets.Load(); n != 0 {
		t.Errorf("%d sockets are still counted", n)
	}
	if n := s.cfg.Interest.Channels(); n != 0 {
		t.Errorf("%d channels of interest are left", n)
	}
}
