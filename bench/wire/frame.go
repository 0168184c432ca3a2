package wire

import (
	"encoding/binary"
	"errors"

	"github.com/gobwas/ws"
)

// maxFrame is the largest frame that is still a notification: the biggest payload, escaped at its worst, and the
// envelope. More is a server gone wrong, and nothing is kept for it.
const maxFrame = 8 << 20

var (
	errMaskedFrame = errors.New("the server masked a frame (RFC 6455 section 5.1)")
	errReservedBit = errors.New("the server set a reserved bit that was not negotiated")
	errFragmented  = errors.New("the server fragmented a message")
	errFrameSize   = errors.New("the server sent a frame of more than 8 MiB")
)

// NextFrame reads the frame that buf begins with; the payload is a slice of buf. size is its length with the header,
// and 0 while it is not whole.
func NextFrame(buf []byte) (op ws.OpCode, payload []byte, size int, err error) {
	if len(buf) < 2 {
		return 0, nil, 0, nil
	}
	const fin, rsv, masked = 0x80, 0x70, 0x80
	op = ws.OpCode(buf[0] & 0x0f)
	switch {
	case buf[0]&rsv != 0:
		return 0, nil, 0, errReservedBit
	case buf[0]&fin == 0 || op == ws.OpContinuation:
		return 0, nil, 0, errFragmented
	case buf[1]&masked != 0:
		return 0, nil, 0, errMaskedFrame
	}
	head, n := 2, uint64(buf[1])
	switch n {
	case 126:
		head = 4
		if len(buf) < head {
			return 0, nil, 0, nil
		}
		n = uint64(binary.BigEndian.Uint16(buf[2:]))
	case 127:
		head = 10
		if len(buf) < head {
			return 0, nil, 0, nil
		}
		n = binary.BigEndian.Uint64(buf[2:])
	}
	if n > maxFrame {
		return 0, nil, 0, errFrameSize
	}
	size = head + int(n)
	if len(buf) < size {
		return 0, nil, 0, nil
	}
	return op, buf[head:size], size, nil
}

// ClientFrame makes a masked frame. It masks the payload where it lies.
func ClientFrame(op ws.OpCode, payload []byte) []byte {
	return ws.MustCompileFrame(ws.MaskFrameInPlace(ws.NewFrame(op, true, payload)))
}
