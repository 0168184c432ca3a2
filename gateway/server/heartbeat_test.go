package server

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/protocol"
)

func TestHeartbeat(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.PingInterval = time.Second })
	t.Run("silent", func(t *testing.T) {
		t.Parallel()
		p := dial(t, s)
		p.wantOp(ws.OpPing, "")
		p.wantOp(ws.OpClose, string(ws.NewCloseFrameBody(protocol.CloseHeartbeatMissed, "heartbeat missed")))
		p.wantEOF()
	})
	t.Run("answers", func(t *testing.T) {
		t.Parallel()
		p := dial(t, s)
		for range 4 {
			p.wantOp(ws.OpPing, "")
			p.write(clientFrame(true, ws.OpPong, ""))
		}
	})
	t.Run("any byte proves life", func(t *testing.T) {
		t.Parallel()
		p := dial(t, s)
		frame := clientFrame(true, ws.OpText, `{"type":"ping"}`)
		for i := range 4 { // a byte of a frame that is never finished
			p.wantOp(ws.OpPing, "")
			p.write(frame[i : i+1])
		}
		p.wantOp(ws.OpPing, "")
		p.wantClose(protocol.CloseHeartbeatMissed)
	})
	t.Run("hearing is not living", func(t *testing.T) {
		t.Parallel()
		p := dial(t, s)
		p.subscribe("a")
		for {
			op, payload, err := p.frame()
			if err != nil {
				t.Fatal(err)
			}
			if op == ws.OpClose {
				if code, _ := ws.ParseCloseFrameData(payload); code != protocol.CloseHeartbeatMissed {
					t.Errorf("close %d, want 4101", code)
				}
				return
			}
		}
	})
}

// Without an interval nobody is asked, and nobody is closed for being silent.
func TestNoHeartbeat(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.Loops = 1 })
	p := dial(t, s)
	onLoop(t, s.loops[0], func() {
		if c := s.loops[0].conns.at(1); c.due != 0 {
			t.Errorf("an idle connection is on the wheel, for second %d", c.due)
		}
	})
	p.wantPong()
}

// Clients that come together, as after a restart, are not pinged together.
func TestFirstHeartbeatsAreSpread(t *testing.T) {
	t.Parallel()
	const interval = 100
	s, _ := startServer(t, func(cfg *Config) { cfg.Loops, cfg.PingInterval = 1, interval*time.Second })
	const n = 200
	for range n {
		p := dial(t, s)
		p.subscribe("a") // as clients do: it is a sign of life
	}
	lp := s.loops[0]
	onLoop(t, lp, func() {
		// Runs the wheel's clock ahead: who would be pinged in which second?
		pings := make(map[uint32]int)
		for slot := uint32(1); slot <= lp.conns.used; slot++ {
			c := lp.conns.at(slot)
			due := lp.pingAt(c)
			if early := c.lastSeen + interval - due; early > interval/4 {
				t.Fatalf("pinged %d s early", early)
			}
			pings[due]++
		}
		for second, k := range pings {
			if k > n/4 {
				t.Errorf("%d of %d are pinged in second %d", k, n, second)
			}
		}
	})
}

// A page cannot see pings: with a heartbeat it is promised a message, and gets it, without saying a word.
func TestMessageHeartbeat(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.Heartbeat = 2 * time.Second })
	p := dialRaw(t, s)
	p.write(handshake)
	p.wantStatus(http.StatusSwitchingProtocols)
	if m := p.want("connected"); m.Heartbeat != 2000 {
		t.Errorf("connected %+v, want heartbeatMs 2000", m)
	}
	last := p.want("pong").Timestamp
	for range 3 { // by the gateway's own clock: this reader may be late
		next := p.want("pong").Timestamp
		if silent := next - last; silent > 2000 {
			t.Errorf("silent for %d ms, promised were 2,000", silent)
		}
		last = next
	}
}

// Around the end of a second, too, the first heartbeat comes behind the 101.
func TestHeartbeatDoesNotOvertakeTheHandshake(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.Heartbeat, cfg.Loops = 2*time.Second, 1 })
	lp := s.loops[0]
	dialRaw(t, s)
	eventually(t, "it is accepted", func() bool { return sockets(s) == 1 })
	for range 3 {
		onLoop(t, lp, func() {
			c := lp.conns.at(1)
			lp.wheel.remove(&lp.conns, c)
			before := lp.n.sentBytes.Load()
			second := int64(time.Second)
			for boundary := (fanout.Monotonic()/second + 1) * second; fanout.Monotonic() < boundary+1000; {
				c.lastSeen = lp.now()
				lp.startHeartbeat(c)
				lp.expireOpen(c, c.lastSeen)
				lp.wheel.remove(&lp.conns, c)
			}
			if sent := lp.n.sentBytes.Load() - before; sent != 0 {
				t.Errorf("%d bytes leave before the 101", sent)
			}
		})
	}
}

// A ping that goes out late, because the loop was away, is judged from when it was sent.
func TestLatePingIsJudgedFromWhenItWasSent(t *testing.T) {
	t.Parallel()
	for _, late := range []uint32{0, 8, 300} {
		s, _ := startServer(t, func(cfg *Config) { cfg.Loops, cfg.PingInterval, cfg.PongTimeout = 1, time.Hour, 4*time.Second })
		dial(t, s)
		lp := s.loops[0]
		onLoop(t, lp, func() { // the clock of these calls runs ahead: nothing here waits
			c := lp.conns.at(1)
			sentAt := lp.pingAt(c) + late
			lp.expireOpen(c, sentAt)
			if c.flags&flagPinged == 0 {
				t.Errorf("%d s late: no ping was sent", late)
			}
			lp.expireOpen(c, sentAt+3)
			if c.flags&flagEnding != 0 {
				t.Errorf("%d s late: ended 3 s after its ping, a pong may take 4", late)
			}
			lp.expireOpen(c, sentAt+4)
			if c.flags&flagEnding == 0 {
				t.Errorf("%d s late: not ended 4 s after its ping", late)
			}
		})
	}
}

// A slow consumer that takes bytes is alive, although its ping would wait behind its backlog. What does not move is for
// -max-backlog-age to judge.
func TestProgressOfABacklogIsLife(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, func(cfg *Config) {
		slowConfig(SlowClose)(cfg)
		cfg.MaxBacklog, cfg.MaxBacklogAge = 64<<20, 1000*time.Hour
		cfg.PingInterval, cfg.PongTimeout = time.Hour, 4*time.Second
	})
	lp := s.loops[0]
	for _, pinged := range []bool{false, true} { // before the backlog began
		p := dialSlow(t, s)
		p.subscribe("a")
		slot := uint32(0)
		onLoop(t, lp, func() {
			for slot = 1; lp.conns.at(slot).state != stateOpen; slot++ { // the record of the one before may still be there
			}
			if c := lp.conns.at(slot); pinged {
				lp.expireOpen(c, lp.pingAt(c))
			}
		})
		if pinged {
			p.wantOp(ws.OpPing, "")
		}
		data := strings.Repeat("x", 4<<20)
		feeder.Publish("notifications:a", data)
		eventually(t, "there is a backlog", func() bool { return sum(s, func(n LoopStats) int64 { return n.Backlogged }) == 1 })
		onLoop(t, lp, func() {
			c := lp.conns.at(slot)
			for _, after := range []uint32{0, 4, 1000} {
				lp.expireOpen(c, lp.pingAt(c)+after)
			}
			if c.flags&flagEnding != 0 {
				t.Errorf("pinged before: %t: ended for a missing pong, with a backlog that moves", pinged)
			}
		})
		p.wantNotification("a", data) // and no ping before it
		eventually(t, "the backlog is gone", func() bool { return sum(s, func(n LoopStats) int64 { return n.Backlogged }) == 0 })
		onLoop(t, lp, func() { // from here on it is asked again
			c := lp.conns.at(slot)
			if idle := lp.now() - c.lastSeen; idle > 60 || c.flags&flagPinged != 0 || c.due == 0 {
				t.Errorf("pinged before: %t: after the backlog: idle for %d s, flags %b, due %d", pinged, idle, c.flags, c.due)
			}
			sentAt := lp.pingAt(c)
			lp.expireOpen(c, sentAt)
			lp.expireOpen(c, sentAt+4)
			lp.settle(1 << 62)
		})
		p.wantOp(ws.OpPing, "")
		p.wantClose(protocol.CloseHeartbeatMissed)
		_ = p.nc.Close()
		eventually(t, "its socket is given back", func() bool { return sockets(s) == 0 })
	}
}
