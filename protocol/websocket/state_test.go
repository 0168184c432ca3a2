package websocket

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// The state of a reader is taken after any number of bytes, and another reader goes on from it. Both together give out what
// one reader gives out.
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

// readMoved reads the first at bytes of wire with one reader, and the rest with a reader made of the state of the first.
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
	part := func(b ...byte) []byte { return b }
	textHeader := part(0x81, 0x85, 1, 2, 3, 4)
	pingHeader := part(0x89, 0x85, 1, 2, 3, 4)
	more := part(0x80, 0x85, 1, 2, 3, 4)
	for _, tc := range []struct {
		name  string
		state ReaderState
	}{
		{"nothing is unfinished", ReaderState{}},
		{"a header is too long", ReaderState{Header: make([]byte, 15)}},
		{"a header is whole, and no frame is open", ReaderState{Header: textHeader}},
		{"more than a header, and no frame is open", ReaderState{Header: append(bytes.Clone(textHeader), make([]byte, 8)...)}},
		{"the beginning of a header is bad", ReaderState{Header: part(0x83, 0x85)}},
		{"a frame without a header", ReaderState{InFrame: true, Op: 1, Fragments: 1}},
		{"a frame with a part of a header", ReaderState{Header: textHeader[:1], InFrame: true, Op: 1, Fragments: 1}},
		{"a frame has more than its payload", ReaderState{Header: textHeader, InFrame: true, Read: 6, Op: 1, Message: []byte("123456"), Fragments: 1}},
		{"a frame has all of its payload", ReaderState{Header: textHeader, InFrame: true, Read: 5, Op: 1, Message: []byte("12345"), Fragments: 1}},
		{"a frame has less than nothing", ReaderState{Header: textHeader, InFrame: true, Read: -1, Op: 1, Fragments: 1}},
		{"a frame's payload is not in the message", ReaderState{Header: textHeader, InFrame: true, Read: 2, Op: 1, Message: []byte("1"), Fragments: 1}},
		{"a data frame without a message", ReaderState{Header: textHeader, InFrame: true, Fragments: 1}},
		{"a continuation without a message", ReaderState{Header: more, InFrame: true, Fragments: 1}},
		{"a text frame in a binary message", ReaderState{Header: textHeader, InFrame: true, Op: 2, Fragments: 1}},
		{"a message of an unknown kind", ReaderState{Op: 3, Fragments: 1}},
		{"a message that is a ping", ReaderState{Op: 9, Fragments: 1}},
		{"a message without frames", ReaderState{Op: 1}},
		{"a negative number of frames", ReaderState{Op: 1, Fragments: -1}},
		{"frames without a message", ReaderState{Header: part(0x81), Fragments: 1}},
		{"payload without a message", ReaderState{Header: part(0x81), Message: []byte("x")}},
		{"compressed without a message", ReaderState{Header: part(0x81), Deflated: true}},
		{"more is validated than there is", ReaderState{Op: 1, Message: []byte("x"), Validated: 2, Fragments: 1}},
		{"less than nothing is validated", ReaderState{Op: 1, Message: []byte("x"), Validated: -1, Fragments: 1}},
		{"the payload of a control frame without the frame", ReaderState{Op: 1, Fragments: 1, Control: []byte("x")}},
		{"the payload of a control frame in a data frame", ReaderState{Header: textHeader, InFrame: true, Op: 1, Fragments: 1, Control: []byte("x")}},
		{"a control frame has payload that was not read", ReaderState{Header: pingHeader, InFrame: true, Read: 1, Control: []byte("12")}},
		{"a control frame lacks payload that was read", ReaderState{Header: pingHeader, InFrame: true, Read: 2, Control: []byte("1")}},
	} {
		if _, ok := ReaderOf(&tc.state); ok {
			t.Errorf("%s: ReaderOf(%+v) is accepted", tc.name, tc.state)
		}
	}
}

// The state of a compressed message that comes to a connection without compression is an error of that connection, and does
// not panic.
func TestReaderOfDeflatedWithoutInflater(t *testing.T) {
	wire := frame(fin|rsv1|byte(ws.OpText), compressed(t, notification(600), 6))
	var r Reader
	if _, _, err := r.Next(wire[:20], &Limits{Inflater: new(Inflater)}); err != nil {
		t.Fatal(err)
	}
	moved, ok := ReaderOf(r.State())
	if !ok {
		t.Fatal("the state is refused")
	}
	if ev, _, err := moved.Next(wire[20:], &Limits{}); !errors.Is(err, ErrReservedBits) {
		t.Errorf("Next = %+v, %v, want %v", ev, err, ErrReservedBits)
	}
}

// A reader of any state returns events or an error, and does not panic: the state may come from a process of another version.
func FuzzReaderOf(f *testing.F) {
	f.Add([]byte{0x81, 0x85, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0}, false, int64(0), byte(0), false, []byte{}, 0, 0, []byte{}, text("next"))
	f.Add([]byte{0x81, 0x85, 1, 2, 3, 4}, true, int64(1), byte(1), false, []byte("x"), 1, 1, []byte{}, text("next"))
	f.Add([]byte{0x89, 0x85, 1, 2, 3, 4}, true, int64(1), byte(2), true, []byte("x"), 0, 1, []byte("y"), text("next"))
	f.Fuzz(func(t *testing.T, header []byte, inFrame bool, read int64, op byte, deflated bool, message []byte, validated, fragments int, control, rest []byte) {
		r, ok := ReaderOf(&ReaderState{
			Header: header, InFrame: inFrame, Read: read, Op: op, Deflated: deflated, Message: message,
			Validated: validated, Fragments: fragments, Control: control,
		})
		if !ok {
			return
		}
		lim := &Limits{MaxMessage: 1 << 10, AllowBinary: true, Inflater: new(Inflater)}
		for len(rest) > 0 {
			ev, used, err := r.Next(rest, lim)
			if err != nil {
				return
			}
			if used <= 0 || used > len(rest) {
				t.Fatalf("Next used %d of %d bytes", used, len(rest))
			}
			if ev.Op.IsControl() && len(ev.Payload) > ws.MaxControlFramePayloadSize {
				t.Fatalf("a control frame of %d bytes", len(ev.Payload))
			}
			rest = rest[used:]
		}
	})
}
