//go:build conformance

package server

import (
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"

	"github.com/carillon-ws/carillon/protocol/websocket"
)

// EchoConfig is part of Config. It is empty in every build that is not for conformance tests.
type EchoConfig struct {
	// Echo sends messages back instead of carrying them out, binary ones too, and says nothing unasked, so that suites
	// for echo servers can judge reader, loops and limits, which stay the same.
	Echo bool
}

func (cfg *Config) echoes() bool { return cfg.Echo }

// echo answers a message with itself, compressed if that was negotiated. It reports false for what is to be handled
// as ever: control frames.
//
// Runs on the loop.
func (lp *loop) echo(c *conn, ev websocket.Event) bool {
	if !lp.cfg.Echo || ev.Op.IsControl() {
		return false
	}
	lp.n.commands.Add(1)
	f := ws.NewFrame(ev.Op, true, ev.Payload)
	if lp.deflate.on.has(c.slot) { // whatever its size: a suite wants every message compressed
		f, _ = wsflate.CompressFrame(f) // fails only for control frames and fragments
	}
	lp.out = append(lp.out, ws.MustCompileFrame(f)...)
	return true
}
