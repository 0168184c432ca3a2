package websocket

import (
	"bytes"

	"github.com/gobwas/ws"
)

// ReaderState is what a [Reader] keeps of an unfinished message, as plain values. Another process can make a Reader of it
// and go on reading. All fields are copies.
type ReaderState struct {
	Header    []byte `cbor:"1,keyasint,omitempty"` // of the frame that is being read: all of it, or the part that has arrived
	InFrame   bool   `cbor:"2,keyasint,omitempty"` // the header is whole, payload is being read
	Read      int64  `cbor:"3,keyasint,omitempty"` // payload bytes of the frame that have arrived; means nothing unless InFrame
	Op        byte   `cbor:"4,keyasint,omitempty"` // of the unfinished message; 0 if there is none
	Deflated  bool   `cbor:"5,keyasint,omitempty"` // the message is compressed
	Message   []byte `cbor:"6,keyasint,omitempty"` // its payload so far, unmasked
	Validated int    `cbor:"7,keyasint,omitempty"` // bytes of it known to be whole UTF-8 runes
	Fragments int    `cbor:"8,keyasint,omitempty"` // its data frames so far, the one that is being read included
	Control   []byte `cbor:"9,keyasint,omitempty"` // payload so far of a control frame, unmasked
}

// anyForm are limits that every well-formed header passes. The connection's limits were applied when the header arrived.
var anyForm = &Limits{AllowBinary: true, Inflater: new(Inflater)}

// State returns the state of the reader, nil between messages.
func (r *Reader) State() *ReaderState {
	p := r.partial
	if p == nil {
		return nil
	}
	header := p.header[:p.headLen]
	if p.inFrame { // payload that arrived with the header may follow it
		_, n, _ := parseHeader(header, anyForm)
		header = header[:n]
	}
	return &ReaderState{
		Header: bytes.Clone(header), InFrame: p.inFrame, Read: p.read,
		Op: byte(p.op), Deflated: p.deflated, Message: bytes.Clone(p.message), Validated: p.validated, Fragments: p.fragments,
		Control: bytes.Clone(p.control),
	}
}

// ReaderOf returns a Reader that goes on from s and takes over its slices; nil is the state between messages. ok is false
// for a state that no Reader can have. Without [Limits.Inflater], a message with s.Deflated ends with [ErrReservedBits].
func ReaderOf(s *ReaderState) (r Reader, ok bool) {
	if s == nil {
		return Reader{}, true
	}
	frame, n, err := parseHeader(s.Header, anyForm)
	switch {
	case err != nil || !s.messageIsPossible():
		return Reader{}, false
	case s.InFrame && (n == 0 || n != len(s.Header) || !s.frameIsPossible(frame)):
		return Reader{}, false
	case !s.InFrame && (n != 0 || len(s.Control) > 0): // a whole header is followed by its payload at once
		return Reader{}, false
	case !s.InFrame && s.Op == 0 && len(s.Header) == 0: // nothing is unfinished
		return Reader{}, false
	}
	p := &partial{
		frame: frame, inFrame: s.InFrame, read: s.Read,
		op: ws.OpCode(s.Op), deflated: s.Deflated, message: s.Message, validated: s.Validated, fragments: s.Fragments,
		control: s.Control,
	}
	p.headLen = copy(p.header[:], s.Header)
	return Reader{partial: p}, true
}

// messageIsPossible reports whether the fields that describe the unfinished message agree.
func (s *ReaderState) messageIsPossible() bool {
	switch ws.OpCode(s.Op) {
	case ws.OpContinuation: // there is none
		return s.Fragments == 0 && len(s.Message) == 0 && s.Validated == 0 && !s.Deflated
	case ws.OpText, ws.OpBinary:
		return s.Fragments > 0 && s.Validated >= 0 && s.Validated <= len(s.Message)
	default:
		return false
	}
}

// frameIsPossible reports whether the frame that is being read, whose header is h, agrees with the other fields.
func (s *ReaderState) frameIsPossible(h ws.Header) bool {
	if s.Read < 0 || s.Read >= h.Length { // a frame whose payload is whole has ended
		return false
	}
	switch h.OpCode {
	case ws.OpText, ws.OpBinary: // the message begins with this frame
		return len(s.Control) == 0 && byte(h.OpCode) == s.Op && s.Fragments == 1 && isDeflated(h) == s.Deflated &&
			int64(len(s.Message)) == s.Read
	case ws.OpContinuation:
		return len(s.Control) == 0 && s.Op != 0 && s.Fragments > 1 && int64(len(s.Message)) >= s.Read
	default:
		return int64(len(s.Control)) == s.Read
	}
}
