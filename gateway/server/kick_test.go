package server

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/carillon-ws/carillon/protocol"
	"github.com/carillon-ws/carillon/protocol/websocket"
)

func TestKick(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, nil)
	connect := func(user string) (*peer, string) {
		p := dialRaw(t, s)
		p.write(strings.Replace(handshake, "/ws", "/ws?user="+user, 1))
		p.wantStatus(http.StatusSwitchingProtocols)
		return p, p.want("connected").ClientID
	}
	kick := func(k Kick, want int) {
		t.Helper()
		if n, err := s.Kick(t.Context(), k); err != nil || n != want {
			t.Errorf("Kick(%+v) = %d, %v, want %d", k, n, err, want)
		}
	}
	ann, _ := connect("ann")
	ann2, _ := connect("ann")
	bob, bobID := connect("bob")
	cid, cidID := connect("cid")
	kick(Kick{User: "nobody"}, 0)
	kick(Kick{User: "ann"}, 2)
	ann.wantClose(protocol.CloseKicked)
	ann2.wantClose(protocol.CloseKicked)
	kick(Kick{Client: bobID, Return: true}, 1)
	if c := bob.wantClose(protocol.CloseServiceRestart); !strings.HasPrefix(c.reason, "retry=") {
		t.Errorf("reason %q, want a hint", c.reason)
	}
	kick(Kick{Client: bobID}, 0) // it is gone
	for _, id := range []string{"", "x", newClientIDs().of(1), strings.Replace(cidID, "-4", "-3", 1)} {
		if id != "" {
			kick(Kick{Client: id}, 0)
		}
	}
	cid.wantPong()
}

// A kick looks at so many connections at a time.
func TestKickIsSliced(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.Loops = 1 })
	p := dial(t, s)
	lp := s.loops[0]
	onLoop(t, lp, func() {
		for lp.conns.used < 3*kickStep { // records of nobody, as many leave behind
			lp.conns.take()
		}
	})
	if n, err := s.Kick(t.Context(), Kick{User: "nobody"}); n != 0 || err != nil {
		t.Errorf("Kick = %d, %v", n, err)
	}
	p.wantPong()
}

// A kick of many leaves the loop time for others.
func TestKickOfManyIsSliced(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.Loops = 1 })
	const n = 3 * drainStep
	for range n {
		p := dialRaw(t, s)
		p.write(strings.Replace(handshake, "/ws", "/ws?user=ann", 1))
	}
	eventually(t, "all are open", func() bool { return connections(s) == n })
	lp := s.loops[0]
	var ended atomic.Int64
	done := make(chan struct{}, 1)
	onLoop(t, lp, func() {
		lp.kick(1, func(*conn) bool { return true }, func() *websocket.CloseError { return protocol.ErrKicked }, &ended, done)
		if got := ended.Load(); got != drainStep {
			t.Errorf("%d ended at once, want %d", got, drainStep)
		}
	})
	receive(t, "the end of the kick", done)
	if got := ended.Load(); got != n {
		t.Errorf("%d ended, want %d", got, n)
	}
}
