package protocol

import (
	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/protocol/websocket"
)

// Dialect is how the messages of one kind of connection are written and read. A connection has the same Dialect from its
// handshake to its end. The loop calls the methods without knowing which Dialect it has, so a second wire protocol needs a
// second Dialect and no change in the loop.
//
// A Dialect has no state. All connections share it, and its methods may be called from any goroutine. The Append methods
// append to dst and keep no argument.
type Dialect interface {
	// Form returns the form of the publications that are sent to the connection.
	Form() Form
	// AcceptsDeflated reports whether the client may send compressed messages.
	AcceptsDeflated() bool
	// AcceptsBinary reports whether the client may send binary messages.
	AcceptsBinary() bool
	// AppendMessage appends a message to the client. It appends nothing if the Dialect has no such message.
	AppendMessage(dst []byte, m *Message) []byte
	// AppendPing appends a ping, which every client answers.
	AppendPing(dst []byte) []byte
	// AppendPong appends the answer to a ping of the client. payload has at most 125 bytes.
	AppendPong(dst, payload []byte) []byte
	// AppendClose appends the message that ends the connection, with the reason.
	AppendClose(dst []byte, e *websocket.CloseError) []byte
	// Decode reads a whole data message. It returns the command that the loop must carry out. An error is one of
	// [Decoder.Decode]; then cmd has what could be read. cmd is nil if there is nothing to carry out; then Decode may
	// have appended an answer to dst. cmd is valid until d is used again; ev is not kept.
	Decode(dst []byte, d *Decoder, ev websocket.Event) (out []byte, cmd *Command, err error)
}

// The dialects of wire version 1.
var (
	Carillon         Dialect = carillon{Plain}
	CarillonDeflated Dialect = carillon{Deflated} // of clients that negotiated permessage-deflate
)

// carillon is wire version 1 in WebSocket frames. Answers are not compressed: most of them are shorter than
// [websocket.MinDeflate].
type carillon struct{ form Form }

func (c carillon) Form() Form            { return c.form }
func (c carillon) AcceptsDeflated() bool { return c.form == Deflated }
func (carillon) AcceptsBinary() bool     { return false }

func (carillon) AppendMessage(dst []byte, m *Message) []byte { return AppendMessageFrame(dst, m) }

func (carillon) AppendPing(dst []byte) []byte { return websocket.AppendControl(dst, ws.OpPing, nil) }

func (carillon) AppendPong(dst, payload []byte) []byte {
	return websocket.AppendControl(dst, ws.OpPong, payload)
}

func (carillon) AppendClose(dst []byte, e *websocket.CloseError) []byte {
	return websocket.AppendClose(dst, e)
}

func (carillon) Decode(dst []byte, d *Decoder, ev websocket.Event) ([]byte, *Command, error) {
	cmd, err := d.Decode(ev.Payload)
	return dst, cmd, err
}
