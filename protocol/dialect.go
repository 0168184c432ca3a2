package protocol

import (
	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/protocol/websocket"
)

// Dialect is how one kind of connection is spoken to: in which form publications go to it, how answers and goodbyes
// look, and what its messages mean. A connection has one from its handshake to its end. The loop asks the dialect and
// does not know which it is, so that a second wire is a second Dialect.
//
// A Dialect is a constant value without state: it is shared by all connections, and its methods may be called from any
// goroutine.
type Dialect interface {
	// Form is the form in which publications go to the connection.
	Form() Form
	// Inflates reports whether what the client sends may be compressed.
	Inflates() bool
	// Binary reports whether the client may send binary messages.
	Binary() bool
	// AppendMessage appends a message of the gateway. A dialect that has no words for it appends nothing.
	AppendMessage(dst []byte, m *Message) []byte
	// AppendPing appends a question that a living client answers.
	AppendPing(dst []byte) []byte
	// AppendPong appends the answer to a ping of the client. payload is at most 125 bytes.
	AppendPong(dst, payload []byte) []byte
	// AppendClose appends the last words: why the connection ends.
	AppendClose(dst []byte, e *websocket.CloseError) []byte
	// Hear reads a whole data message. It returns the command that it is, or an error of [Decoder.Decode] beside what
	// was read of the command; or no command at all, and dst with an answer that needs nothing but the message. The
	// command is valid until the next call with the same Decoder; ev is not kept.
	Hear(dst []byte, d *Decoder, ev websocket.Event) (out []byte, cmd *Command, err error)
}

// The dialects of wire version 1.
var (
	Carillon         Dialect = carillon{Plain}
	CarillonDeflated Dialect = carillon{Deflated} // for clients that negotiated permessage-deflate
)

// carillon is wire version 1 in WebSocket frames. Answers go uncompressed in either form: most are shorter than what
// is worth compressing.
type carillon struct{ form Form }

func (c carillon) Form() Form     { return c.form }
func (c carillon) Inflates() bool { return c.form == Deflated }
func (carillon) Binary() bool     { return false }

func (carillon) AppendMessage(dst []byte, m *Message) []byte { return AppendMessageFrame(dst, m) }

func (carillon) AppendPing(dst []byte) []byte { return websocket.AppendControl(dst, ws.OpPing, nil) }

func (carillon) AppendPong(dst, payload []byte) []byte {
	return websocket.AppendControl(dst, ws.OpPong, payload)
}

func (carillon) AppendClose(dst []byte, e *websocket.CloseError) []byte {
	return websocket.AppendClose(dst, e)
}

func (carillon) Hear(dst []byte, d *Decoder, ev websocket.Event) ([]byte, *Command, error) {
	cmd, err := d.Decode(ev.Payload)
	return dst, cmd, err
}
