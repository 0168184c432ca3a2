package server

import (
	"net/http"
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
			if early := c.seen + interval - due; early > interval/4 {
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
				c.seen = lp.now()
				lp.startBeat(c)
				lp.expireOpen(c, c.seen)
				lp.wheel.remove(&lp.conns, c)
			}
			if sent := lp.n.sentBytes.Load() - before; sent != 0 {
				t.Errorf("%d bytes leave before the 101", sent)
			}
		})
	}
}
