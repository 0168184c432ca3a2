package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/protocol"
	"github.com/carillon-ws/carillon/protocol/websocket"
)

// slowConfig is a server on which a client that does not read is noticed soon.
func slowConfig(policy SlowPolicy) func(*Config) {
	return func(cfg *Config) {
		cfg.Loops = 1
		cfg.SendBuffer = 1 // the kernel's least
		cfg.MaxBacklog = 64 << 10
		cfg.SlowConsumer = policy
	}
}

// reader reads every notification of channels in the background, each of which must come in order and at once
// complete, until "end" has come on all of them.
func (p *peer) readInOrder(wg *sync.WaitGroup, channels ...string) {
	last := make(map[string]int)
	for _, channel := range channels {
		last[channel] = 0
	}
	wg.Go(func() {
		for open := len(channels); open > 0; {
			m, err := p.next()
			if err != nil {
				p.t.Errorf("healthy reader: %v", err)
				return
			}
			if m.Type != "notification" {
				p.t.Errorf("healthy reader: %+v", m)
				return
			}
			if m.Data == "end" {
				open--
				continue
			}
			n := number(p.t, m.Data)
			if n != last[m.Channel]+1 {
				p.t.Errorf("healthy reader: %d of %s after %d", n, m.Channel, last[m.Channel])
				return
			}
			last[m.Channel] = n
		}
	})
}

func TestSlowConsumerIsClosed(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, slowConfig(SlowClose))
	slow, healthy := dialSlow(t, s), dial(t, s)
	slow.subscribe("a")
	healthy.subscribe("a")
	for n := 1; closedAs(s, "slow_consumer") == 0; n++ {
		if n > 10_000 {
			t.Fatal("a client that never reads is not closed")
		}
		feeder.Publish("notifications:a", pad(fmt.Sprint(n), 1000))
		healthy.wantNotification("a", pad(fmt.Sprint(n), 1000))
	}
	healthy.wantPong()

	// What it had been sent is whole and in order, and then it is told.
	for want := 1; ; want++ {
		m, err := slow.next()
		if c, ok := errors.AsType[*closed](err); ok {
			if c.code != protocol.CloseSlowConsumer {
				t.Errorf("%v, want 4100", c)
			}
			slow.wantEOF()
			break
		}
		if err != nil {
			t.Fatalf("slow reader: %v", err)
		}
		if got := number(t, m.Data); got != want {
			t.Fatalf("slow reader: %d, want %d", got, want)
		}
	}
	_ = slow.nc.Close()
	eventually(t, "its socket is given back", func() bool { return sockets(s) == 1 })
	wantNoBacklog(t, s)
}

// One that never reads at all costs no longer than lingering, and nobody else anything.
func TestSlowConsumerThatNeverReads(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, slowConfig(SlowClose))
	slow := dialSlow(t, s)
	slow.subscribe("a")
	frame, _ := protocol.NewNotification("a", strings.Repeat("x", 32<<10), 1)
	for range 40 {
		s.loops[0].Post(fanout.Item{Channel: "a", Frame: frame})
		s.loops[0].Wake()
	}
	s.loops[0].Wake()
	eventually(t, "it is cut", func() bool { return sockets(s) == 0 })
	wantNoBacklog(t, s)
	for {
		if _, _, err := slow.frame(); err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, syscall.ECONNRESET) {
				t.Error(err)
			}
			return
		}
	}
}

func TestBacklogAge(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, func(cfg *Config) {
		slowConfig(SlowDrop)(cfg)
		cfg.MaxBacklogAge = time.Second
		cfg.MaxBacklog = 64 << 20
	})
	p := dialSlow(t, s)
	p.subscribe("a")
	feeder.Publish("notifications:a", strings.Repeat("x", 8<<20)) // a single frame is never over the cap in bytes
	eventually(t, "a backlog that stands still is too old", func() bool { return closedAs(s, "slow_consumer") == 1 })
	eventually(t, "it is cut", func() bool { return sockets(s) == 0 })
	wantNoBacklog(t, s)
}

// A message larger than the cap reaches a client that reads, whatever its policy.
func TestOneLargeMessageIsNotSlow(t *testing.T) {
	t.Parallel()
	for _, policy := range []SlowPolicy{SlowClose, SlowDrop} {
		s, feeder := startServer(t, func(cfg *Config) {
			slowConfig(policy)(cfg)
			cfg.SendBuffer = 0 // the default
		})
		p := dial(t, s)
		p.subscribe("a")
		data := strings.Repeat("x", 3<<19)
		feeder.Publish("notifications:a", data)
		p.wantNotification("a", data)
		p.wantPong()
		wantNoBacklog(t, s)
	}
}

// A client that stops reading and comes back is told what it missed, where it missed it.
func TestSlowConsumerDropTellsTheGap(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, slowConfig(SlowDrop))
	p := dialSlow(t, s)
	p.subscribe("a", "b")
	const n = 2000
	for i := 1; i <= n; i++ {
		feeder.Publish("notifications:a", pad(fmt.Sprint(i), 1000))
		if i%10 == 0 {
			feeder.Publish("notifications:b", pad(fmt.Sprint(i/10), 1000))
		}
	}
	eventually(t, "all are sent or kept", func() bool {
		return sum(s, func(n LoopStats) uint64 { return n.Deliveries }) >= n+n/10
	})
	onLoop(t, s.loops[0], func() {
		if c := s.loops[0].conns.at(1); c.ext == nil || c.ext.backlog.bytes > 64<<10 {
			t.Errorf("extension %+v: no backlog, or more than the cap", c.ext)
		}
	})
	dropped := labelCount(s, func(n LoopStats) map[string]uint64 { return n.Dropped }, "slow")
	gaps := p.readWithGaps(map[string]int{"a": n, "b": n / 10})
	if gaps["a"] == 0 || gaps["b"] == 0 || gaps["a"]+gaps["b"] < int(dropped) {
		t.Errorf("gaps %v, %d dropped", gaps, dropped)
	}
	p.wantPong()
	wantNoBacklog(t, s)
}

// readWithGaps reads until all numbers up to last have come on each channel, or are told as missing where they are
// missing. It returns how many were missing, by channel.
func (p *peer) readWithGaps(last map[string]int) (gaps map[string]int) {
	seen := make(map[string]int) // the number of the last that came, or is told as missing
	gaps = make(map[string]int)
	for !maps.Equal(seen, last) {
		m, err := p.next()
		switch {
		case err != nil:
			p.t.Errorf("%v after %v of %v", err, seen, last)
			return gaps
		case m.Type == "gap":
			if m.Reason != "slow" || m.Dropped == 0 || m.Channel == "" {
				p.t.Errorf("gap %+v", m)
			}
			seen[m.Channel] += m.Dropped
			gaps[m.Channel] += m.Dropped
		case m.Type == "notification":
			if seen[m.Channel]++; seen[m.Channel] != number(p.t, m.Data) {
				p.t.Errorf("%s: %.10q, want %d", m.Channel, m.Data, seen[m.Channel])
				return gaps
			}
		}
	}
	return gaps
}

// Clients that stop reading and come back, under traffic that can be dropped and traffic that cannot: whatever happens
// the stream parses, is in order, and every gap is told where it is and with the right number.
func TestSlowConsumerDropAtRandom(t *testing.T) {
	t.Parallel()
	for _, total := range []int{0, 40_000} { // the default, and what makes loops ask each other to drop
		t.Run(fmt.Sprint(total), func(t *testing.T) { t.Parallel(); slowConsumersDropAtRandom(t, total) })
	}
}

func slowConsumersDropAtRandom(t *testing.T, total int) {
	t.Helper()
	s, feeder := startServer(t, func(cfg *Config) {
		slowConfig(SlowDrop)(cfg)
		cfg.Loops = 2
		cfg.MaxBacklog, cfg.MaxBacklogTotal = 20_000, total
	})
	const clients, n = 6, 3000
	channels := []string{"a", "b", "c"}
	rng := rand.New(rand.NewPCG(7, 7))
	type publication struct{ channel, data string }
	var plan []publication
	last := make(map[string]int)
	for range n {
		channel := channels[rng.IntN(len(channels))]
		last[channel]++
		plan = append(plan, publication{"notifications:" + channel, pad(fmt.Sprint(last[channel]), 10+rng.IntN(1500))})
	}
	peers := make([]*peer, clients)
	for i := range peers {
		peers[i] = dialSlow(t, s)
		peers[i].subscribe(channels...)
	}
	dropped := func() uint64 { return labelCount(s, func(n LoopStats) map[string]uint64 { return n.Dropped }, "slow") }
	var wg sync.WaitGroup
	for i, pub := range plan {
		if rng.IntN(20) == 0 { // draws an answer that must not be dropped into a backlog, between the notifications
			peers[rng.IntN(clients)].send(`{"type":"ping"}`)
		}
		feeder.Publish(pub.channel, pub.data)
		if i%100 == 99 { // so that there are turns of many sizes
			for _, lp := range s.loops {
				onLoop(t, lp, func() {})
				wantBacklogSums(t, lp)
			}
		}
		if i == n/4 {
			eventually(t, "some are dropped", func() bool { return dropped() > 0 })
			for _, p := range peers {
				wg.Go(func() { p.readWithGaps(last) })
			}
		}
	}
	wg.Wait()
	wantNoBacklog(t, s)
	if n := sum(s, func(n LoopStats) uint64 { return n.Panics }); n != 0 {
		t.Errorf("%d panics", n)
	}
	t.Logf("%d deliveries dropped", dropped())
}

// A client that asks and does not listen is slow as well: its answers cannot be dropped, so it is closed.
func TestAnswersThatNobodyReads(t *testing.T) {
	t.Parallel()
	for _, policy := range []SlowPolicy{SlowClose, SlowDrop} {
		s, _ := startServer(t, slowConfig(policy))
		p := dialSlow(t, s)
		pings := strings.Repeat(clientFrame(true, ws.OpPing, strings.Repeat("x", 100)), 100)
		for closedAs(s, "slow_consumer") == 0 {
			if _, err := io.WriteString(p.nc, pings); err != nil {
				break
			}
		}
		eventually(t, "it is closed", func() bool { return closedAs(s, "slow_consumer") == 1 })
		eventually(t, "its socket is given back", func() bool { return sockets(s) == 0 })
		wantNoBacklog(t, s)
	}
}

// wantTotalKept waits until a server of one loop has made room, if it must, and wants its backlogs within their total. What was
// kept before the call may be more than that by what one slice of work adds.
func wantTotalKept(t testing.TB, s *Server) {
	t.Helper()
	lp := s.loops[0]
	eventually(t, "room is made", func() bool {
		grown := false
		onLoop(t, lp, func() {
			grown = lp.grown
			if held, most := s.backlogBytes(), int64(s.cfg.MaxBacklogTotal); !grown && held > most {
				t.Errorf("all backlogs together hold %d bytes, want at most %d", held, most)
			}
		})
		return !grown
	})
}

// The cap on all backlogs together makes whoever is behind give way.
func TestBacklogTotal(t *testing.T) {
	t.Parallel()
	for _, policy := range []SlowPolicy{SlowClose, SlowDrop} {
		s, feeder := startServer(t, func(cfg *Config) {
			slowConfig(policy)(cfg)
			cfg.MaxBacklog, cfg.MaxBacklogTotal = 4<<20, 256<<10
		})
		var slow []*peer
		for range 8 {
			p := dialSlow(t, s)
			p.subscribe("a")
			slow = append(slow, p)
		}
		const n = 500
		for i := 1; i <= n; i++ {
			feeder.Publish("notifications:a", pad(fmt.Sprint(i), 1000))
		}
		eventually(t, "the turn is over", func() bool {
			over := false
			onLoop(t, s.loops[0], func() { over = !s.loops[0].sending })
			return over
		})
		wantTotalKept(t, s)
		if policy == SlowClose {
			if closedAs(s, "slow_consumer") == 0 {
				t.Error("nobody was closed")
			}
			continue
		}
		for _, p := range slow {
			if gaps := p.readWithGaps(map[string]int{"a": n}); gaps["a"] == 0 {
				t.Error("a client missed nothing")
			}
		}
		wantNoBacklog(t, s)
	}
}

// Nor do answers that nobody reads pass that cap, although they cannot be dropped.
func TestBacklogTotalOfAnswers(t *testing.T) {
	t.Parallel()
	for _, policy := range []SlowPolicy{SlowClose, SlowDrop} {
		s, _ := startServer(t, func(cfg *Config) {
			slowConfig(policy)(cfg)
			cfg.MaxBacklog, cfg.MaxBacklogTotal, cfg.MaxBacklogAge = 4<<20, 256<<10, time.Hour
		})
		pings := strings.Repeat(clientFrame(true, ws.OpPing, strings.Repeat("x", 100)), 2000)
		for range 8 {
			p := dialSlow(t, s)
			go io.WriteString(p.nc, pings) //nolint:errcheck // it is cut, or the test is over
		}
		eventually(t, "somebody is closed by policy "+string(policy), func() bool { return closedAs(s, "slow_consumer") > 0 })
		wantTotalKept(t, s)
	}
}

// A slow client that says goodbye gets what waits for it, then the answer.
func TestPeerClosesWithABacklog(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, func(cfg *Config) {
		slowConfig(SlowClose)(cfg)
		cfg.MaxBacklog = 4 << 20
	})
	p := dialSlow(t, s)
	p.subscribe("a")
	const n = 100
	for i := 1; i <= n; i++ {
		feeder.Publish("notifications:a", pad(fmt.Sprint(i), 1000))
	}
	eventually(t, "there is a backlog", func() bool {
		return sum(s, func(n LoopStats) int64 { return n.Backlogged }) == 1 && sum(s, func(n LoopStats) uint64 { return n.Deliveries }) == n
	})
	p.write(closeFrame(ws.StatusGoingAway, ""))
	for i := 1; i <= n; i++ {
		p.wantNotification("a", pad(fmt.Sprint(i), 1000))
	}
	p.wantClose(ws.StatusGoingAway)
	_ = p.nc.Close()
	eventually(t, "its socket is given back", func() bool { return sockets(s) == 0 })
	wantNoBacklog(t, s)
}

// An answer of which the socket took a part is finished before anything else is said, be it a gap or a close frame.
func TestHalfSentAnswersAreFinished(t *testing.T) {
	t.Parallel()
	for _, policy := range []SlowPolicy{SlowDrop, SlowClose} {
		s, _ := startServer(t, slowConfig(policy))
		p := dialSlow(t, s)
		p.subscribe("a")
		const n, answers = 200, 300
		lp := s.loops[0]
		onLoop(t, lp, func() { // at once, so that the socket is not asked again in between
			c := lp.conns.at(1)
			pong := websocket.AppendControl(nil, ws.OpPong, bytes.Repeat([]byte{'x'}, 100))
			lp.write(c, bytes.Repeat(pong, answers))
			if c.ext == nil || c.ext.backlog.off == 0 {
				t.Error("nothing is half sent: nothing is tried here")
			}
			for i := 1; i <= n; i++ {
				f, _ := protocol.NewNotification("a", pad(fmt.Sprint(i), 1000), 1)
				lp.keep(c, f, 0)
			}
			lp.settleSince(0)
		})
		pongs, seen := 0, 0
		for seen < n {
			op, payload, err := p.frame()
			if err != nil {
				t.Fatalf("policy %s: %v after %d pongs and %d", policy, err, pongs, seen)
			}
			if op == ws.OpPong {
				pongs++
				continue
			}
			if op == ws.OpClose {
				if code, _ := ws.ParseCloseFrameData(payload); code != protocol.CloseSlowConsumer || policy != SlowClose {
					t.Errorf("policy %s: close %d", policy, code)
				}
				break
			}
			var m message
			if err := json.Unmarshal(payload, &m); err != nil {
				t.Fatal(err)
			}
			if m.Type == "gap" {
				seen += m.Dropped
			} else if seen++; number(t, m.Data) != seen {
				t.Fatalf("policy %s: %.10q, want %d", policy, m.Data, seen)
			}
		}
		// What is half sent is finished; the answers behind it go with the backlog when that is too much.
		if pongs == 0 || pongs != answers && policy == SlowDrop {
			t.Errorf("policy %s: %d pongs of %d", policy, pongs, answers)
		}
	}
}

// The kernel ends a connection whose window stays closed for TCP_USER_TIMEOUT: not before the policy would.
func TestKernelIsAsPatientAsThePolicy(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for age, want := range map[time.Duration]time.Duration{
		time.Second: userTimeout, 10 * time.Minute: 10 * time.Minute,
		25 * day: math.MaxInt32 * time.Millisecond, 60 * day: math.MaxInt32 * time.Millisecond, // the most that the kernel takes
	} {
		s, _ := startServer(t, func(cfg *Config) { cfg.Loops, cfg.MaxBacklogAge = 1, age })
		dial(t, s)
		lp := s.loops[0]
		onLoop(t, lp, func() {
			got, err := unix.GetsockoptInt(int(lp.conns.at(1).fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
			if err != nil || got != int(want.Milliseconds()) {
				t.Errorf("with MaxBacklogAge %s the kernel waits %d ms, %v; want %s", age, got, err, want)
			}
		})
	}
}

// Answers that are not read are held against the caps like anything else, even if they wait as one piece.
func TestUnreadAnswersAreBounded(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.Loops, cfg.MaxBacklogTotal = 1, 4<<20 })
	msg := clientFrame(true, ws.OpText, `{"type":"subscribe","id":"`+strings.Repeat("i", 60)+`","channels":[`+
		strings.TrimSuffix(strings.Repeat(`"",`, 1000), ",")+`]}`)
	burst := strings.Repeat(msg, (60<<10)/len(msg))
	lp := s.loops[0]
	for range 20 {
		p := dialSlow(t, s)
		release := blockLoop(t, lp) // so that all of it is one read, and its answers one piece
		p.write(burst)
		release()
	}
	eventually(t, "all is carried out", func() bool { return lp.n.commands.Load() >= uint64(20*(60<<10)/len(msg)/2) })
	wantTotalKept(t, s)
}

// What was answered before a close frame came is sent before ours, however slow the socket.
func TestAnswersBeforeACloseFrameAreKept(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.Loops, cfg.SendBuffer = 1, 1 })
	p := dialSlow(t, s)
	p.subscribe("a")
	lp := s.loops[0]
	onLoop(t, lp, func() { // until something waits
		c := lp.conns.at(1)
		for f := websocket.AppendControl(nil, ws.OpPong, bytes.Repeat([]byte{'x'}, 100)); c.ext == nil || c.ext.backlog.empty(); {
			lp.write(c, f)
		}
	})
	release := blockLoop(t, lp)                                                                              // so that both are one read
	many := `{"type":"subscribe","channels":[` + strings.TrimSuffix(strings.Repeat(`"a",`, 500), ",") + `]}` // more than one piece
	p.write(clientFrame(true, ws.OpText, many) + clientFrame(true, ws.OpText, `{"type":"ping","id":"last"}`) +
		closeFrame(ws.StatusNormalClosure, ""))
	release()
	for {
		op, payload, err := p.frame()
		if err != nil || op == ws.OpClose {
			t.Fatalf("frame %d %q, %v before the answer", op, payload, err)
		}
		if op == ws.OpText && strings.Contains(string(payload), `"last"`) {
			break
		}
	}
	p.wantClose(ws.StatusNormalClosure)
}
