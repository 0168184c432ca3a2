package websocket

import (
	"bytes"
	"encoding/binary"

	"github.com/gobwas/ws"
)

// rsv1 is the bit in the first byte of a frame that marks a compressed message (RFC 7692 section 6).
const rsv1 = 0x40

// HeaderSize returns the size in bytes of the unmasked header of a frame with n bytes of payload (RFC 6455 section 5.2).
func HeaderSize(n int) int {
	switch {
	case n <= 125:
		return 2
	case n <= 0xffff:
		return 4
	default:
		return 10
	}
}

// AppendHeader appends the header of an unmasked, final frame with n bytes of payload.
func AppendHeader(dst []byte, op ws.OpCode, n int) []byte {
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

// AppendControl appends a ping or a pong. payload has at most 125 bytes (RFC 6455 section 5.5).
func AppendControl(dst []byte, op ws.OpCode, payload []byte) []byte {
	dst = AppendHeader(dst, op, len(payload))
	return append(dst, payload...)
}

// Payload returns the payload of a whole unmasked frame. It is a part of framed, not a copy.
func Payload(framed []byte) []byte {
	switch framed[1] {
	case 126:
		return framed[4:]
	case 127:
		return framed[10:]
	default:
		return framed[2:]
	}
}

// headEnd ends an HTTP response head.
const headEnd = "\r\n\r\n"

// CutFrames returns where to cut framed, which is a sequence of whole unmasked frames, so that its first part has whole
// frames and about size bytes: the frames up to and including the first that reaches size. If framed begins with an HTTP
// response, the first part is that response alone: the head of a 101, or all of framed for any other status.
func CutFrames(framed []byte, size int) int {
	if bytes.HasPrefix(framed, []byte("HTTP/1.1 ")) {
		if end := bytes.Index(framed, []byte(headEnd)); end >= 0 && bytes.HasPrefix(framed, []byte("HTTP/1.1 101 ")) {
			return end + len(headEnd)
		}
		return len(framed)
	}
	n := 0
	for n < len(framed) && (n == 0 || n < size) {
		switch length := framed[n+1]; length {
		case 126:
			n += 4 + int(binary.BigEndian.Uint16(framed[n+2:]))
		case 127:
			n += 10 + int(binary.BigEndian.Uint64(framed[n+2:]))
		default:
			n += 2 + int(length)
		}
	}
	return n
}
