package websocket

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// Limits bound what one client can make the reader keep. A zero limit is off.
type Limits struct {
	MaxMessage   int  // bytes of one message, over all its fragments
	MaxFragments int  // data frames of one message
	AllowBinary  bool // if false, the header of a binary message is an error (1003)

	// Inflater is set for connections that negotiated permessage-deflate, and nil for all others. MaxMessage bounds the
	// bytes of a compressed message on the wire, and also the bytes that they inflate to.
	Inflater *Inflater
}

// Event is a whole message or a control frame from a client. In the zero Event, Op is [ws.OpContinuation]: there is no
// whole one yet.
type Event struct {
	Op ws.OpCode
	// Payload is unmasked and inflated. It may be a part of the bytes that were given to Next, or memory of the Inflater:
	// it is valid until those bytes change, or until the next call of Next of any Reader with the same Inflater.
	Payload []byte
	// Deflated is the size of a compressed message on the wire, 0 if the message was not compressed. It is a measure of
	// the time that inflating took: up to 0.16 us for each byte, even if the payload is short.
	Deflated int
}

// None reports whether e is the zero Event: more bytes are needed.
func (e Event) None() bool { return e.Op == ws.OpContinuation }

// Reader takes one connection's bytes as they arrive and returns messages and control frames. A frame that arrives whole is
// unmasked in place and not copied. Only a message or frame of which a part has arrived is kept. Its memory grows with the
// bytes received, never with a length that the client declared. Between messages a Reader is one nil pointer.
//
// However the same bytes are split over calls, the events and the error are the same.
type Reader struct {
	partial *partial
}

// partial is a message, or a frame, of which only a part has arrived.
type partial struct {
	header  [ws.MaxHeaderSize]byte // of the frame being read
	headLen int                    // bytes in header: a part of it, or all of it and perhaps payload; 0 between frames

	frame   ws.Header // valid while inFrame
	inFrame bool      // the header is whole, the payload is being read
	read    int64     // payload bytes of the frame that have arrived

	op        ws.OpCode // of the unfinished message; OpContinuation if there is none
	deflated  bool      // the message is compressed
	message   []byte    // its payload so far, unmasked
	validated int       // bytes of message known to be whole UTF-8 runes
	fragments int       // its data frames so far, the one that is being read included

	control []byte // payload so far of a control frame
}

// Mid reports whether a message or a frame is unfinished.
func (r *Reader) Mid() bool { return r.partial != nil }

// Kept returns how many bytes of memory the payload of the unfinished message and frame has.
func (r *Reader) Kept() int {
	if r.partial == nil {
		return 0
	}
	return cap(r.partial.message) + cap(r.partial.control)
}

// Next returns the first event in data, and how many bytes of data it used; call it again with the rest. It changes data
// in place (unmasks it). An error is always a *[CloseError]; after one the Reader must not be used.
func (r *Reader) Next(data []byte, lim *Limits) (ev Event, used int, err error) {
	if r.partial == nil {
		ev, used, err = wholeFrame(data, lim)
		if err != nil || used > 0 || len(data) == 0 {
			return ev, used, err
		}
		r.partial = &partial{}
	}
	p := r.partial
	for used < len(data) {
		if !p.inFrame {
			n, err := p.takeHeader(data[used:], lim)
			used += n
			if err != nil {
				return Event{}, used, err
			}
			if !p.inFrame {
				return Event{}, used, nil // the header is not whole yet
			}
		}
		n, err := p.takePayload(data[used:])
		used += n
		if err != nil {
			return Event{}, used, err
		}
		if p.read < p.frame.Length {
			return Event{}, used, nil
		}
		ev, done, err := p.endFrame(lim)
		if err != nil {
			return Event{}, used, err
		}
		if p.op == ws.OpContinuation { // no message and no frame is unfinished
			r.partial = nil
		}
		if done {
			return ev, used, nil
		}
	}
	return Event{}, used, nil
}

// wholeFrame is the fast path: data begins with a whole, unfragmented frame. used is 0 if it does not.
func wholeFrame(data []byte, lim *Limits) (ev Event, used int, err error) {
	h, n, err := parseHeader(data, lim)
	if err != nil || n == 0 {
		return Event{}, 0, err
	}
	if err := checkHeader(h, ws.OpContinuation, 0, 0, lim); err != nil {
		return Event{}, 0, err
	}
	if !h.Fin || int64(len(data)-n) < h.Length {
		return Event{}, 0, nil
	}
	end := n + int(h.Length)
	payload := data[n:end:end]
	ws.Cipher(payload, h.Mask, 0)
	deflated := 0
	if isDeflated(h) {
		deflated = len(payload)
		if payload, err = lim.Inflater.inflate(payload, lim.MaxMessage); err != nil {
			return Event{}, end, err
		}
	}
	if h.OpCode == ws.OpText && !utf8.Valid(payload) {
		return Event{}, end, ErrUTF8
	}
	return Event{h.OpCode, payload, deflated}, end, nil
}

// takeHeader adds bytes from data to the frame's header, and returns how many it took.
func (p *partial) takeHeader(data []byte, lim *Limits) (int, error) {
	had := p.headLen
	p.headLen += copy(p.header[had:], data)
	h, n, err := parseHeader(p.header[:p.headLen], lim)
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return p.headLen - had, nil
	}
	if err := checkHeader(h, p.op, len(p.message), p.fragments, lim); err != nil {
		return n - had, err
	}
	p.frame, p.inFrame, p.read = h, true, 0
	if h.OpCode.IsData() {
		p.fragments++
		if h.OpCode != ws.OpContinuation {
			p.op, p.deflated = h.OpCode, isDeflated(h)
		}
	}
	return n - had, nil
}

// takePayload unmasks the bytes in data that belong to the frame's payload, keeps a copy, and returns how many there are.
func (p *partial) takePayload(data []byte) (int, error) {
	n := int(min(int64(len(data)), p.frame.Length-p.read))
	part := data[:n]
	ws.Cipher(part, p.frame.Mask, int(p.read&3))
	p.read += int64(n)
	if p.frame.OpCode.IsControl() {
		p.control = append(p.control, part...)
		return n, nil
	}
	p.message = append(p.message, part...)
	if p.op == ws.OpText && !p.deflated && !p.validUTF8(p.frame.Fin && p.read == p.frame.Length) {
		return n, ErrUTF8
	}
	return n, nil
}

// endFrame ends the frame, whose payload has arrived. done reports whether ev is an event.
func (p *partial) endFrame(lim *Limits) (ev Event, done bool, err error) {
	p.inFrame, p.headLen = false, 0
	if p.frame.OpCode.IsControl() {
		ev = Event{Op: p.frame.OpCode, Payload: p.control}
		p.control = nil
		return ev, true, nil
	}
	if !p.frame.Fin {
		return Event{}, false, nil
	}
	ev = Event{Op: p.op, Payload: p.message}
	if p.deflated {
		if lim.Inflater == nil { // the state of the reader is from a connection with compression
			return Event{}, false, ErrReservedBits
		}
		ev.Deflated = len(p.message)
		if ev.Payload, err = lim.Inflater.inflate(p.message, lim.MaxMessage); err != nil {
			return Event{}, false, err
		}
		if p.op == ws.OpText && !utf8.Valid(ev.Payload) {
			return Event{}, false, ErrUTF8
		}
	}
	p.op = ws.OpContinuation // Next frees p
	return ev, true, nil
}

// validUTF8 checks the part of the message that it has not checked yet. It returns false as soon as no more bytes could
// make the message valid (RFC 6455 section 8.1). If the part ends within a rune, the next call checks that rune, unless
// last is set.
func (p *partial) validUTF8(last bool) bool {
	rest := p.message[p.validated:]
	end := len(rest)
	if !last {
		for i := 1; i < utf8.UTFMax && i <= len(rest); i++ {
			if at := len(rest) - i; utf8.RuneStart(rest[at]) {
				if !utf8.FullRune(rest[at:]) {
					end = at
				}
				break
			}
		}
	}
	if !utf8.Valid(rest[:end]) {
		return false
	}
	p.validated += end
	return true
}

// isDeflated reports whether h is the first header of a compressed message.
func isDeflated(h ws.Header) bool { return h.Rsv == rsv1>>4 }

// allowDeflated reports whether h may have RSV1 set: only on the first frame of a message (RFC 7692 section 6), and only if
// compression was negotiated.
func (lim *Limits) allowDeflated(h ws.Header) bool {
	return isDeflated(h) && lim.Inflater != nil && (h.OpCode == ws.OpText || h.OpCode == ws.OpBinary)
}

// parseHeader reads a frame header (RFC 6455 section 5.2) and returns its size n, or 0 if data is too short. It does what
// ws.ReadHeader does, which needs an io.Reader and allocates.
func parseHeader(data []byte, lim *Limits) (h ws.Header, n int, err error) {
	if len(data) < 2 {
		return h, 0, nil
	}
	h.Fin = data[0]&0x80 != 0
	h.Rsv = (data[0] & 0x70) >> 4
	h.OpCode = ws.OpCode(data[0] & 0x0f)
	h.Masked = data[1]&0x80 != 0
	length := data[1] & 0x7f
	// Refuse now what two bytes are enough to refuse: the rest may never arrive.
	switch {
	case h.Rsv != 0 && !lim.allowDeflated(h):
		return h, 0, ErrReservedBits
	case h.OpCode.IsReserved():
		return h, 0, ErrReservedOpCode
	case !h.Masked:
		return h, 0, ErrUnmasked
	case h.OpCode.IsControl() && !h.Fin:
		return h, 0, ErrControlSplit
	case h.OpCode.IsControl() && length > ws.MaxControlFramePayloadSize:
		return h, 0, ErrControlTooLong
	}
	n = 2
	switch length {
	case 126:
		if len(data) < n+2 {
			return h, 0, nil
		}
		h.Length = int64(binary.BigEndian.Uint16(data[n:]))
		n += 2
	case 127:
		if len(data) < n+8 {
			return h, 0, nil
		}
		v := binary.BigEndian.Uint64(data[n:])
		if v>>63 != 0 {
			return h, 0, ErrLength
		}
		h.Length = int64(v)
		n += 8
	default:
		h.Length = int64(length)
	}
	if len(data) < n+len(h.Mask) {
		return h, 0, nil
	}
	copy(h.Mask[:], data[n:])
	return h, n + len(h.Mask), nil
}

// checkHeader checks the header of a frame against the limits and the unfinished message: its opcode open, and the bytes
// and fragments that have arrived.
func checkHeader(h ws.Header, open ws.OpCode, have, fragments int, lim *Limits) error {
	if h.OpCode.IsControl() {
		return nil
	}
	switch {
	case h.OpCode == ws.OpContinuation && open == ws.OpContinuation:
		return ErrContinuation
	case h.OpCode != ws.OpContinuation && open != ws.OpContinuation:
		return ErrNoContinuation
	case h.OpCode == ws.OpBinary && !lim.AllowBinary:
		return ErrBinary
	case lim.MaxMessage > 0 && h.Length > int64(lim.MaxMessage-have):
		return ErrMessageTooBig
	case lim.MaxFragments > 0 && fragments >= lim.MaxFragments:
		return ErrTooManyFrames
	}
	return nil
}
