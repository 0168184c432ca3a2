package wire

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/gobwas/ws"
)

// serverFrame is a frame as a server sends it.
func serverFrame(t testing.TB, op ws.OpCode, payload []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := ws.WriteFrame(&out, ws.NewFrame(op, true, payload)); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestNextFrameNeedsEveryByte(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 125, 126, 127, 65535, 65536} {
		payload := bytes.Repeat([]byte{'x'}, n)
		frame := serverFrame(t, ws.OpText, payload)
		for cut := range frame {
			if cut > 200 && cut < len(frame)-200 {
				continue
			}
			if _, _, size, err := NextFrame(frame[:cut]); size != 0 || err != nil {
				t.Fatalf("payload of %d: NextFrame(first %d of %d bytes) = size %d, %v, want to wait for more", n, cut, len(frame), size, err)
			}
		}
		op, got, size, err := NextFrame(append(slices.Clip(frame), "next"...))
		if op != ws.OpText || size != len(frame) || err != nil || !bytes.Equal(got, payload) {
			t.Errorf("payload of %d: NextFrame = %v, %d bytes, size %d, %v, want text, %d, %d, nil", n, op, len(got), size, err, n, len(frame))
		}
	}
}

func TestNextFrameRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		in   []byte
		want error
	}{
		{"masked", []byte{0x81, 0x80, 1, 2, 3, 4}, errMaskedFrame},
		{"reserved bit", []byte{0xc1, 0}, errReservedBit},
		{"not final", []byte{0x01, 0}, errFragmented},
		{"continuation", []byte{0x80, 0}, errFragmented},
		{"too long", []byte{0x81, 127, 0, 0, 0, 0, 1, 0, 0, 0}, errFrameSize},
		{"negative", []byte{0x81, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, errFrameSize},
	} {
		if _, _, _, err := NextFrame(tt.in); !errors.Is(err, tt.want) {
			t.Errorf("%s: NextFrame(%x) = %v, want %v", tt.name, tt.in, err, tt.want)
		}
	}
}

func TestClientFrame(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 5, 125, 126, 300} {
		payload := bytes.Repeat([]byte{'s'}, n)
		frame := bytes.NewBuffer(ClientFrame(ws.OpText, bytes.Clone(payload)))
		h, err := ws.ReadHeader(frame)
		if err != nil || !h.Masked || !h.Fin || h.OpCode != ws.OpText || h.Length != int64(n) {
			t.Fatalf("payload of %d: header %+v, %v, want that of a masked, final text frame", n, h, err)
		}
		plain := frame.Bytes()
		ws.Cipher(plain, h.Mask, 0)
		if !bytes.Equal(plain, payload) {
			t.Errorf("payload of %d arrived as %q", n, plain)
		}
	}
}
