package server

import (
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/protocol"
)

func TestFanoutReachesExactlyItsSubscribersInOrder(t *testing.T) {
	t.Parallel()
	for _, loops := range []int{1, 2, 4, 8} {
		t.Run(fmt.Sprintf("loops=%d", loops), func(t *testing.T) {
			t.Parallel()
			s, feeder := startServer(t, func(cfg *Config) { cfg.Loops = loops })
			const n = 40
			rng := rand.New(rand.NewPCG(uint64(loops), 2))
			channels := make([]string, 12)
			for i := range channels {
				channels[i] = fmt.Sprint("c:", i)
			}
			var wg sync.WaitGroup
			for range n {
				p := dial(t, s)
				var mine []string
				for _, channel := range channels {
					if rng.IntN(3) == 0 {
						mine = append(mine, channel)
					}
				}
				mine = append(mine, "all")
				p.subscribe(mine...)
				p.readInOrder(&wg, mine...)
			}
			count := make(map[string]int)
			for range 1500 {
				channel := channels[rng.IntN(len(channels))]
				if rng.IntN(20) == 0 {
					channel = "all"
				}
				count[channel]++
				feeder.Publish("notifications:"+channel, pad(fmt.Sprint(count[channel]), 10+rng.IntN(200)))
			}
			for _, channel := range append(channels, "all") {
				feeder.Publish("notifications:"+channel, "end")
			}
			wg.Wait()
		})
	}
}

// What a subscriber hears is what was published while it was subscribed: from the answer to its subscribe on, up to
// its unsubscribe, without a hole, with many others coming and going in the middle of long walks.
func TestSubscribersComeAndGoWhileAWalkIsPaused(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, func(cfg *Config) { cfg.Loops = 1 })
	lp := s.loops[0]
	const crowd, churners, rounds = 200, 8, 15
	stop := make(chan struct{})
	var wg, publishing, churn sync.WaitGroup
	// All of the crowd must get the same bytes, from the first to the last.
	sizes := make([]int64, crowd)
	var members []*peer
	for i := range crowd {
		p := dial(t, s)
		p.subscribe("a")
		members = append(members, p)
		wg.Go(func() { sizes[i], _ = io.Copy(io.Discard, p.br) })
	}
	witness := dial(t, s)
	witness.subscribe("a")
	witness.readInOrder(&wg, "a")
	published := 0
	publishing.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			default:
			}
			for range 5 {
				published++
				feeder.Publish("notifications:a", pad(fmt.Sprint(published), 40))
			}
			<-tick.C
			onLoop(t, lp, func() {}) // no faster than the loop goes round
		}
	})
	for i := range churners {
		rng := rand.New(rand.NewPCG(uint64(i), 3))
		churn.Go(func() {
			p := dial(t, s)
			for range rounds {
				if !p.hearSome(1 + rng.IntN(30)) {
					return
				}
				switch rng.IntN(4) {
				case 0:
					p.send(`{"type":"subscribe","channel":"a"}`)
					p.reset()
					p = dial(t, s)
				case 1:
					p.send(`{"type":"subscribe","channel":"a"}`)
					p.write(closeFrame(ws.StatusNormalClosure, ""))
					p.wantClose(ws.StatusNormalClosure)
					_ = p.nc.Close()
					p = dial(t, s)
				}
			}
			p.reset()
		})
	}
	churn.Wait()
	close(stop)
	publishing.Wait()
	feeder.Publish("notifications:a", "end")
	eventually(t, "the last is sent", func() bool {
		over := false
		onLoop(t, lp, func() { over = !lp.sending })
		return over
	})
	eventually(t, "the churners are gone", func() bool { return sockets(s) == crowd+1 })
	for _, p := range members {
		if err := p.nc.CloseWrite(); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	for i, n := range sizes {
		if n != sizes[0] {
			t.Fatalf("%d bytes for one of the crowd, %d for another", n, sizes[i])
		}
	}
	eventually(t, "the crowd is gone", func() bool { return sockets(s) == 1 })
	onLoop(t, lp, func() {
		if n := lp.index.Subscribers("a"); n != 1 {
			t.Errorf("%d subscribers, want 1", n)
		}
	})
	n := s.Stats().Loops[0]
	if n.Slices <= n.Turns {
		t.Errorf("%d slices of %d turns: no walk was paused", n.Slices, n.Turns)
	}
	if n.Panics != 0 {
		t.Errorf("%d panics", n.Panics)
	}
}

// hearSome subscribes, hears at least n notifications without a hole, and unsubscribes. It reports whether all went
// well.
func (p *peer) hearSome(n int) bool {
	p.send(`{"type":"subscribe","channel":"a"}`)
	for last := 0; ; {
		m, err := p.next()
		if err != nil {
			p.t.Error(err)
			return false
		}
		switch m.Type {
		case "subscribed":
		case "notification":
			k := number(p.t, m.Data)
			if last != 0 && k != last+1 {
				p.t.Errorf("%d after %d", k, last)
				return false
			}
			last = k
			if n--; n == 0 {
				p.send(`{"type":"unsubscribe","channel":"a"}`)
			}
		case "unsubscribed":
			return true
		default:
			p.t.Errorf("message %+v", m)
			return false
		}
	}
}

func TestLostReachesEverySubscribedConnectionOnce(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, func(cfg *Config) { cfg.Loops = 4 })
	var subscribed, others []*peer
	for i := range 200 {
		p := dial(t, s)
		p.subscribe(fmt.Sprint("a", i%7), "b")
		subscribed = append(subscribed, p)
	}
	for range 20 {
		others = append(others, dial(t, s))
	}
	feeder.Publish("notifications:b", "before")
	feeder.Lost()
	feeder.Publish("notifications:b", "after")
	for _, p := range subscribed {
		p.wantNotification("b", "before")
		if m := p.want("gap"); m.Reason != "redis" || m.Channel != "" {
			t.Fatalf("gap %+v", m)
		}
		p.wantNotification("b", "after")
		p.wantPong()
	}
	for _, p := range others {
		p.wantPong()
	}
}

// A mailbox that is full tells how many publications it lost, behind what it kept.
func TestMailboxOverflow(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, func(cfg *Config) { cfg.Loops, cfg.MaxMailbox = 1, 10_000 })
	a, b := dial(t, s), dial(t, s)
	a.subscribe("a")
	b.subscribe("b")
	release := blockLoop(t, s.loops[0])
	const n = 100
	for i := 1; i <= n; i++ {
		feeder.Publish("notifications:a", pad(fmt.Sprint(i), 1000))
	}
	feeder.Publish("notifications:b", strings.Repeat("x", 10_000))
	release()
	came := 0
	for {
		m := a.message()
		if m.Type == "gap" {
			if m.Reason != "overload" || m.Channel != "a" || came+m.Dropped != n || came == 0 {
				t.Fatalf("gap %+v after %d, want %d in all", m, came, n)
			}
			break
		}
		came++
		if got := number(t, m.Data); got != came {
			t.Fatalf("%d after %d", got, came-1)
		}
	}
	if m := b.want("gap"); m.Reason != "overload" || m.Channel != "b" || m.Dropped != 1 {
		t.Fatalf("gap %+v", m)
	}
	feeder.Publish("notifications:a", "again")
	a.wantNotification("a", "again")
	if got := labelCount(s, func(n LoopStats) map[string]uint64 { return n.Dropped }, "overload"); got != uint64(n-came+1) {
		t.Errorf("Dropped[overload] = %d, want %d", got, n-came+1)
	}
}

// While a turn is under way the next one grows; it is bounded all the same, and what it loses is told.
func TestMailboxOverflowOfVeryManyChannels(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, func(cfg *Config) { cfg.Loops, cfg.MaxMailbox, cfg.MaxChannels = 1, 1000, 3000 })
	p := dial(t, s)
	var channels []string
	for i := range 3000 {
		channels = append(channels, fmt.Sprint("c", i))
	}
	p.subscribe(channels...)
	release := blockLoop(t, s.loops[0])
	for _, channel := range channels {
		feeder.Publish("notifications:"+channel, strings.Repeat("x", 500))
	}
	release()
	p.want("notification")
	for m := p.message(); ; m = p.message() {
		if m.Type == "gap" {
			if m.Reason != "overload" || m.Channel != "" {
				t.Errorf("gap %+v, want one for all channels", m)
			}
			break
		}
	}
	p.wantPong()
}

func TestOneSubscriberWakesOneLoop(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, func(cfg *Config) { cfg.Loops = 4 })
	p := dial(t, s)
	p.subscribe("a")
	before := s.Stats()
	const n = 300
	for range n {
		feeder.Publish("notifications:a", "x")
		p.wantNotification("a", "x")
	}
	for _, lp := range s.loops {
		onLoop(t, lp, func() {}) // it counts behind the write
	}
	after := s.Stats()
	busy := 0
	for i := range after.Loops {
		turns := after.Loops[i].Turns - before.Loops[i].Turns
		wakeups := after.Loops[i].Wakeups - before.Loops[i].Wakeups
		if turns > 0 {
			busy++
			if turns != n || after.Loops[i].Writes-before.Loops[i].Writes != n {
				t.Errorf("loop %d: %d turns and %d writes for %d notifications one by one", i, turns,
					after.Loops[i].Writes-before.Loops[i].Writes, n)
			}
			continue
		}
		if wakeups > n/4 { // the clock wakes each loop once a second
			t.Errorf("loop %d was woken %d times for nothing", i, wakeups)
		}
	}
	if busy != 1 {
		t.Errorf("%d loops were busy, want 1", busy)
	}
}

// What piles up leaves together: one write for all frames of a channel.
func TestPiledUpFramesLeaveInOneWrite(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, func(cfg *Config) { cfg.Loops = 1 })
	p := dial(t, s)
	p.subscribe("a", "b")
	release := blockLoop(t, s.loops[0])
	before := s.Stats().Loops[0]
	for i := range 200 {
		feeder.Publish("notifications:"+string("ab"[i%2]), fmt.Sprint(i/2))
	}
	release()
	for i := range 100 {
		p.wantNotification("a", fmt.Sprint(i))
	}
	for i := range 100 {
		p.wantNotification("b", fmt.Sprint(i))
	}
	onLoop(t, s.loops[0], func() {}) // it counts behind the write
	after := s.Stats().Loops[0]
	if n := after.Writes - before.Writes; n != 2 {
		t.Errorf("%d writes for 200 frames of 2 channels, want 2", n)
	}
	if n := after.Deliveries - before.Deliveries; n != 200 {
		t.Errorf("%d deliveries, want 200", n)
	}
}

// Goroutines grow with loops, not with connections. Not parallel: it counts all goroutines.
func TestGoroutinesDoNotGrowWithConnections(t *testing.T) {
	s, feeder := startServer(t, nil)
	grow := func(n int) int {
		for range n {
			p := dial(t, s)
			p.subscribe("a", "b")
		}
		feeder.Publish("notifications:a", "x")
		for _, lp := range s.loops {
			onLoop(t, lp, func() {})
		}
		return runtime.NumGoroutine()
	}
	few, many := grow(100), grow(900)
	if many > few+5 {
		t.Errorf("%d goroutines with 100 connections, %d with 1,000", few, many)
	}
}

// Not parallel: it counts all allocations.
func TestAllocations(t *testing.T) {
	s, _ := startServer(t, func(cfg *Config) { cfg.Loops = 1 })
	lp := s.loops[0]
	const subscribers = 100
	for range subscribers {
		dial(t, s).subscribe("a")
	}
	var c *conn
	eventually(t, "all are subscribed", func() bool {
		n := 0
		onLoop(t, lp, func() { n, c = lp.index.Subscribers("a"), lp.conns.at(1) })
		return n == subscribers
	})
	one, _ := protocol.NewNotification("a", "hello", 1)
	two, _ := protocol.NewNotification("a", "world", 1)
	items := []fanout.Item{{Channel: "a", Frame: one}, {Channel: "a", Frame: two}}
	single := items[:1]
	turn := func(items []fanout.Item) func() {
		return func() {
			lp.turn.Load(items)
			lp.loaded = true
			lp.sending = true
			if !lp.sendTurn(1<<62) || lp.n.backlogged.Load() != 0 {
				panic("the sockets are full")
			}
		}
	}
	inbound := func(op ws.OpCode, text string) func() {
		frame := []byte(clientFrame(true, op, text))
		data := make([]byte, len(frame))
		return func() {
			copy(data, frame) // read changes it
			lp.current = c
			lp.read(c, data)
			lp.settleSince(0)
			lp.current = nil
		}
	}
	for _, tc := range []struct {
		name string
		f    func()
		per  int
	}{
		{"fan-out of one frame", turn(single), subscribers},
		{"fan-out of joined frames", turn(items), 2 * subscribers},
		{"ping frame", inbound(ws.OpPing, "hello"), 1},
		{"pong frame", inbound(ws.OpPong, "hello"), 1},
		{"ping command", inbound(ws.OpText, `{"type":"ping","id":"x"}`), 1},
		{"subscribe again", inbound(ws.OpText, `{"type":"subscribe","channel":"a","id":"x"}`), 1},
		{"bad JSON", inbound(ws.OpText, `{`), 1},
	} {
		var allocs float64
		onLoop(t, lp, func() { allocs = testing.AllocsPerRun(50, tc.f) })
		if allocs > 0 {
			t.Errorf("%s: %v allocations, %v each", tc.name, allocs, allocs/float64(tc.per))
		}
	}
}
