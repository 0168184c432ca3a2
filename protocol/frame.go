package protocol

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sync/atomic"
	"unicode/utf8"

	"github.com/gobwas/ws"
	"github.com/valyala/bytebufferpool"
)

// Frame is one complete WebSocket frame to a client, header and payload, made once and never changed. Any number
// of connections on any number of loops share it by reference.
type Frame struct {
	bytes     []byte
	channel   string
	deflation atomic.Pointer[deflation] // see Deflated: the same message, compressed
}

// Bytes returns the frame as it goes on the wire. The slice is shared: do not change it.
func (f *Frame) Bytes() []byte { return f.bytes }

// Len is the frame's size on the wire in bytes.
func (f *Frame) Len() int { return len(f.bytes) }

// Channel is the channel of a notification, in its short form, and empty for every other frame. A frame with a
// channel may be dropped from a slow consumer's backlog (and told as a gap); one without may not.
func (f *Frame) Channel() string { return f.channel }

// NewNotification encodes a publication, the only time it is encoded: envelope and frame header in one piece of
// memory. takenAt is when the gateway took it from Redis, in Unix milliseconds. replaced counts the bytes of data
// that were not UTF-8.
func NewNotification(channel, data string, takenAt int64) (f *Frame, replaced int) {
	m := Message{Type: MessageNotification, Channel: channel, Data: data, Timestamp: takenAt}
	f, replaced = newFrame(&m)
	f.channel = channel
	return f, replaced
}

// NewFrame encodes any other message as a frame that can be shared and kept.
func NewFrame(m *Message) *Frame {
	f, _ := newFrame(m)
	return f
}

// FrameOf copies bytes that are already framed into a Frame of their own, for a backlog to keep. They may be the rest
// of a frame, or several: they have no deflated form.
func FrameOf(framed []byte) *Frame {
	f := &Frame{bytes: append(make([]byte, 0, len(framed)), framed...)}
	f.deflation.Store(notDeflated)
	return f
}

func newFrame(m *Message) (*Frame, int) {
	scratch := bytebufferpool.Get()
	// The pool gives back no buffer over the size that is usual, so an unusually long message comes to a short one:
	// make room for it and some escapes at once, instead of by doubling.
	const long = 1024
	if n := len(m.Data); n > long {
		scratch.B = slices.Grow(scratch.B[:0], n+n/4)
	}
	payload, replaced := AppendMessage(scratch.B[:0], m)
	exact := make([]byte, 0, headerSize(len(payload))+len(payload))
	exact = appendHeader(exact, ws.OpText, len(payload))
	exact = append(exact, payload...)
	scratch.B = payload
	bytebufferpool.Put(scratch)
	return &Frame{bytes: exact}, replaced
}

// AppendMessageFrame appends m as a text frame, for answers that are written at once and never kept.
func AppendMessageFrame(dst []byte, m *Message) []byte {
	// The header's size is known only after the payload: leave room for the usual one and move what is longer.
	const room = 2
	at := len(dst)
	dst = append(dst, make([]byte, room)...)
	dst, _ = AppendMessage(dst, m)
	n := len(dst) - at - room
	if grow := headerSize(n) - room; grow > 0 {
		dst = append(dst, make([]byte, grow)...)
		copy(dst[at+room+grow:], dst[at+room:at+room+n])
	}
	appendHeader(dst[:at], ws.OpText, n)
	return dst
}

// AppendControlFrame appends a ping or pong. payload is at most 125 bytes (RFC 6455 section 5.5).
func AppendControlFrame(dst []byte, op ws.OpCode, payload []byte) []byte {
	dst = appendHeader(dst, op, len(payload))
	return append(dst, payload...)
}

// maxCloseReason is what a control frame leaves beside the code (RFC 6455 sections 5.5 and 5.5.1).
const maxCloseReason = ws.MaxControlFramePayloadSize - 2

// AppendCloseFrame appends the close frame of e. A code of zero (or 1005, which must not be sent) gives an empty
// one, the answer to an empty one. A reason that does not fit is cut between two runes.
func AppendCloseFrame(dst []byte, e *CloseError) []byte {
	if e.Code == 0 || e.Code == closeNoStatusReceived {
		return appendHeader(dst, ws.OpClose, 0)
	}
	reason := e.Reason
	if len(reason) > maxCloseReason {
		end := maxCloseReason
		for end > 0 && !utf8.RuneStart(reason[end]) {
			end--
		}
		reason = reason[:end]
	}
	dst = appendHeader(dst, ws.OpClose, 2+len(reason))
	dst = binary.BigEndian.AppendUint16(dst, uint16(e.Code))
	return append(dst, reason...)
}

// headerSize is the size of an unmasked header before n bytes of payload (RFC 6455 section 5.2).
func headerSize(n int) int {
	switch {
	case n <= 125:
		return 2
	case n <= 0xffff:
		return 4
	default:
		return 10
	}
}

// CutFrames returns how many of the first bytes of framed, which is a sequence of whole frames to a client, are frames
// that together have about size bytes: at least one frame. A 101 response may stand before them; it is not cut, and
// neither is any other HTTP response.
func CutFrames(framed []byte, size int) int {
	if bytes.HasPrefix(framed, []byte("HTTP/1.1 ")) {
		if end := bytes.Index(framed, headEnd); end >= 0 && bytes.HasPrefix(framed, []byte("HTTP/1.1 101 ")) {
			return end + len(headEnd)
		}
		return len(framed)
	}
	n := 0
	for n < len(framed) && (n == 0 || n < size) {
		switch length := framed[n+1]; length {
		case 126:
			n += headerSize(126) + int(binary.BigEndian.Uint16(framed[n+2:]))
		case 127:
			n += headerSize(0x10000) + int(binary.BigEndian.Uint64(framed[n+2:]))
		default:
			n += headerSize(0) + int(length)
		}
	}
	return n
}

// appendHeader appends the header of an unmasked, final frame.
func appendHeader(dst []byte, op ws.OpCode, n int) []byte {
	const fin = 0x80
	dst = append(dst, fin|byte(op))
	switch {
	case n <= 125:
		return append(dst, byte(n))
	case n <= 0xffff:
		dst = append(dst, 126)
		return binary.BigEndian.AppendUint16(dst, uint16(n))
	default:
		dst = append(dst, 127)
		return binary.BigEndian.AppendUint64(dst, uint64(n))
	}
}
