package server

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-ws/carillon/protocol"
)

// waiting returns how many connections wait for bytes and how many notifications were sent or kept.
func waiting(s *Server) (backlogged int64, deliveries uint64) {
	return sum(s, func(n LoopStats) int64 { return n.Backlogged }), sum(s, func(n LoopStats) uint64 { return n.Deliveries })
}

// One large publication to many who read a moment later is held once, not once for each of them.
func TestSharedFrameIsChargedOnce(t *testing.T) {
	t.Parallel()
	for _, policy := range []SlowPolicy{SlowClose, SlowDrop} {
		s, feeder := startServer(t, func(cfg *Config) {
			cfg.Loops, cfg.MaxBacklogTotal, cfg.SlowConsumer = 1, 4<<20, policy
		})
		const readers = 40
		peers := make([]*peer, readers)
		for i := range peers {
			peers[i] = dialSlow(t, s)
			peers[i].subscribe("a")
		}
		data := strings.Repeat("x", 1<<20)
		feeder.Publish("notifications:a", data)
		eventually(t, "it waits for everyone", func() bool {
			_, deliveries := waiting(s)
			return deliveries == readers
		})
		wantBacklogSums(t, s.loops[0])
		if held := sum(s, func(n LoopStats) int64 { return n.BacklogBytes }); held > 1<<20+readers*1000 {
			t.Errorf("policy %s: %d bytes are charged for one frame of 1 MiB", policy, held)
		}
		var reading sync.WaitGroup
		for _, p := range peers {
			reading.Go(func() {
				if m, err := p.next(); err != nil || m.Type != "notification" || m.Data != data {
					t.Errorf("policy %s: %.40s, %v; want the notification", policy, m.Type, err)
				}
			})
		}
		reading.Wait()
		if n := closedAs(s, "slow_consumer"); n != 0 {
			t.Errorf("policy %s: %d of %d closed", policy, n, readers)
		}
		wantNoBacklog(t, s)
	}
}

// dialOn connects to a loop of the server.
func dialOn(t *testing.T, s *Server, lp *loop, dial func(testing.TB, *Server) *peer) *peer {
	t.Helper()
	for {
		before := lp.n.connections.Load()
		p := dial(t, s)
		if lp.n.connections.Load() > before {
			return p
		}
	}
}

// Those who hold old frames are no lever: when all backlogs together are too much they give way, and not whoever grows,
// on the same loop and on another.
func TestOldestBacklogsGiveWay(t *testing.T) {
	t.Parallel()
	for _, policy := range []SlowPolicy{SlowClose, SlowDrop} {
		for _, apart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, loops apart %t", policy, apart), func(t *testing.T) {
				t.Parallel()
				s, feeder := startServer(t, func(cfg *Config) {
					cfg.Loops, cfg.SendBuffer, cfg.SlowConsumer = 2, 1, policy
					cfg.MaxBacklog, cfg.MaxBacklogTotal = 4<<20, 2<<20
				})
				theirs, ours := s.loops[0], s.loops[0]
				if apart {
					ours = s.loops[1]
				}
				const stalled, each, size = 8, 20, 10 << 10
				for i := range stalled { // 200 KiB of its own for each of them
					p := dialOn(t, s, theirs, dialSlow)
					channel := fmt.Sprint("stalled:", i)
					p.subscribe(channel)
					for n := range each {
						feeder.Publish("notifications:"+channel, pad(fmt.Sprint(n), size))
					}
				}
				eventually(t, "they wait", func() bool {
					backlogged, deliveries := waiting(s)
					return backlogged == stalled && deliveries == stalled*each
				})
				before := time.Now()
				eventually(t, "what they hold is old", func() bool { return time.Since(before) > 2*sameAge })

				const healthy, burst = 4, 30
				peers := make([]*peer, healthy)
				for i := range peers {
					peers[i] = dialOn(t, s, ours, dialSlow)
					peers[i].subscribe(fmt.Sprint("healthy:", i))
				}
				for n := 1; n <= burst; n++ {
					for i := range peers {
						feeder.Publish(fmt.Sprint("notifications:healthy:", i), pad(fmt.Sprint(n), size))
					}
				}
				eventually(t, "the total is kept", func() bool {
					_, deliveries := waiting(s)
					return deliveries == stalled*each+healthy*burst &&
						sum(s, func(n LoopStats) int64 { return n.BacklogBytes }) <= 2<<20
				})
				gaveWay := closedAs(s, "slow_consumer")
				if policy == SlowDrop {
					gaveWay = labelCount(s, func(n LoopStats) map[string]uint64 { return n.Dropped }, "slow")
				}
				if gaveWay == 0 {
					t.Error("nobody gave way: nothing is tried here")
				}
				for i, p := range peers {
					for n := 1; n <= burst; n++ {
						p.wantNotification(fmt.Sprint("healthy:", i), pad(fmt.Sprint(n), size))
					}
				}
				for _, lp := range s.loops {
					wantBacklogSums(t, lp)
				}
			})
		}
	}
}

// A connection that is told goodbye, and does not take what comes before it, gives way like any other.
func TestClosingConnectionsGiveWay(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, func(cfg *Config) {
		cfg.Loops, cfg.SendBuffer, cfg.MaxBacklog, cfg.MaxBacklogTotal = 1, 1, 4<<20, 1<<20
	})
	lp := s.loops[0]
	const stalled = 3
	for i := range stalled {
		p := dialSlow(t, s)
		channel := fmt.Sprint("stalled:", i)
		p.subscribe(channel)
		feeder.Publish("notifications:"+channel, strings.Repeat("x", 300<<10))
	}
	eventually(t, "they wait", func() bool { backlogged, _ := waiting(s); return backlogged == stalled })
	healthy := dialSlow(t, s)
	healthy.subscribe("healthy")
	onLoop(t, lp, func() {
		for slot := uint32(1); slot <= stalled; slot++ {
			lp.end(lp.conns.at(slot), protocol.ErrKicked)
		}
	})
	const burst, size = 30, 20 << 10
	for n := 1; n <= burst; n++ {
		feeder.Publish("notifications:healthy", pad(fmt.Sprint(n), size))
	}
	for n := 1; n <= burst; n++ {
		healthy.wantNotification("healthy", pad(fmt.Sprint(n), size))
	}
	wantBacklogSums(t, lp)
}

// The rest of a frame that is too large to be copied is held until it is sent. It does not keep others from being heard.
func TestEndedSlowConsumersGiveWay(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, func(cfg *Config) {
		cfg.Loops, cfg.SendBuffer, cfg.MaxBacklog, cfg.MaxBacklogTotal = 1, 1, 4<<20, 1<<20
	})
	for i := range 8 { // 2.3 MiB together
		p := dialSlow(t, s)
		channel := fmt.Sprint("stalled:", i)
		p.subscribe(channel)
		feeder.Publish("notifications:"+channel, strings.Repeat("x", 300<<10))
	}
	lp := s.loops[0]
	eventually(t, "they give way", func() bool {
		backlogged, deliveries := waiting(s)
		return deliveries == 8 && backlogged == 3 && s.backlogBytes() <= 1<<20
	})
	wantBacklogSums(t, lp)
	if n := closedAs(s, "slow_consumer"); n != 5 {
		t.Errorf("%d closed, want 5", n)
	}
}

// By the policy drop, whoever holds nothing that can be dropped gives way after all others.
func TestOldestByPolicy(t *testing.T) {
	t.Parallel()
	var b backlog
	push := func(channel string, size, off int, born int64) {
		f, _ := protocol.NewNotification(channel, strings.Repeat("x", size), 1)
		if channel == "" {
			f = protocol.FrameOf(f.Bytes(), "")
		}
		h := &held{Frame: f}
		b.push(h, off)
		h.born = born
	}
	want := func(what string, policy SlowPolicy, age int64) {
		t.Helper()
		if got, _ := b.oldest(policy); got != age {
			t.Errorf("%s: age by policy %s is %d, want %d", what, policy, got, age)
		}
	}
	want("empty", SlowClose, ageNone)
	want("empty", SlowDrop, ageNone)
	push("a", 100, 1, 10)
	want("half sent", SlowClose, 10)
	want("half sent", SlowDrop, ageLast+10)
	push("", 100, 0, 20)
	want("an answer behind it", SlowDrop, ageLast+10)
	push("a", 100, 0, 30)
	want("a notification behind that", SlowClose, 10)
	want("a notification behind that", SlowDrop, 30)
	push("", firmAllowance, 0, 40)
	want("too many answers", SlowDrop, 10)
}

// A loop that does not run is not waited for.
func TestReliefAsksOnlyLoopsThatRun(t *testing.T) {
	t.Parallel()
	s := &Server{}
	s.loops = []*loop{newLoop(0, s), newLoop(1, s)}
	s.loops[1].n.oldest.Store(5)
	if got := s.holdsOlder(s.loops[0], 100); got != s.loops[1] {
		t.Errorf("holdsOlder = %v, want loop 1", got)
	}
	if got := s.holdsOlder(s.loops[0], 5); got != nil {
		t.Errorf("holdsOlder = %v, want none", got)
	}
	if s.loops[1].askRelief() || s.loops[1].asked.Load() {
		t.Error("a loop that does not run takes the question")
	}
}
