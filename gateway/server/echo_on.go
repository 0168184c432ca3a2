//go:build conformance

package server

import (
	"bytes"
	"compress/flate"

	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/protocol"
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
func (lp *loop) echo(c *conn, ev protocol.Event) bool {
	if !lp.cfg.Echo || ev.Op.IsControl() {
		return false
	}
	lp.n.commands.Add(1)
	f := ws.NewFrame(ev.Op, true, ev.Payload)
	if lp.deflate.on.has(c.slot) {
		f = ws.NewFrame(ev.Op, true, deflated(ev.Payload))
		f.Header.Rsv = ws.Rsv(true, false, false)
	}
	lp.out = append(lp.out, ws.MustCompileFrame(f)...)
	return true
}

// deflated compresses a message as RFC 7692 section 7.2.1 says. What is fanned out is compressed elsewhere, and only
// text that is worth it; a suite wants every message to be.
func deflated(payload []byte) []byte {
	var out bytes.Buffer
	z, _ := flate.NewWriter(&out, flate.BestSpeed) // fails only for levels that do not exist
	_, _ = z.Write(payload)                        // a bytes.Buffer does not fail
	_ = z.Flush()
	return bytes.TrimSuffix(out.Bytes(), []byte("\x00\x00\xff\xff"))
}
