package websocket

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

const fin = 0x80

var testMask = [4]byte{0x37, 0xfa, 0x21, 0x3d} // the one of RFC 6455 section 5.7

// header builds a masked header from its parts, valid or not: first is the byte with FIN, RSV and opcode, length is the low
// seven bits of the second byte, and extended is what follows.
func header(first, length byte, extended ...byte) []byte {
	return append(append([]byte{first, 0x80 | length}, extended...), testMask[:]...)
}

// frame builds a masked frame with the shortest length.
func frame(first byte, payload string) []byte {
	var head []byte
	switch n := len(payload); {
	case n <= 125:
		head = header(first, byte(n))
	case n <= 0xffff:
		head = header(first, 126, binary.BigEndian.AppendUint16(nil, uint16(n))...)
	default:
		head = header(first, 127, binary.BigEndian.AppendUint64(nil, uint64(n))...)
	}
	return append(head, masked(payload)...)
}

func masked(payload string) []byte {
	out := []byte(payload)
	ws.Cipher(out, testMask, 0)
	return out
}

func text(payload string) []byte { return frame(fin|byte(ws.OpText), payload) }

func closing(code ws.StatusCode, reason string) string {
	return string(ws.NewCloseFrameBody(code, reason))
}

// outcome is what a Reader returned, as a value that can be compared.
type outcome struct {
	events string
	err    error
	mid    bool
}

func (o outcome) String() string { return fmt.Sprintf("%q error %v, mid %t", o.events, o.err, o.mid) }

// said writes an event for an outcome.
func said[T byte | ws.OpCode](op T, payload string) string {
	return strconv.Itoa(int(op)) + " " + strconv.Itoa(len(payload)) + ":" + payload + "\n"
}

// readAll gives chunks to a new Reader, one after the other.
func readAll(t *testing.T, lim *Limits, chunks ...[]byte) (out outcome) {
	t.Helper()
	var r Reader
	var events strings.Builder
	given := 0
	for _, chunk := range chunks {
		data := bytes.Clone(chunk)
		given += len(data)
		for more := true; more; {
			ev, used, err := r.Next(data, lim)
			if err != nil {
				if closeErr := (*CloseError)(nil); !errors.As(err, &closeErr) || !ev.None() {
					t.Errorf("Next = %v, %v, want no event and a *CloseError", ev, err)
				}
				return outcome{events: events.String(), err: err}
			}
			if more = !ev.None(); more {
				events.WriteString(said(ev.Op, string(ev.Payload)))
			} else if used != len(data) {
				t.Errorf("Next used %d bytes of %d and found nothing", used, len(data))
			}
			data = data[used:]
			if kept := r.Kept(); kept > 2*given+64 {
				t.Errorf("reader keeps %d bytes after %d were received", kept, given)
			}
		}
	}
	if !r.Mid() && r.Kept() > 0 {
		t.Errorf("reader keeps %d bytes between messages", r.Kept())
	}
	return outcome{events: events.String(), mid: r.Mid()}
}

// eachSplit reads data whole, in two parts cut at every point, and byte by byte if that is quick. The results must be equal.
func eachSplit(t *testing.T, lim *Limits, data []byte) outcome {
	t.Helper()
	whole := readAll(t, lim, data)
	step := max(1, len(data)/50) // long rows have a long payload, where the place of the cut makes no difference
	for at := 1; at < len(data); at++ {
		if at > 20 && at < len(data)-20 && at%step != 0 {
			continue
		}
		if got := readAll(t, lim, data[:at], data[at:]); got != whole {
			t.Fatalf("cut at %d: %.200v, want %.200v as in one piece", at, got, whole)
		}
	}
	size := 1 // byte by byte, or nearly so
	if len(data) > 10_000 {
		size = 97
	}
	if got := readAll(t, lim, slices.Collect(slices.Chunk(data, size))...); got != whole {
		t.Fatalf("in pieces of %d: %.200v, want %.200v as in one piece", size, got, whole)
	}
	return whole
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestReader(t *testing.T) {
	const (
		opContinuation = byte(ws.OpContinuation)
		opText         = byte(ws.OpText)
		opBinary       = byte(ws.OpBinary)
		opClose        = byte(ws.OpClose)
		opPing         = byte(ws.OpPing)
		opPong         = byte(ws.OpPong)
	)
	lim := Limits{MaxMessage: 1 << 20, MaxFragments: 8}
	long := func(n int) string { return strings.Repeat("x", n) }

	type row struct {
		name   string
		in     []byte
		events string
		err    error
		mid    bool
		lim    *Limits
	}
	rows := []row{
		{name: "nothing"},
		{name: "5.7 example", in: []byte{0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58}, events: said(opText, "Hello")},
		{name: "5.7 example in fragments", in: join(frame(opText, "Hel"), frame(fin|opContinuation, "lo")), events: said(opText, "Hello")},
		{name: "5.7 ping", in: frame(fin|opPing, "Hello"), events: said(opPing, "Hello")},
		{name: "5.6 text, empty", in: text(""), events: said(opText, "")},
		{name: "5.6 two messages", in: join(text("a"), text("b")), events: said(opText, "a") + said(opText, "b")},
		{name: "5.6 binary, allowed", in: frame(fin|opBinary, "\xff"), events: said(opBinary, "\xff"), lim: &Limits{AllowBinary: true}},
		{name: "5.6 binary, refused", in: frame(fin|opBinary, "\xff"), err: ErrBinary},
		{name: "5.6 binary, refused by its header", in: header(fin|opBinary, 126, 0xff, 0xff), err: ErrBinary},
		{name: "5.6 binary in fragments, refused", in: frame(opBinary, ""), err: ErrBinary},

		{name: "5.3 mask of zeros", in: []byte{0x81, 0x81, 0, 0, 0, 0, 'x'}, events: said(opText, "x")},
		{name: "5.4 first fragment alone", in: frame(opText, "a"), mid: true},
		{name: "5.4 all fragments empty", in: join(frame(opText, ""), frame(opContinuation, ""), frame(fin|opContinuation, "")), events: said(opText, "")},
		{name: "5.4 last fragment empty", in: join(frame(opText, "a"), frame(fin|opContinuation, "")), events: said(opText, "a")},
		{name: "5.4 ping between fragments", in: join(frame(opText, "a"), frame(fin|opPing, "p"), frame(fin|opContinuation, "b")), events: said(opPing, "p") + said(opText, "ab")},
		{name: "5.4 pings and pongs between fragments", in: join(
			frame(opText, "a"), frame(fin|opPing, ""), frame(fin|opPong, "q"), frame(opContinuation, "b"), frame(fin|opPing, "r"),
			frame(fin|opContinuation, "c"), text("d"),
		), events: said(opPing, "") + said(opPong, "q") + said(opPing, "r") + said(opText, "abc") + said(opText, "d")},
		{name: "5.4 close between fragments", in: join(frame(opText, "a"), frame(fin|opClose, "")), events: said(opClose, ""), mid: true},
		{name: "5.4 two messages in fragments", in: join(
			frame(opText, "a"), frame(fin|opContinuation, "b"), frame(opText, "c"), frame(fin|opContinuation, "d"),
		), events: said(opText, "ab") + said(opText, "cd")},
		{name: "T15 5.4 continuation without a message", in: frame(fin|opContinuation, "a"), err: ErrContinuation},
		{name: "T15 5.4 continuation without a message, not the last", in: frame(opContinuation, "a"), err: ErrContinuation},
		{name: "T15 5.4 continuation after a message", in: join(text("a"), frame(fin|opContinuation, "b")), events: said(opText, "a"), err: ErrContinuation},
		{name: "T15 5.4 continuation after a message in fragments", in: join(
			frame(opText, "a"), frame(fin|opContinuation, "b"), frame(opContinuation, "c"),
		), events: said(opText, "ab"), err: ErrContinuation},
		{name: "T15 5.4 continuation after a ping", in: join(frame(fin|opPing, "a"), frame(fin|opContinuation, "b")), events: said(opPing, "a"), err: ErrContinuation},
		{name: "T15 5.4 message inside a message", in: join(frame(opText, "a"), text("b")), err: ErrNoContinuation},
		{name: "T15 5.4 fragment inside a message", in: join(frame(opText, "a"), frame(opText, "b")), err: ErrNoContinuation},
		{name: "T15 5.4 binary inside a message", in: join(frame(opText, "a"), frame(fin|opBinary, "b")), err: ErrNoContinuation},
		{name: "T15 5.4 reserved opcode between fragments", in: join(frame(opText, "a"), frame(fin|0xb, "")), err: ErrReservedOpCode},

		{name: "T15 5.1 not masked", in: []byte{fin | opText, 1, 'x'}, err: ErrUnmasked},
		{name: "T15 5.1 not masked, empty", in: []byte{fin | opPing, 0}, err: ErrUnmasked},
		{name: "T15 5.1 second frame not masked", in: join(text("a"), []byte{fin | opText, 1, 'x'}), events: said(opText, "a"), err: ErrUnmasked},
		{name: "T15 5.5 control of 126 bytes", in: frame(fin|opPing, long(126)), err: ErrControlTooLong},
		{name: "T15 5.5 control with a 64-bit length", in: header(fin|opPing, 127, 0, 0, 0, 0, 0, 0, 0, 1), err: ErrControlTooLong},
		{name: "T15 5.5 control of 126 bytes between fragments", in: join(frame(opText, "a"), frame(fin|opPong, long(126))), err: ErrControlTooLong},
		{name: "T15 5.5 close of 126 bytes", in: frame(fin|opClose, "\x03\xe8"+long(124)), err: ErrControlTooLong},
		{name: "5.5 ping of 125 bytes", in: frame(fin|opPing, long(125)), events: said(opPing, long(125))},
		{name: "5.5 pong unasked", in: frame(fin|opPong, "x"), events: said(opPong, "x")},
		{name: "5.5 ping need not be UTF-8", in: frame(fin|opPing, "\xff\xfe"), events: said(opPing, "\xff\xfe")},
		{name: "T15 5.5 ping fragmented", in: frame(opPing, "x"), err: ErrControlSplit},
		{name: "T15 5.5 pong fragmented", in: frame(opPong, ""), err: ErrControlSplit},
		{name: "T15 5.5 close fragmented", in: frame(opClose, ""), err: ErrControlSplit},
		{name: "T15 5.5 ping fragmented between fragments", in: join(frame(opText, "a"), frame(opPing, "x")), err: ErrControlSplit},

		{name: "5.2 length not the shortest, 16 bits", in: append(header(fin|opText, 126, 0, 1), masked("x")...), events: said(opText, "x")},
		{name: "5.2 length not the shortest, 64 bits", in: append(header(fin|opText, 127, 0, 0, 0, 0, 0, 0, 0, 1), masked("x")...), events: said(opText, "x")},
		{name: "T10 5.2 length with the top bit", in: header(fin|opText, 127, 0x80, 0, 0, 0, 0, 0, 0, 0), err: ErrLength, lim: &Limits{}},
		{name: "T10 5.2 length of all ones", in: header(fin|opText, 127, 255, 255, 255, 255, 255, 255, 255, 255), err: ErrLength},
		{name: "T10 declared 2^62", in: header(fin|opText, 127, 0x40, 0, 0, 0, 0, 0, 0, 0), err: ErrMessageTooBig},
		{name: "T10 declared 2^63-1", in: header(fin|opText, 127, 0x7f, 255, 255, 255, 255, 255, 255, 255), err: ErrMessageTooBig},
		{name: "T10 declared 2^63-1 without a limit", in: append(header(fin|opText, 127, 0x7f, 255, 255, 255, 255, 255, 255, 255), masked("x")...), mid: true, lim: &Limits{}},
		{name: "T10 declared 2^40", in: header(fin|opText, 127, 0, 0, 1, 0, 0, 0, 0, 0), err: ErrMessageTooBig},
		{name: "T10 declared 2^40 by a continuation", in: join(frame(opText, "a"), header(fin|opContinuation, 127, 0, 0, 1, 0, 0, 0, 0, 0)), err: ErrMessageTooBig},
		{name: "T11 message at the limit", in: text(long(10)), events: said(opText, long(10)), lim: &Limits{MaxMessage: 10}},
		{name: "T11 message over the limit", in: text(long(11)), err: ErrMessageTooBig, lim: &Limits{MaxMessage: 10}},
		{name: "T11 message over the limit by its header", in: header(fin|opText, 11), err: ErrMessageTooBig, lim: &Limits{MaxMessage: 10}},
		{name: "T12 sum of fragments at the limit", in: join(frame(opText, long(6)), frame(fin|opContinuation, long(4))), events: said(opText, long(10)), lim: &Limits{MaxMessage: 10}},
		{name: "T12 sum of fragments over the limit", in: join(frame(opText, long(6)), header(fin|opContinuation, 5)), err: ErrMessageTooBig, lim: &Limits{MaxMessage: 10}},
		{name: "T12 fragment over the limit", in: header(opText, 11), err: ErrMessageTooBig, lim: &Limits{MaxMessage: 10}},
		{name: "T12 the limit is for each message", in: join(text(long(10)), text(long(10))), events: said(opText, long(10)) + said(opText, long(10)), lim: &Limits{MaxMessage: 10}},
		{name: "control frames do not count as message", in: join(frame(opText, long(10)), frame(fin|opPing, long(100)), frame(fin|opContinuation, "")), events: said(opPing, long(100)) + said(opText, long(10)), lim: &Limits{MaxMessage: 10}},
		{name: "T12 fragments at the limit", in: join(frame(opText, ""), frame(opContinuation, ""), frame(fin|opContinuation, "x")), events: said(opText, "x"), lim: &Limits{MaxFragments: 3}},
		{name: "T12 fragments over the limit", in: join(frame(opText, ""), frame(opContinuation, ""), frame(opContinuation, ""), frame(opContinuation, "")), err: ErrTooManyFrames, lim: &Limits{MaxFragments: 3}},
		{name: "T12 last fragment over the limit", in: join(frame(opText, "a"), frame(fin|opContinuation, "b")), err: ErrTooManyFrames, lim: &Limits{MaxFragments: 1}},
		{name: "control frames do not count as fragments", in: join(
			frame(opText, "a"), frame(fin|opPing, ""), frame(fin|opPing, ""), frame(fin|opContinuation, "b"),
		), events: said(opPing, "") + said(opPing, "") + said(opText, "ab"), lim: &Limits{MaxFragments: 2}},
		{name: "the limit of fragments is for each message", in: join(text("a"), text("b"), text("c")), events: said(opText, "a") + said(opText, "b") + said(opText, "c"), lim: &Limits{MaxFragments: 1}},

		{name: "8.1 UTF-8", in: text("κόσμε 🔔 \U0010ffff"), events: said(opText, "κόσμε 🔔 \U0010ffff")},
		{name: "8.1 rune over two fragments", in: join(frame(opText, "\xf0\x9f"), frame(fin|opContinuation, "\x94\x94")), events: said(opText, "🔔")},
		{name: "8.1 rune over four fragments and pings", in: join(
			frame(opText, "\xf0"), frame(fin|opPing, "\xff"), frame(opContinuation, "\x9f"), frame(opContinuation, "\x94"), frame(fin|opContinuation, "\x94"),
		), events: said(opPing, "\xff") + said(opText, "🔔")},
		{name: "T15 8.1 not UTF-8", in: text("a\xffb"), err: ErrUTF8},
		{name: "T15 8.1 rune cut off at the end", in: text("a\xf0\x9f\x94"), err: ErrUTF8},
		{name: "T15 8.1 rune cut off at the last fragment", in: join(frame(opText, "a\xf0\x9f"), frame(fin|opContinuation, "\x94")), err: ErrUTF8},
		{name: "T15 8.1 rune cut off before an empty last fragment", in: join(frame(opText, "a\xe2\x82"), frame(fin|opContinuation, "")), err: ErrUTF8},
		{name: "T15 8.1 rune broken by the next fragment", in: join(frame(opText, "a\xe2\x82"), frame(opContinuation, "a")), err: ErrUTF8},
		{name: "T15 8.1 fails inside an unfinished frame", in: append(header(fin|opText, 100), masked("ab\xff")...), err: ErrUTF8},
		{name: "T15 8.1 fails at the first byte that cannot go on", in: append(header(fin|opText, 100), masked("\xed\xa0")...), err: ErrUTF8},
		{name: "T15 8.1 fails inside an unfinished message", in: frame(opText, "ab\xff"), err: ErrUTF8},
		{name: "T15 8.1 surrogate", in: text("\xed\xa0\x80"), err: ErrUTF8},
		{name: "T15 8.1 overlong", in: text("\xc0\xaf"), err: ErrUTF8},
		{name: "T15 8.1 over U+10FFFF", in: append(header(fin|opText, 4), masked("\xf4\x90")...), err: ErrUTF8},
		{name: "8.1 may go on yet", in: append(header(fin|opText, 100), masked("ab\xf4\x8f\xbf")...), mid: true},
		{name: "8.1 checked again for the next message", in: join(frame(opText, "é"), frame(fin|opContinuation, "é"), text("\x80")), events: said(opText, "éé"), err: ErrUTF8},

		{name: "T13 half a header", in: []byte{fin | opText}, mid: true},
		{name: "T13 header without its mask", in: []byte{fin | opText, 0x85, 1, 2}, mid: true},
		{name: "T13 half a payload", in: text("Hello")[:8], mid: true},
		{name: "T13 half a ping", in: frame(fin|opPing, "Hello")[:8], mid: true},
		{name: "T13 first fragment and pings", in: join(frame(opText, "a"), frame(fin|opPing, ""), frame(fin|opPing, "")), events: said(opPing, "") + said(opPing, ""), mid: true},
		{name: "T7 TLS hello", in: []byte{0x16, 0x03, 0x01, 0x02, 0x00}, err: ErrReservedBits},
		{name: "T7 HTTP", in: []byte("GET / HTTP/1.1\r\n"), err: ErrReservedBits},
		{name: "close, then more", in: join(frame(fin|opClose, ""), text("a")), events: said(opClose, "") + said(opText, "a")},
	}
	for _, n := range []int{124, 125, 126, 127, 65535, 65536} {
		in := text(long(n))
		rows = append(rows,
			row{name: fmt.Sprintf("5.2 text of %d bytes", n), in: in, events: said(opText, long(n))},
			row{name: fmt.Sprintf("5.2 text of %d bytes, all but one", n), in: in[:len(in)-1], mid: true},
			row{name: fmt.Sprintf("5.2 fragments of %d bytes", n), in: join(frame(opText, long(n)), frame(fin|opContinuation, long(n))), events: said(opText, long(2*n))})
	}
	for bit := byte(0x10); bit <= 0x40; bit <<= 1 {
		rows = append(rows,
			row{name: fmt.Sprintf("T15 5.2 reserved bit %#x", bit), in: frame(fin|bit|opText, "x"), err: ErrReservedBits},
			row{name: fmt.Sprintf("T15 5.2 reserved bit %#x of a ping", bit), in: frame(fin|bit|opPing, ""), err: ErrReservedBits})
	}
	for _, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		rows = append(rows, row{name: fmt.Sprintf("T15 5.2 reserved opcode %d", op), in: frame(fin|op, ""), err: ErrReservedOpCode})
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			use := &lim
			if row.lim != nil {
				use = row.lim
			}
			want := outcome{row.events, row.err, row.mid}
			if got := eachSplit(t, use, row.in); got != want {
				t.Errorf("read(%.100x) = %.200v, want %.200v", row.in, got, want)
			}
		})
	}
}

// Next returns an event with its last byte, not later, and the payload has the right end.
func TestReaderPayload(t *testing.T) {
	data := join(text("one"), text("two"))
	var r Reader
	ev, used, err := r.Next(data, &Limits{})
	if err != nil || string(ev.Payload) != "one" || used != len(text("one")) {
		t.Fatalf("Next = %q, %d, %v, want the first message", ev.Payload, used, err)
	}
	if cap(ev.Payload) != len("one") {
		t.Errorf("the payload has capacity %d: appending to it would write over the next frame", cap(ev.Payload))
	}
	if ev, _, err = r.Next(data[used:], &Limits{}); err != nil || string(ev.Payload) != "two" {
		t.Errorf("Next = %q, %v, want the second message", ev.Payload, err)
	}
}

func TestReaderParseClose(t *testing.T) {
	long := strings.Repeat("x", 123)
	for _, tc := range []struct {
		name, in string
		code     ws.StatusCode
		reason   string
		err      error
	}{
		{"5.5.1 empty", "", 1005, "", nil},
		{"T15 5.5.1 one byte", "\x03", 0, "", ErrClosePayload},
		{"5.5.1 code", closing(1000, ""), 1000, "", nil},
		{"5.5.1 code and reason", closing(1001, "bye é"), 1001, "bye é", nil},
		{"5.5.1 longest reason", closing(1001, long), 1001, long, nil},
		{"T15 5.5.1 reason is not UTF-8", closing(1000, "\xff"), 0, "", ErrUTF8},
		{"T15 5.5.1 reason is cut in a rune", closing(1000, "\xe2\x82"), 0, "", ErrUTF8},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, reason, err := ParseClose([]byte(tc.in))
			if code != tc.code || reason != tc.reason || !errors.Is(err, tc.err) {
				t.Errorf("ParseClose(%q) = %d, %q, %v, want %d, %q, %v", tc.in, code, reason, err, tc.code, tc.reason, tc.err)
			}
		})
	}
	// RFC 6455 section 7.4, and the IANA registry.
	for code := range 1 << 16 {
		sendable := code >= 3000 && code <= 4999 || code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014
		if _, _, err := ParseClose([]byte(closing(ws.StatusCode(code), ""))); (err == nil) != sendable {
			t.Errorf("ParseClose(%d) = %v, want sendable %t", code, err, sendable)
		}
	}
}

// Memory is for the bytes that a client has sent, not for the length that it declares.
func TestReaderMemory(t *testing.T) {
	declared := header(fin|byte(ws.OpText), 127, 0, 0, 1, 0, 0, 0, 0, 0) // 2^40
	var r Reader
	got := testing.AllocsPerRun(10, func() {
		r = Reader{}
		if _, _, err := r.Next(bytes.Clone(declared), &Limits{}); err != nil {
			t.Fatal(err)
		}
	})
	if r.Kept() != 0 || got > 2 { // the copy, and the record of the unfinished frame
		t.Errorf("2^40 declared, nothing sent: %d bytes kept, %v allocations, want 0 and at most 2", r.Kept(), got)
	}
	for sent := 0; sent < 1<<20; sent += 1000 {
		if _, _, err := r.Next(masked(strings.Repeat("x", 1000)), &Limits{}); err != nil {
			t.Fatal(err)
		}
		if kept, most := r.Kept(), 2*(sent+1000)+64; kept > most {
			t.Fatalf("2^40 declared, %d sent: %d bytes kept, want at most %d", sent+1000, kept, most)
		}
	}

	r = Reader{}
	if _, _, err := r.Next(frame(byte(ws.OpText), ""), &Limits{}); err != nil {
		t.Fatal(err)
	}
	empty := frame(byte(ws.OpContinuation), "")
	for range 1_000_000 {
		if _, _, err := r.Next(empty, &Limits{}); err != nil {
			t.Fatal(err)
		}
	}
	if r.Kept() > 0 {
		t.Errorf("a million empty fragments: %d bytes kept, want 0", r.Kept())
	}
}

// A text that arrives byte by byte is not checked from its beginning each time: the cost would grow with the square of its
// length.
func TestReaderDrip(t *testing.T) {
	drip := strings.Repeat("🔔", 100)
	data := text(drip)
	var r Reader
	for i := range len(data) - 1 {
		if _, _, err := r.Next(data[i:i+1], &Limits{}); err != nil {
			t.Fatal(err)
		}
		if p := r.partial; len(p.message)-p.validated >= utf8.UTFMax {
			t.Fatalf("after %d bytes only %d are known to be UTF-8", len(p.message), p.validated)
		}
	}
}

// Random messages that gobwas/ws has written are read as gobwas/ws reads them, however they are cut.
func TestReaderRandom(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	runes := []rune{'a', 'é', '€', '🔔', '\u007f', '\U0010ffff'}
	for range 100 {
		var wire []byte
		for range 1 + rnd.IntN(6) {
			length := []int{0, 1, 3, 50, 125, 126, 500, 66_000}[rnd.IntN(8)]
			message := make([]byte, 0, length+4)
			for len(message) < length {
				message = utf8.AppendRune(message, runes[rnd.IntN(len(runes))])
			}
			fragments := 1 + rnd.IntN(4)
			op := ws.OpText
			for i := range fragments {
				cut := len(message)
				if i < fragments-1 {
					cut = rnd.IntN(len(message) + 1)
				}
				wire = append(wire, compile(t, ws.NewFrame(op, i == fragments-1, message[:cut]))...)
				message, op = message[cut:], ws.OpContinuation
				if rnd.IntN(3) == 0 {
					wire = append(wire, compile(t, ws.NewPingFrame([]byte("p")))...)
				}
			}
		}
		want := peerRead(wire, true)
		chunks := [][]byte{}
		for rest := wire; len(rest) > 0; {
			n := min(len(rest), 1+rnd.IntN([]int{3, 100, 10_000}[rnd.IntN(3)]))
			chunks, rest = append(chunks, rest[:n]), rest[n:]
		}
		if got := readAll(t, &Limits{}, wire); got != want {
			t.Fatalf("read = %.300v, gobwas/ws %.300v", got, want)
		}
		if got := readAll(t, &Limits{}, chunks...); got != want {
			t.Fatalf("read in %d pieces = %.300v, gobwas/ws %.300v", len(chunks), got, want)
		}
	}
}

func compile(t *testing.T, f ws.Frame) []byte {
	t.Helper()
	b, err := ws.CompileFrame(ws.MaskFrame(f))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var errPeer = errors.New("refused by gobwas/ws")

// peerRead is a reader made of the library's own parts, without limits. It sees errors only at the end of a frame.
func peerRead(wire []byte, binaryToo bool) (out outcome) {
	in := bytes.NewReader(wire)
	state := ws.StateServerSide
	var op ws.OpCode
	var message []byte
	for {
		at := in.Len()
		h, err := ws.ReadHeader(in)
		if err == nil {
			err = ws.CheckHeader(h, state)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || err == nil && h.Length > int64(in.Len()) {
			out.mid = at > 0 || state.Fragmented()
			return out
		}
		// gobwas/ws accepts a control frame whose short length is written in a longer form than it needs, which RFC 6455
		// section 5.2 forbids. This reader refuses the form, because the rest may never arrive.
		if err == nil && h.OpCode.IsControl() && wire[len(wire)-at+1]&0x7f > ws.MaxControlFramePayloadSize {
			err = errPeer
		}
		if err != nil || h.OpCode == ws.OpBinary && !binaryToo {
			out.err = errPeer
			return out
		}
		payload := make([]byte, h.Length)
		_, _ = io.ReadFull(in, payload)
		ws.Cipher(payload, h.Mask, 0)
		if h.OpCode.IsControl() {
			out.events += said(h.OpCode, string(payload))
			continue
		}
		if h.OpCode != ws.OpContinuation {
			op = h.OpCode
		}
		message = append(message, payload...)
		if state = state.Set(ws.StateFragmented); !h.Fin {
			continue
		}
		if op == ws.OpText && !utf8.Valid(message) {
			out.err = errPeer
			return out
		}
		out.events += said(op, string(message))
		state, message = state.Clear(ws.StateFragmented), nil
	}
}

// FuzzReader reads the same bytes whole, and in parts whose lengths are the bytes of cuts. It compares both with a reader
// that is made of gobwas/ws.
func FuzzReader(f *testing.F) {
	opText := byte(ws.OpText)
	for _, seed := range [][]byte{
		text("Hello"),
		join(frame(opText, "\xf0\x9f"), frame(fin|byte(ws.OpPing), "p"), frame(fin, "\x94\x94"), text("x")),
		frame(fin|byte(ws.OpClose), closing(1000, "bye")),
		frame(fin|byte(ws.OpBinary), "\xff"),
		text(strings.Repeat("x", 200)),
		header(fin|opText, 127, 0, 0, 1, 0, 0, 0, 0, 0),
		join(frame(opText, ""), frame(0, ""), frame(0, ""), frame(0, ""), frame(0, "")),
		append(header(fin|opText, 126, 0, 1), masked("x")...),
	} {
		f.Add(seed, []byte{1}, uint16(0), byte(0))
		f.Add(seed, []byte{3, 7, 2}, uint16(100), byte(3))
	}
	f.Fuzz(func(t *testing.T, data, cuts []byte, maxMessage uint16, maxFragments byte) {
		lim := &Limits{MaxMessage: int(maxMessage), MaxFragments: int(maxFragments & 7), AllowBinary: maxFragments&8 != 0}
		whole := readAll(t, lim, data)
		var chunks [][]byte
		for rest, i := data, 0; len(rest) > 0; i++ {
			n := len(rest)
			if len(cuts) > 0 {
				n = min(n, 1+int(cuts[i%len(cuts)]))
			}
			chunks, rest = append(chunks, rest[:n]), rest[n:]
		}
		if got := readAll(t, lim, chunks...); got != whole {
			t.Fatalf("read(%x) in pieces %x = %v, want %v as in one piece", data, cuts, got, whole)
		}
		peer := peerRead(data, lim.AllowBinary)
		switch {
		case whole.err == nil && whole != peer:
			t.Errorf("read(%x) = %v, gobwas/ws %v", data, whole, peer)
		case !strings.HasPrefix(peer.events, whole.events):
			t.Errorf("read(%x) = %v, no beginning of gobwas/ws %v", data, whole, peer)
		case whole.err != nil && peer.err == nil && !peer.mid && lim.MaxMessage == 0 && lim.MaxFragments == 0:
			t.Errorf("read(%x) = %v, gobwas/ws accepts it", data, whole)
		}
	})
}

func TestReaderAllocs(t *testing.T) {
	for _, tc := range []struct {
		name string
		in   []byte
	}{
		{"text", text(`{"type":"subscribe","channel":"user:42"}`)},
		{"ping", frame(fin|byte(ws.OpPing), "")},
		{"pong", frame(fin|byte(ws.OpPong), "12345678")},
		{"two messages", join(text("a"), text("b"))},
		{"long text", text(strings.Repeat("x", 70_000))},
	} {
		var r Reader
		data, lim := make([]byte, len(tc.in)), Limits{MaxMessage: 1 << 20, MaxFragments: 128}
		got := testing.AllocsPerRun(100, func() {
			copy(data, tc.in)
			for rest := data; len(rest) > 0; {
				_, used, err := r.Next(rest, &lim)
				if err != nil {
					t.Fatal(err)
				}
				rest = rest[used:]
			}
		})
		if got != 0 {
			t.Errorf("reading %s allocates %v times, want 0", tc.name, got)
		}
	}
}

func BenchmarkReader(b *testing.B) {
	subscribe := `{"type":"subscribe","channel":"user:42"}`
	for _, bc := range []struct {
		name string
		in   [][]byte
	}{
		{"whole", [][]byte{text(subscribe)}},
		{"ping", [][]byte{frame(fin|byte(ws.OpPing), "")}},
		{"split", [][]byte{text(subscribe)[:20], text(subscribe)[20:]}},
		{"fragments", [][]byte{join(frame(byte(ws.OpText), subscribe[:20]), frame(fin, subscribe[20:]))}},
		{"text=4096", [][]byte{text(strings.Repeat("x", 4096))}},
	} {
		b.Run(bc.name, func(b *testing.B) {
			var r Reader
			lim := Limits{MaxMessage: 64 << 10, MaxFragments: 128}
			buf := make([]byte, 8<<10)
			b.ReportAllocs()
			for b.Loop() {
				for _, chunk := range bc.in {
					for rest := buf[:copy(buf, chunk)]; len(rest) > 0; {
						_, used, err := r.Next(rest, &lim)
						if err != nil {
							b.Fatal(err)
						}
						rest = rest[used:]
					}
				}
			}
		})
	}
}
