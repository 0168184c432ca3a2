package websocket

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// Limits bound what one peer can make the reader keep. A zero limit is off.
type Limits struct {
	MaxMessage   int  // bytes of one message, over all its fragments
	MaxFragments int  // data frames of one message
	AllowBinary  bool // else a binary message ends with 1003 as soon as its header is read

	// Inflater is set for connections that negotiated permessage-deflate, and nil for all others: a loop has two Limits
	// that differ in it. MaxMessage then bounds both the bytes of a message on the wire and what they inflate to.
	Inflater *Inflater
}

// Event is what a peer said: a whole message, or a control frame. An Op of [ws.OpContinuation] (the zero Event)
// means that the bytes given so far hold no whole one.
type Event struct {
	Op ws.OpCode
	// Payload is unmasked and inflated. It is valid until the next call of Next, of any Reader with the same Inflater,
	// and only while the bytes given to Next are.
	Payload []byte
	// Deflated is how many bytes of a compressed message the payload was inflated from; 0 if it was not compressed.
	// It tells what the message cost to read: up to 0.16 us for each of them, whatever comes out.
	Deflated int
}

// None reports that more bytes are needed.
func (e Event) None() bool { return e.Op == ws.OpContinuation }

// Reader takes one connection's bytes as they come and gives out messages and control frames. Between messages it
// holds nothing but a nil pointer; a frame that arrives whole is unmasked in place and never copied. What is left
// of a partial message is kept in memory that grows with the bytes received, never with a length that the peer
// declared.
//
// However the same bytes are split over calls, the events and the error are the same.
type Reader struct {
	partial *partial
}

// partial is a message, or a frame, of which only a part has arrived.
type partial struct {
	header  [ws.MaxHeaderSize]byte // of the frame being read
	headLen int                    // bytes of it that have arrived; 0 between frames

	frame   ws.Header // valid while inFrame
	inFrame bool      // header is whole, payload is being read
	read    int64     // payload bytes of the frame that have arrived

	op        ws.OpCode // of the unfinished message; OpContinuation when there is none
	deflated  bool      // it is compressed
	message   []byte    // its payload so far, unmasked
	validated int       // bytes of it known to be whole UTF-8 runes
	fragments int

	control []byte // payload so far of a control frame
}

// Mid reports whether a message or frame is unfinished: its deadline runs.
func (r *Reader) Mid() bool { return r.partial != nil }

// Kept returns the bytes of memory that an unfinished message holds.
func (r *Reader) Kept() int {
	if r.partial == nil {
		return 0
	}
	return cap(r.partial.message) + cap(r.partial.control)
}

// Next reads the first event in data and returns how many bytes it used; call it again with the rest. data is
// changed in place (unmasked). An error is always a *[CloseError]; the reader must not be used after one.
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
		if p.op == ws.OpContinuation { // no message is open, and no frame
			r.partial = nil
		}
		if done {
			return ev, used, nil
		}
	}
	return Event{}, used, nil
}

// wholeFrame is the fast path: an unfragmented frame that lies whole in data. used is 0 when it does not apply.
func wholeFrame(data []byte, lim *Limits) (Event, int, error) {
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

// takeHeader gathers the frame's header from data and returns how many bytes it took.
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

// takePayload moves what data holds of the frame's payload, unmasked, to where it is kept.
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

// endFrame closes the frame whose payload is complete; done reports that an event came out of it.
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
		ev.Deflated = len(p.message)
		if ev.Payload, err = lim.Inflater.inflate(p.message, lim.MaxMessage); err != nil {
			return Event{}, false, err
		}
		if p.op == ws.OpText && !utf8.Valid(ev.Payload) {
			return Event{}, false, ErrUTF8
		}
	}
	p.op = ws.OpContinuation // and so Next forgets p
	return ev, true, nil
}

// validUTF8 checks the part of the message that it has not seen yet, failing as soon as no continuation could make
// it valid (RFC 6455 section 8.1). A rune that is cut at the end is left for the next call, unless last.
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

// isDeflated reports whether h begins a compressed message.
func isDeflated(h ws.Header) bool { return h.Rsv == rsv1>>4 }

// allowDeflated reports whether it may: RSV1 is for the first frame of a message (RFC 7692 section 6).
func (lim *Limits) allowDeflated(h ws.Header) bool {
	return isDeflated(h) && lim.Inflater != nil && (h.OpCode == ws.OpText || h.OpCode == ws.OpBinary)
}

// parseHeader reads a frame header (RFC 6455 section 5.2). n is 0 while data is too short for it. It is the slice
// form of ws.ReadHeader, which wants an io.Reader and allocates.
func parseHeader(data []byte, lim *Limits) (h ws.Header, n int, err error) {
	if len(data) < 2 {
		return h, 0, nil
	}
	h.Fin = data[0]&0x80 != 0
	h.Rsv = (data[0] & 0x70) >> 4
	h.OpCode = ws.OpCode(data[0] & 0x0f)
	h.Masked = data[1]&0x80 != 0
	length := data[1] & 0x7f
	// What two bytes are enough to refuse is refused now: the rest may never come.
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

// checkHeader refuses a frame by what its header says, given the unfinished message before it.
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
