//go:build conformance

package server

import (
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"

	"github.com/carillon-ws/carillon/protocol"
	"github.com/carillon-ws/carillon/protocol/http1"
	"github.com/carillon-ws/carillon/protocol/websocket"
)

// EchoConfig is part of Config. It is empty in every build that is not for conformance tests.
type EchoConfig struct {
	// Echo sends messages back instead of carrying them out, binary ones too, and says nothing unasked, so that suites
	// for echo servers can judge reader, loops and limits, which stay the same.
	Echo bool
}

// echo is the dialect of such connections.
type echo struct{ protocol.Dialect }

func (echo) AcceptsBinary() bool { return true }

// AppendMessage says nothing: an echo server does not speak unasked.
func (echo) AppendMessage(dst []byte, _ *protocol.Message) []byte { return dst }

// Decode answers a message with itself, compressed if that was negotiated, whatever its size: a suite wants every message
// compressed.
func (e echo) Decode(dst []byte, _ *protocol.Decoder, ev websocket.Event) ([]byte, *protocol.Command, error) {
	f := ws.NewFrame(ev.Op, true, ev.Payload)
	if e.Form() == protocol.Deflated {
		f, _ = wsflate.CompressFrame(f) // fails only for control frames and fragments
	}
	return append(dst, ws.MustCompileFrame(f)...), nil, nil
}

var dialectEcho = uint8(len(dialects))

func init() {
	dialects = append(dialects, echo{protocol.Carillon}, echo{protocol.CarillonDeflated})
}

// dialect is the dialect that a request asks for, as dialects counts them.
func (cfg *Config) dialect(req *http1.Request) uint8 {
	d := dialectPlain
	if req.Deflate {
		d = dialectDeflated
	}
	if cfg.Echo {
		d += dialectEcho
	}
	return d
}
