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
	dst = hex.AppendEncode(dst, binary.BigEndian.AppendUint32(nil, number))
	dst = hex.AppendEncode(dst, binary.BigEndian.AppendUint64(nil, uint64(intended)))
	for len(dst) < end {
		dst = append(dst, '.')
	}
	return dst
}

// ParseStamp reads number and time from what follows the mark.
func ParseStamp(p []byte) (number uint32, intended int64, ok bool) {
	if len(p) < numberLen+timeLen {
		return 0, 0, false
	}
	var raw [(numberLen + timeLen) / 2]byte
	_, err := hex.Decode(raw[:], p[:numberLen+timeLen])
	return binary.BigEndian.Uint32(raw[:]), int64(binary.BigEndian.Uint64(raw[numberLen/2:])), err == nil
}
