package wire

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
)

// A publication's payload begins with a stamp: the mark of this run, the publication's number, and the time it was
// meant to be sent. All of it is hexadecimal of fixed width, so that reading it costs no decoding of JSON, and no
// character of it needs an escape, so that it arrives as it left.
//
//	cb 1f2e3d4c | 0000002a | 18b7f3c29a4e1d00 | ......
//	   run id     number     Unix nanoseconds   padding
const (
	MarkLen   = 2 + 8
	numberLen = 8
	timeLen   = 16
	StampLen  = MarkLen + numberLen + timeLen

	MaxPayload = 1 << 20
)

// NewMark makes the mark of a run: what other runs publish on the same Redis is not ours to count.
func NewMark() string {
	return "cb" + hex.EncodeToString(binary.BigEndian.AppendUint32(nil, rand.Uint32()))
}

// AppendPayload appends a payload of size bytes.
func AppendPayload(dst []byte, mark string, number uint32, intended int64, size int) []byte {
	end := len(dst) + size
	dst = append(dst, mark...)
	dst = appendHex(dst, uint64(number), numberLen)
	dst = appendHex(dst, uint64(intended), timeLen)
	for len(dst) < end {
		dst = append(dst, '.')
	}
	return dst
}

func appendHex(dst []byte, v uint64, digits int) []byte {
	const alphabet = "0123456789abcdef"
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		dst = append(dst, alphabet[v>>shift&0xf])
	}
	return dst
}

// ParseStamp reads number and time from what follows the mark.
func ParseStamp(p []byte) (number uint32, intended int64, ok bool) {
	if len(p) < numberLen+timeLen {
		return 0, 0, false
	}
	n, ok1 := parseHex(p[:numberLen])
	t, ok2 := parseHex(p[numberLen : numberLen+timeLen])
	return uint32(n), int64(t), ok1 && ok2
}

func parseHex(p []byte) (v uint64, ok bool) {
	var bad byte
	for _, c := range p {
		d := hexValue[c]
		bad |= d
		v = v<<4 | uint64(d&0xf)
	}
	return v, bad&0xf0 == 0
}

// hexValue maps a digit to its value and everything else to 0xff.
var hexValue = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i, c := range []byte("0123456789abcdef") {
		t[c] = byte(i)
	}
	return t
}()
