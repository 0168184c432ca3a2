package websocket

import (
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// A reader that is written down between any two bytes, and goes on elsewhere, gives out the same as one that is not.
func TestReaderState(t *testing.T) {
	lim := &Limits{MaxMessage: 1 << 20, MaxFragments: 16, AllowBinary: true, Inflater: new(Inflater)}
	split := join(frame(byte(ws.OpText), "κόσ"), frame(fin|byte(ws.OpPing), "are you there"), frame(fin, "με"))
	for _, tc := range []struct {
		name string
		wire []byte
	}{
		{"whole frames", join(text("one"), text("two"), text(""))},
		{"fragments with a ping between", split},
		{"a length of 16 bits", text(strings.Repeat("x", 1000))},
		{"compressed", frame(fin|rsv1|byte(ws.OpText), compressed(t, notification(600), 6))},
		{"bad UTF-8 in the second fragment", join(frame(byte(ws.OpText), "\xce"), frame(fin, "\x41"))},
	} {
		t.Run(tc.name, func(t *testing.T) {
			want := readAll(t, lim, append([]byte(nil), tc.wire...))
			for at := range len(tc.wire) + 1 {
				got := readMoved(t, lim, tc.wire, at)
				if got != want {
					t.Fatalf("moved after %d of %d bytes: %v, want %v", at, len(tc.wire), got, want)
				}
			}
		})
	}
}

// readMoved reads wire with a reader that is replaced by what its state makes after the first at bytes.
func readMoved(t *testing.T, lim *Limits, wire []byte, at int) (out outcome) {
	t.Helper()
	var r Reader
	for i, data := range [][]byte{append([]byte(nil), wire[:at]...), append([]byte(nil), wire[at:]...)} {
		if i == 1 {
			moved, ok := ReaderOf(r.State())
			if !ok {
				t.Fatalf("after %d bytes the state %+v is refused", at, r.State())
			}
			r = moved
		}
		for len(data) > 0 {
			ev, used, err := r.Next(data, lim)
			if err != nil {
				out.err = err
				return out
			}
			data = data[used:]
			if !ev.None() {
				out.events += said(ev.Op, string(ev.Payload))
			}
		}
	}
	out.mid = r.Mid()
	return out
}

func TestReaderOfRefuses(t *testing.T) {
	for _, s := range []*ReaderState{
		{},
		{Header: make([]byte, 15)},
		{Header: []byte{0x81}, InFrame: true},
		{Header: []byte{0x81, 0x85, 1, 2, 3, 4}, InFrame: true, Read: 6},
		{Op: 1, Message: []byte("x"), Validated: 2},
		{Op: 1, Fragments: -1},
		{Op: 1, Header: []byte{0x80, 0x85, 1, 2, 3, 4, 5, 6, 7, 8}},                            // a whole header that is not read
		{Header: []byte{0x81, 0x85, 1, 2, 3, 4}, InFrame: true, Message: []byte("x"), Read: 1}, // of no message
		{Op: 1, Header: []byte{0x81, 0x85, 1, 2, 3, 4}, InFrame: true, Read: 1},                // more read than there is
		{Header: []byte{0x89, 0x85, 1, 2, 3, 4}, InFrame: true, Control: []byte("xx"), Read: 1},
	} {
		if _, ok := ReaderOf(s); ok {
			t.Errorf("ReaderOf(%+v) is accepted", s)
		}
	}
}
