package server

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/protocol"
)

// checkInvariants holds what a loop counts against what it has. It belongs to the loop.
func (lp *loop) checkInvariants() error {
	var open, compressing, backlogged, subscriptions, bytes, taken int
	refs := make(map[*held]int)
	for slot := uint32(1); slot <= lp.conns.used; slot++ {
		c := lp.conns.at(slot)
		if c.state == stateFree {
			if c.key != 0 || c.ext != nil || c.address != nil {
				return fmt.Errorf("record %d is free and not empty", slot)
			}
			continue
		}
		taken++
		if c.slot != slot || int32(c.gc.Fd()) != c.fd {
			return fmt.Errorf("record %d says it is %d, of descriptor %d", slot, c.slot, c.fd)
		}
		channels := 0
		for range lp.index.Each(c.subs) {
			channels++
		}
		if channels != int(c.count) || channels > 0 && c.state != stateOpen {
			return fmt.Errorf("record %d (%v) has %d channels and says %d", slot, c.state, channels, c.count)
		}
		subscriptions += channels
		if c.state == stateOpen {
			open++
			if c.dialect().Form() != protocol.Plain {
				compressing++
			}
			if lp.formOf(slot) != c.dialect().Form() {
				return fmt.Errorf("record %d is sent form %d", slot, lp.formOf(slot))
			}
		}
		has := c.ext != nil && !c.ext.backlog.empty()
		if has != lp.backlogs.has(slot) {
			return fmt.Errorf("record %d has a backlog: %t, and is marked: %t", slot, has, !has)
		}
		if c.ext == nil {
			continue
		}
		if unfinished := c.ext.head != nil || c.ext.reader.Mid(); unfinished != (c.ext.held != nil) {
			return fmt.Errorf("record %d has something unfinished: %t, and is counted so: %t", slot, unfinished, !unfinished)
		}
		if !has {
			continue
		}
		backlogged++
		for _, h := range c.ext.backlog.frames {
			if refs[h]++; refs[h] == 1 {
				bytes += h.cost()
			} else {
				bytes += refCost
			}
		}
		if e := lp.ages[c.ext.backlog.place]; e.c != c {
			return fmt.Errorf("record %d is not where it should be in the queue by age", slot)
		}
	}
	for h, n := range refs {
		if h.refs != n {
			return fmt.Errorf("a frame has %d references and says %d", n, h.refs)
		}
	}
	for _, n := range []struct {
		what      string
		says, has int64
	}{
		{"sockets", lp.n.sockets.Load(), int64(taken)},
		{"connections", lp.n.connections.Load(), int64(open)},
		{"compressing", lp.n.compressing.Load(), int64(compressing)},
		{"backlogged", lp.n.backlogged.Load(), int64(backlogged)},
		{"queue by age", int64(len(lp.ages)), int64(backlogged)},
		{"backlog bytes", lp.n.backlogBytes.Load(), int64(bytes)},
		{"subscriptions", int64(lp.index.Subscriptions()), int64(subscriptions)},
		{"records", int64(lp.conns.records.Live()), int64(taken)},
	} {
		if n.says != n.has {
			return fmt.Errorf("%s: %d are counted, %d are there", n.what, n.says, n.has)
		}
	}
	if lp.current != nil || lp.atHand != nil {
		return fmt.Errorf("at work on %p and %p between two pieces of work", lp.current, lp.atHand)
	}
	return nil
}

// chaosLog panics now and then: a handler that fails can fail anywhere.
type chaosLog struct {
	mu  sync.Mutex
	rnd *rand.Rand // Guarded by mu.
}

func (l *chaosLog) Enabled(context.Context, slog.Level) bool { return true }
func (l *chaosLog) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *chaosLog) WithGroup(string) slog.Handler            { return l }

func (l *chaosLog) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.Message == "connection" && l.rnd.IntN(4) == 0 {
		panic("chaos")
	}
	return nil
}

// Clients that do everything that they can, while connections are kicked, moved, and cut, handlers panic and loops
// end: whatever the order, the books are right in between, and everything is given back at the end.
func TestChaos(t *testing.T) {
	t.Parallel()
	for _, policy := range []SlowPolicy{SlowClose, SlowDrop} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			chaos(t, policy)
		})
	}
}

func chaos(t *testing.T, policy SlowPolicy) {
	const clients, rounds, endLoop = 24, 20, -1
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	s, feeder, stop := launchServer(t, func(cfg *Config) {
		compressConfig(cfg)
		slowConfig(policy)(cfg)
		cfg.Loops, cfg.MaxPerAddress, cfg.MaxConnections = 2, clients-2, clients-1
		cfg.MaxInboundTotal, cfg.MaxMessage, cfg.MaxBacklogTotal = 8*unfinishedCost, 1024, 1<<20
		cfg.PingInterval, cfg.MessageRate, cfg.Heartbeat = time.Second, 1000, 2*time.Second
		cfg.Log = slog.New(&chaosLog{rnd: rand.New(rand.NewPCG(seed, 0))})
	})
	over, stopped := make(chan struct{}), make(chan struct{})
	go func() { // everything that is done to the connections
		defer close(stopped)
		rnd := rand.New(rand.NewPCG(seed, 1))
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for step := 0; ; step++ {
			select {
			case <-over:
				return
			case <-tick.C:
			}
			lp := s.loops[rnd.IntN(len(s.loops))]
			action := rnd.IntN(10)
			if step%40 == 39 {
				action = endLoop
			}
			switch action {
			case 0:
				feeder.mu.Lock()
				chaosOn(t, lp, func() { move(t, lp) })
				feeder.mu.Unlock()
			case 1:
				chaosOn(t, lp, func() { chaosEnd(lp, rnd) })
			case 2:
				feeder.Publish(fmt.Sprint("notifications:", rnd.IntN(4)), typicalJSON(1+rnd.IntN(3000)))
				feeder.Lost()
				feeder.Flush()
			case endLoop:
				chaosOn(t, lp, func() { lp.broken = true })
			case 4:
				_, _ = s.Connections(t.Context(), ConnectionQuery{Limit: 5, Channel: "1"})
			default:
				for range 10 {
					feeder.Publish(fmt.Sprint("notifications:", rnd.IntN(4)), pad("x", rnd.IntN(4000)))
				}
			}
			chaosOn(t, lp, func() {
				if err := lp.checkInvariants(); err != nil {
					t.Error(err)
				}
			})
		}
	}()
	count := func(of func(LoopStats) uint64) uint64 { return sum(s, of) }
	enough := func() bool {
		return s.Stats().Restarts > 0 && count(func(n LoopStats) uint64 { return n.Panics }) > 0 &&
			count(func(n LoopStats) uint64 { return n.Deliveries }) > 0
	}
	latest := time.Now().Add(patience)
	var wg sync.WaitGroup
	for i := range clients {
		rnd := rand.New(rand.NewPCG(seed, uint64(2+i)))
		wg.Go(func() {
			for round := 0; (round < rounds || !enough()) && time.Now().Before(latest); round++ {
				chaosClient(s, rnd)
			}
		})
	}
	wg.Wait()
	close(over)
	<-stopped
	t.Logf("%d restarts, closed %v, refused %v", s.Stats().Restarts, s.Stats().Loops[0].Closed, s.Stats().Loops[0].Refused)
	if !enough() {
		t.Error("no loop has ended, no handler has failed, or nobody has heard anything: the test shows less than it says")
	}
	stop()
	wantClosedBooks(t, s)
	if held, refused := s.inbound.held.Load(), s.refused.Load(); held != 0 || refused != 0 || len(s.addresses.count) != 0 {
		t.Errorf("at the end %d bytes are unfinished, %d refused, %d addresses counted", held, refused, len(s.addresses.count))
	}
}

// chaosOn runs f on a loop, if it runs.
func chaosOn(t *testing.T, lp *loop, f func()) {
	done := make(chan struct{})
	if lp.callOr(func() { defer close(done); f() }, func() { close(done) }) {
		receive(t, "a call on the loop", done)
	}
}

// chaosEnd ends one connection, some way or other.
func chaosEnd(lp *loop, rnd *rand.Rand) {
	for range lp.conns.used {
		c := lp.conns.at(1 + rnd.Uint32N(lp.conns.used))
		if c.state == stateFree || c.state == stateDead {
			continue
		}
		switch rnd.IntN(5) {
		case 0:
			lp.cut(c, "write_error")
		case 1:
			lp.expire(c)
		case 2:
			lp.answer(c, &protocol.Message{Type: protocol.MessagePong})
		case 3:
			lp.refuseOpening(c)
		default:
			lp.end(c, protocol.ErrKicked)
		}
		return
	}
}

// chaosClient is the life of one client. Whatever comes, it only reads on, or does not.
func chaosClient(s *Server, rnd *rand.Rand) {
	nc, err := net.Dial("tcp", s.Addr())
	if err != nil {
		return // the loop is being started again
	}
	defer nc.Close() //nolint:errcheck // of a test
	_ = nc.SetDeadline(time.Now().Add(patience))
	head := handshake
	if rnd.IntN(2) == 0 {
		head = offering("permessage-deflate")
	}
	half := rnd.IntN(len(head))
	_, _ = io.WriteString(nc, head[:half])
	if rnd.IntN(5) == 0 {
		return
	}
	if _, err := io.WriteString(nc, head[half:]); err != nil {
		return
	}
	reads := rnd.IntN(3) > 0 // else it stalls
	read := make(chan struct{})
	go func() {
		defer close(read)
		if reads {
			_, _ = io.Copy(io.Discard, nc)
		}
	}()
	for range rnd.IntN(20) {
		text := fmt.Sprintf(`{"type":"subscribe","channel":"%d"}`, rnd.IntN(4))
		switch rnd.IntN(4) {
		case 0:
			text = fmt.Sprintf(`{"type":"unsubscribe","channel":"%d"}`, rnd.IntN(4))
		case 1:
			text = `{"type":"ping"}`
		}
		f := clientFrame(true, ws.OpText, text)
		if rnd.IntN(8) == 0 {
			f = clientFrame(true, ws.OpPing, "x")
		}
		cut := rnd.IntN(len(f) + 1)
		_, _ = io.WriteString(nc, f[:cut])
		if rnd.IntN(20) == 0 {
			break
		}
		if _, err := io.WriteString(nc, f[cut:]); err != nil {
			break
		}
	}
	switch rnd.IntN(4) {
	case 0:
		_, _ = io.WriteString(nc, closeFrame(ws.StatusNormalClosure, ""))
	case 1:
		_ = nc.(*net.TCPConn).SetLinger(0)
	case 2:
		_ = nc.(*net.TCPConn).CloseWrite()
	}
	if !reads {
		<-time.After(time.Duration(rnd.IntN(100)) * time.Millisecond)
	}
	if !reads || rnd.IntN(2) == 0 {
		_ = nc.Close()
	} else {
		_ = nc.SetDeadline(time.Now().Add(time.Duration(rnd.IntN(100)) * time.Millisecond))
	}
	<-read
}
