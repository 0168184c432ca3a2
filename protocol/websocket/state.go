package websocket

import (
	"bytes"

	"github.com/gobwas/ws"
)

// ReaderState is what a [Reader] knows of an unfinished message, written down: another process can go on reading where
// this one stopped. All fields are copies.
type ReaderState struct {
	Header    []byte `cbor:"1,keyasint,omitempty"` // of the frame that is being read: all of it, or as much as has come
	InFrame   bool   `cbor:"2,keyasint,omitempty"` // the header is whole, payload is being read
	Read      int64  `cbor:"3,keyasint,omitempty"` // payload bytes of the frame that have come
	Op        byte   `cbor:"4,keyasint,omitempty"` // of the unfinished message; 0 when there is none
	Deflated  bool   `cbor:"5,keyasint,omitempty"` // the message is compressed
	Message   []byte `cbor:"6,keyasint,omitempty"` // its payload so far, unmasked
	Validated int    `cbor:"7,keyasint,omitempty"` // bytes of it known to be whole UTF-8 runes
	Fragments int    `cbor:"8,keyasint,omitempty"` // data frames of it, the one that is being read included
	Control   []byte `cbor:"9,keyasint,omitempty"` // payload so far of a control frame
}

// anyForm lets every header pass that is well formed: the limits held when it came.
var anyForm = &Limits{AllowBinary: true, Inflater: new(Inflater)}

// State returns what the reader knows, nil between messages.
func (r *Reader) State() *ReaderState {
	p := r.partial
	if p == nil {
		return nil
	}
	header := p.header[:p.headLen]
	if p.inFrame { // behind the header may stand payload that came with it
		_, n, _ := parseHeader(header, anyForm)
		header = header[:n]
	}
	return &ReaderState{
		Header: bytes.Clone(header), InFrame: p.inFrame, Read: p.read,
		Op: byte(p.op), Deflated: p.deflated, Message: bytes.Clone(p.message), Validated: p.validated, Fragments: p.fragments,
		Control: bytes.Clone(p.control),
	}
}

// ReaderOf returns a Reader that goes on from a state, which it keeps; nil is the state between messages. It reports
// false for a state that no Reader can have been in.
func ReaderOf(s *ReaderState) (r Reader, ok bool) {
	if s == nil {
		return Reader{}, true
	}
	p := &partial{
		inFrame: s.InFrame, read: s.Read,
		op: ws.OpCode(s.Op), deflated: s.Deflated, message: s.Message, validated: s.Validated, fragments: s.Fragments,
		control: s.Control,
	}
	if len(s.Header) > len(p.header) || s.Validated < 0 || s.Validated > len(s.Message) || s.Fragments < 0 {
		return Reader{}, false
	}
	p.headLen = copy(p.header[:], s.Header)
	h, n, err := parseHeader(s.Header, anyForm)
	switch {
	case err != nil, !s.InFrame && n > 0:
		return Reader{}, false
	case s.InFrame:
		if n == 0 || n != len(s.Header) || s.Read < 0 || s.Read > h.Length || !s.fits(h) {
			return Reader{}, false
		}
		p.frame = h
	}
	if !s.InFrame && s.Op == 0 && len(s.Header) == 0 {
		return Reader{}, false
	}
	return Reader{partial: p}, true
}

// fits reports whether what is kept is of the frame that is being read.
func (s *ReaderState) fits(h ws.Header) bool {
	if h.OpCode.IsControl() {
		return int64(len(s.Control)) == s.Read
	}
	return s.Op != 0 && int64(len(s.Message)) >= s.Read
}
