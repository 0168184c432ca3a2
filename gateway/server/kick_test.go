package server

import (
	"net/http"
	"strings"
	"testing"

	"github.com/carillon-ws/carillon/protocol"
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

// A kick passes by the records that many connections leave behind.
func TestKickPassesFreeRecords(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.Loops = 1 })
	p := dial(t, s)
	lp := s.loops[0]
	onLoop(t, lp, func() { takeRecords(lp, 10_000) })
	if n, err := s.Kick(t.Context(), Kick{User: "nobody"}); n != 0 || err != nil {
		t.Errorf("Kick = %d, %v", n, err)
	}
	p.wantPong()
}

// takeRecords gives the loop records of nobody, as many connections leave them behind.
func takeRecords(lp *loop, n uint32) {
	for lp.conns.used < n {
		lp.conns.take()
	}
}
