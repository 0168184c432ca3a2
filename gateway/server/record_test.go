package server

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/panjf2000/gnet/v2"

	"github.com/carillon-ws/carillon/gateway/identity"
	"github.com/carillon-ws/carillon/protocol"
	"github.com/carillon-ws/carillon/protocol/websocket"
)

// move writes every connection of a loop down, forgets it, and takes it up again from the bytes, in a record of its own.
// Written down once more it must be the same. It returns how many were moved.
//
// While a turn is under way it moves none: what is taken up enters its channels anew, and the walk would pass it over.
func move(t testing.TB, lp *loop) (moved int) {
	if lp.sending {
		return 0
	}
	rs := new(connRecords)
	var sockets []gnet.Conn
	for slot := uint32(1); slot <= lp.conns.used; slot++ {
		if c := lp.conns.at(slot); lp.add(rs, c) {
			sockets = append(sockets, c.gc)
			lp.release(c)
		}
	}
	text, err := rs.encode()
	if err != nil {
		t.Error(err)
		return 0
	}
	got, err := decodeRecords(text)
	if err != nil {
		t.Error(err)
		return 0
	}
	again := new(connRecords)
	for i := range got.Conns {
		c, err := lp.takeUp(got, &got.Conns[i], sockets[i])
		if err != nil {
			t.Errorf("take up %+v: %v", got.Conns[i], err)
			continue
		}
		if !lp.add(again, c) {
			t.Errorf("%+v is taken up as one that is to be ended", got.Conns[i])
		}
	}
	if written, err := again.encode(); err != nil || !bytes.Equal(written, text) {
		t.Errorf("the connections are %+v, want %+v (%v)", again.Conns, rs.Conns, err)
	}
	return len(got.Conns)
}

// moveOnce moves the connections of all loops.
func moveOnce(t testing.TB, s *Server) (moved int) {
	t.Helper()
	for _, lp := range s.loops {
		onLoop(t, lp, func() { moved += move(t, lp) })
		wantBacklogSums(t, lp)
	}
	return moved
}

// keepMoving moves the connections of all loops again and again until the test ends. The feeder waits meanwhile: what is
// published to a connection that is on no loop is lost.
func keepMoving(t *testing.T, s *Server, feeder *feeder) {
	t.Helper()
	stop, stopped := make(chan struct{}), make(chan struct{})
	var moved atomic.Int64
	go func() {
		defer close(stopped)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			for _, lp := range s.loops {
				done := make(chan struct{})
				feeder.mu.Lock()
				if lp.callOr(func() { defer close(done); moved.Add(int64(move(t, lp))) }, func() { close(done) }) {
					<-done // a busy machine moves less often
				}
				feeder.mu.Unlock()
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-stopped
		if moved.Load() == 0 {
			t.Error("nothing was moved")
		}
	})
}

func TestMoveOpening(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, nil)
	for at := range len(handshake) {
		if at%16 != 0 && at < len(handshake)-4 {
			continue
		}
		p := dialRaw(t, s)
		p.write(handshake[:at])
		if at > 0 {
			eventually(t, "the head has come", func() bool {
				found := false
				for _, lp := range s.loops {
					onLoop(t, lp, func() {
						for slot := uint32(1); slot <= lp.conns.used; slot++ {
							if c := lp.conns.at(slot); c.state == stateOpening && c.ext != nil && len(c.ext.head) == at {
								found = true
							}
						}
					})
				}
				return found
			})
		}
		moveOnce(t, s)
		p.write(handshake[at:])
		p.wantStatus(http.StatusSwitchingProtocols)
		p.want("connected")
		p.subscribe("a")
		feeder.Publish("notifications:a", "x")
		p.wantNotification("a", "x")
		_ = p.nc.Close()
	}
}

func TestMoveRefused(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.MaxConnections = 1 })
	in, refused := dial(t, s), dialRaw(t, s)
	eventually(t, "the second has knocked", func() bool { return s.refused.Load() == 1 })
	if moved := moveOnce(t, s); moved != 2 || s.refused.Load() != 1 || s.sockets.Load() != 2 {
		t.Errorf("%d are moved, %d refused, %d sockets", moved, s.refused.Load(), s.sockets.Load())
	}
	refused.write(handshake)
	refused.wantStatus(http.StatusServiceUnavailable)
	refused.wantEOF()
	in.wantPong()
}

func TestMoveOpen(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, func(cfg *Config) {
		compressConfig(cfg)
		cfg.MaxPerAddress, cfg.Loops = 10, 2
	})
	plain, deflated := dial(t, s), dialDeflate(t, s)
	for _, p := range []*peer{plain, deflated} {
		p.subscribe("a", "b")
	}
	// Half a message, a ping in its middle, and half a frame.
	half := clientFrame(false, ws.OpText, `{"type":"subscribe",`)
	rest := clientFrame(true, ws.OpContinuation, `"channel":"c"}`)
	plain.write(half + rest[:7])
	compressed := deflatedFrame(t, `{"type":"subscribe","channel":"c"}`)
	deflated.write(compressed[:9])
	eventually(t, "both are half read", func() bool { return s.inbound.held.Load() >= 2*unfinishedCost })
	before := s.inbound.held.Load()
	for range 3 {
		if moved := moveOnce(t, s); moved != 2 {
			t.Errorf("%d are moved, want 2", moved)
		}
	}
	if held := s.inbound.held.Load(); held == 0 || held > before {
		t.Errorf("what is unfinished counts %d bytes, and %d before", held, before)
	}
	plain.write(rest[7:])
	deflated.write(compressed[9:])
	for _, p := range []*peer{plain, deflated} {
		if m := p.want("subscribed"); m.Channel != "c" {
			t.Errorf("subscribed to %q", m.Channel)
		}
	}
	feeder.Publish("notifications:c", typicalJSON(600))
	for _, p := range []*peer{plain, deflated} {
		p.wantNotification("c", typicalJSON(600))
	}
	if deflated.deflated == 0 {
		t.Error("a moved connection is not sent the compressed form")
	}
	if n := sum(s, func(n LoopStats) int64 { return n.Compressing }); n != 1 {
		t.Errorf("Compressing = %d, want 1", n)
	}
	list, err := s.Connections(t.Context(), ConnectionQuery{Limit: 10, Channel: "a"})
	if err != nil || len(list.Connections) != 2 || !slices.Contains(list.Connections[0].Channels, "b") {
		t.Errorf("connections %+v, %v", list, err)
	}
}

func TestMoveBacklogged(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, slowConfig(SlowDrop))
	peers := []*peer{dialSlow(t, s), dialSlow(t, s)}
	for _, p := range peers {
		p.subscribe("a")
	}
	const n = 500
	for i := 1; i <= n; i++ {
		feeder.Publish("notifications:a", pad(fmt.Sprint(i), 1000))
		if i%100 == 0 {
			moveOnce(t, s)
		}
	}
	eventually(t, "all are sent or kept", func() bool { return sum(s, func(n LoopStats) uint64 { return n.Deliveries }) >= 2*n })
	onLoop(t, s.loops[0], func() {
		before := s.backlogBytes()
		move(t, s.loops[0])
		if after := s.backlogBytes(); after != before {
			t.Errorf("the backlogs cost %d bytes, and %d after they were moved", before, after)
		}
	})
	for _, p := range peers {
		if gaps := p.readWithGaps(map[string]int{"a": n}); gaps["a"] == 0 {
			t.Error("nothing was dropped: the test shows less than it says")
		}
		p.wantPong()
	}
	wantNoBacklog(t, s)
}

func TestMoveClosing(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, func(cfg *Config) { slowConfig(SlowClose)(cfg); cfg.MaxBacklog = 1 << 20 })
	p := dialSlow(t, s)
	p.subscribe("a")
	for i := range 100 {
		feeder.Publish("notifications:a", pad(fmt.Sprint(i+1), 1000))
	}
	eventually(t, "all are sent or wait", func() bool {
		backlogged, deliveries := waiting(s)
		return backlogged == 1 && deliveries == 100
	})
	if _, err := s.Kick(t.Context(), Kick{Client: clientOf(t, s)}); err != nil {
		t.Fatal(err)
	}
	moveOnce(t, s)
	for i := range 100 {
		p.wantNotification("a", pad(fmt.Sprint(i+1), 1000))
	}
	moveOnce(t, s)
	p.wantClose(protocol.CloseKicked)
	eventually(t, "its socket is given back", func() bool { return sockets(s) == 0 })
}

// clientOf is the client id of the only connection.
func clientOf(t *testing.T, s *Server) string {
	t.Helper()
	list, err := s.Connections(t.Context(), ConnectionQuery{Limit: 2})
	if err != nil || len(list.Connections) != 1 {
		t.Fatalf("connections %+v, %v", list, err)
	}
	return list.Connections[0].Client
}

func TestMoveWithAnIdentity(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.Loops = 1 })
	dial(t, s)
	lp := s.loops[0]
	onLoop(t, lp, func() {
		id, err := (&identity.State{User: "ann", Expires: 2_000_000_000_000, Patterns: []string{"user:{sub}"}}).Identity()
		if err != nil {
			t.Error(err)
			return
		}
		lp.conns.at(1).identity = id
	})
	moveOnce(t, s)
	onLoop(t, lp, func() {
		if who := lp.conns.at(1).identity; who == nil || !who.May("user:ann") || who.May("user:bob") {
			t.Errorf("the identity is %+v", who)
		}
	})
}

// Connections that are moved every millisecond are served as others are: requests and messages in pieces, slow readers
// whose notifications are dropped, pings, and a drain.
func TestKeepMoving(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, func(cfg *Config) { slowConfig(SlowDrop)(cfg); cfg.Loops = 2 })
	keepMoving(t, s, feeder)
	slow := dialSlow(t, s)
	slow.subscribe("a")
	const n = 1000
	for i := 1; i <= n; i++ {
		feeder.Publish("notifications:a", pad(fmt.Sprint(i), 1000))
	}
	p := dialRaw(t, s)
	for i := range handshake {
		p.write(handshake[i : i+1])
	}
	p.wantStatus(http.StatusSwitchingProtocols)
	p.want("connected")
	for _, channel := range []string{"b", "c"} {
		text := clientFrame(false, ws.OpText, `{"type":"subscribe",`) + clientFrame(true, ws.OpContinuation, `"channel":"`+channel+`"}`)
		for i := range len(text) {
			p.write(text[i : i+1])
		}
		if m := p.want("subscribed"); m.Channel != channel {
			t.Errorf("subscribed to %q, want %q", m.Channel, channel)
		}
		feeder.Publish("notifications:"+channel, "x")
		p.wantNotification(channel, "x")
	}
	slow.readWithGaps(map[string]int{"a": n})
	slow.wantPong()
}

func TestRecordsThatAreRefused(t *testing.T) {
	t.Parallel()
	if _, err := decodeRecords([]byte(strings.Repeat("\xff", 9))); err == nil {
		t.Error("garbage is decoded")
	}
	s, _ := startServer(t, func(cfg *Config) { cfg.Loops = 1 })
	lp := s.loops[0]
	good := connRecord{Key: 1, State: stateOpen}
	frames := []frameRecord{{Bytes: []byte("x")}}
	for name, change := range map[string]func(r *connRecord){
		"no key":            func(r *connRecord) { r.Key = 0 },
		"a free record":     func(r *connRecord) { r.State = stateFree },
		"a dead one":        func(r *connRecord) { r.State = stateDead },
		"a dialect to come": func(r *connRecord) { r.Dialect = uint8(len(dialects)) },
		"a reader that never was": func(r *connRecord) {
			r.Reader = &websocket.ReaderState{}
		},
		"an address of 3 bytes": func(r *connRecord) { r.Address = []byte{1, 2, 3} },
		"a proxy of 3 bytes":    func(r *connRecord) { r.Via = []byte{1, 2, 3} },
		"a bad pattern":         func(r *connRecord) { r.Identity = &identity.State{Patterns: []string{"*a"}} },
		"a frame that is not there": func(r *connRecord) {
			r.Backlog = &backlogRecord{Frames: []int{1}}
		},
		"a backlog of nothing": func(r *connRecord) { r.Backlog = &backlogRecord{} },
		"a request with a backlog": func(r *connRecord) {
			r.State, r.Backlog = stateOpening, &backlogRecord{Frames: []int{0}}
		},
		"a request with channels":    func(r *connRecord) { r.State, r.Channels = stateOpening, []string{"a"} },
		"a goodbye with channels":    func(r *connRecord) { r.State, r.Channels = stateClosing, []string{"a"} },
		"a request that waits":       func(r *connRecord) { r.State, r.Waiting = stateOpening, []waitRecord{{Channel: "a"}} },
		"a goodbye that waits":       func(r *connRecord) { r.State, r.Waiting = stateClosing, []waitRecord{{Channel: "a"}} },
		"a wait without a name":      func(r *connRecord) { r.Waiting = []waitRecord{{}} },
		"a channel without a name":   func(r *connRecord) { r.Channels = []string{""} },
		"too many channels":          func(r *connRecord) { r.Channels = make([]string, MostChannels+1) },
		"a refused one that is open": func(r *connRecord) { r.Flags = flagRefused },
		"a head that is answered":    func(r *connRecord) { r.Head = []byte("GET") },
		"a key that makes no id":     func(r *connRecord) { r.Key = 1 << 62 },
		"more sent than there is":    func(r *connRecord) { r.Backlog = &backlogRecord{Off: 1} },
	} {
		r := good
		change(&r)
		onLoop(t, lp, func() {
			if _, err := lp.takeUp(&connRecords{Frames: frames, held: make([]*held, 1)}, &r, nil); err == nil {
				t.Errorf("%s: %+v is taken up", name, r)
			}
			if lp.n.sockets.Load() != 0 {
				t.Errorf("%s: it is counted", name)
			}
		})
	}
}

// Where tokens are asked for, nobody comes in without one.
func TestRecordWithoutATokenIsRefused(t *testing.T) {
	t.Parallel()
	_, ask := askForTokens(t)
	s, _ := startServer(t, func(cfg *Config) { ask(cfg); cfg.Loops = 1 })
	onLoop(t, s.loops[0], func() {
		if _, err := s.loops[0].takeUp(new(connRecords), &connRecord{Key: 1, State: stateOpen}, nil); err == nil {
			t.Error("an open connection without an identity is taken up")
		}
	})
}

// A loop may have more connections than the decoder takes elements by default.
func TestManyRecordsAreDecoded(t *testing.T) {
	t.Parallel()
	rs := &connRecords{Conns: make([]connRecord, 150_000)}
	text, err := rs.encode()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := decodeRecords(text); err != nil || len(got.Conns) != len(rs.Conns) {
		t.Errorf("decode: %v", err)
	}
}

// A record of a process whose clock was ahead is taken up as one of now.
func TestRecordsOfTheFuture(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.Loops = 1 })
	dial(t, s)
	lp := s.loops[0]
	onLoop(t, lp, func() {
		rs, c := new(connRecords), lp.conns.at(1)
		lp.add(rs, c)
		gc := c.gc
		lp.release(c)
		r := &rs.Conns[0]
		r.LastSeen, r.Accepted = lp.now()+100, lp.now()+100
		c, err := lp.takeUp(rs, r, gc)
		if err != nil {
			t.Error(err)
			return
		}
		if info := lp.describe(c); info.Age != 0 || info.Idle != 0 {
			t.Errorf("it is %d s old and idle for %d s", info.Age, info.Idle)
		}
	})
}

// Records that were changed at random are refused or taken up, and nothing fails, neither then nor when such a
// connection is read from, written to and given back.
func TestChangedRecords(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, func(cfg *Config) {
		slowConfig(SlowDrop)(cfg)
		cfg.Loops, cfg.MaxPerAddress, cfg.MessageRate = 1, 100, 100
	})
	lp := s.loops[0]
	opening, half, slow := dialRaw(t, s), dial(t, s), dialSlow(t, s)
	opening.write(handshake[:50])
	half.subscribe("a", "b")
	half.write(clientFrame(false, ws.OpText, `{"type":"subscribe",`))
	slow.subscribe("c")
	for i := range 300 {
		feeder.Publish("notifications:c", pad(fmt.Sprint(i+1), 1000))
	}
	holds(t, s, 2*unfinishedCost)
	eventually(t, "it has a backlog", func() bool {
		_, deliveries := waiting(s)
		return deliveries == 300
	})
	onLoop(t, lp, func() { // in one go: gnet must not close what is on no loop
		sockets := make(map[uint64]gnet.Conn)
		rs := new(connRecords)
		for slot := uint32(1); slot <= lp.conns.used; slot++ {
			c := lp.conns.at(slot)
			sockets[c.key] = c.gc
			lp.add(rs, c)
			lp.release(c)
		}
		// And one that is told goodbye.
		closing := rs.Conns[len(rs.Conns)-1]
		closing.State, closing.Channels, closing.Reader = stateClosing, nil, nil
		rs.Conns = append(rs.Conns, closing)
		text, err := rs.encode()
		if err != nil {
			t.Error(err)
		}
		rng, taken := rand.New(rand.NewPCG(11, 11)), 0
		for range 300 {
			changed := bytes.Clone(text)
			for range 1 + rng.IntN(3) {
				at := rng.IntN(len(changed))
				switch rng.IntN(3) {
				case 0:
					changed[at] = byte(rng.Uint32())
				case 1:
					changed = slices.Delete(changed, at, min(at+1+rng.IntN(4), len(changed)))
				default:
					changed[at] ^= 1 << rng.IntN(8)
				}
			}
			got, err := decodeRecords(changed)
			if err != nil {
				continue
			}
			for i := range got.Conns {
				gc := sockets[got.Conns[0].Key]
				if gc == nil {
					continue
				}
				c, err := lp.takeUp(got, &got.Conns[i], gc)
				if err != nil {
					continue
				}
				taken++
				lp.expire(c)
				lp.describe(c)
				lp.flush(c)
				lp.read(c, []byte("\x01"))
				lp.endings = nil
				lp.add(new(connRecords), c)
				lp.release(c)
			}
		}
		if taken < 20 {
			t.Errorf("only %d records are taken up", taken)
		}
		n := lp.n.snapshot()
		if n.Panics+uint64(n.Sockets)+uint64(n.Connections)+uint64(n.Backlogged)+uint64(n.BacklogBytes) != 0 || s.refused.Load() != 0 {
			t.Errorf("left are %d panics, %d sockets, %d connections, %d backlogs of %d bytes, %d refused",
				n.Panics, n.Sockets, n.Connections, n.Backlogged, n.BacklogBytes, s.refused.Load())
		}
		if held := s.inbound.held.Load(); held != 0 || len(s.addresses.count) != 0 || lp.cfg.Interest.Channels() != 0 {
			t.Errorf("left are %d bytes, %d addresses, %d channels", held, len(s.addresses.count), lp.cfg.Interest.Channels())
		}
		got, err := decodeRecords(text) // gnet is to close what it has opened
		if err != nil {
			t.Error(err)
			return
		}
		for key, gc := range sockets {
			r := &got.Conns[slices.IndexFunc(got.Conns, func(r connRecord) bool { return r.Key == key })]
			if _, err := lp.takeUp(got, r, gc); err != nil {
				t.Error(err)
			}
		}
	})
}
