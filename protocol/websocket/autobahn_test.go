package websocket

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// The rows are cases of the Autobahn test suite, by its numbers: those that a reader alone decides. Each is read whole and
// cut at every point. The suite has separate cases for some cuts; here they are one row. gateway/acceptance/conformance
// runs all cases over a socket.
func TestReaderAutobahn(t *testing.T) {
	const hello = "Hello, world!"
	const cosme = "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"
	const more, opText, opBinary, opPing, opPong, opClose = 0, byte(ws.OpText), byte(ws.OpBinary), byte(ws.OpPing), byte(ws.OpPong), byte(ws.OpClose)
	helloRead, both := said(opText, hello), said(opText, "fragment1fragment2")
	type row struct {
		number string
		in     []byte
		events string
		err    error
		mid    bool
	}
	rows := []row{
		{number: "2.1", in: frame(fin|opPing, ""), events: said(opPing, "")},
		{number: "2.3", in: frame(fin|opPing, "\x00\xff\xfe\xfd\xfc\xfb\x00\xff"), events: said(opPing, "\x00\xff\xfe\xfd\xfc\xfb\x00\xff")},
		{number: "2.4 2.6", in: frame(fin|opPing, strings.Repeat("\xfe", 125)), events: said(opPing, strings.Repeat("\xfe", 125))},
		{number: "2.5", in: frame(fin|opPing, strings.Repeat("\xfe", 126)), err: ErrControlTooLong},
		{number: "2.9", in: join(frame(fin|opPong, "unasked"), frame(fin|opPing, "ping")), events: said(opPong, "unasked") + said(opPing, "ping")},

		{number: "3.1", in: frame(fin|0x10|opText, hello), err: ErrReservedBits},
		{number: "3.2", in: join(text(hello), frame(fin|0x20|opText, hello), frame(fin|opPing, "")), events: helloRead, err: ErrReservedBits},
		{number: "3.3", in: join(text(hello), frame(fin|0x30|opText, hello), frame(fin|opPing, "")), events: helloRead, err: ErrReservedBits},
		{number: "3.4", in: join(text(hello), frame(fin|0x40|opText, hello), frame(fin|opPing, "")), events: helloRead, err: ErrReservedBits},
		{number: "3.5", in: frame(fin|0x50|opBinary, "\x00\xff"), err: ErrReservedBits},
		{number: "3.6", in: frame(fin|0x60|opPing, hello), err: ErrReservedBits},
		{number: "3.7", in: frame(fin|0x70|opClose, ""), err: ErrReservedBits},

		{number: "5.1", in: join(frame(opPing, "fragment1"), frame(fin|more, "fragment2")), err: ErrControlSplit},
		{number: "5.2", in: join(frame(opPong, "fragment1"), frame(fin|more, "fragment2")), err: ErrControlSplit},
		{number: "5.3 5.4 5.5", in: join(frame(opText, "fragment1"), frame(fin|more, "fragment2")), events: both},
		{number: "5.6 5.7 5.8", in: join(frame(opText, "fragment1"), frame(fin|opPing, "ping payload"), frame(fin|more, "fragment2")), events: said(opPing, "ping payload") + both},
		{number: "5.9 5.10 5.11", in: join(frame(fin|more, "nothing to continue"), text(hello)), err: ErrContinuation},
		{number: "5.12 5.13 5.14", in: join(frame(more, "nothing to continue"), text(hello)), err: ErrContinuation},
		{number: "5.15", in: join(frame(opText, "fragment1"), frame(fin|more, "fragment2"), frame(more, "fragment3"), text("fragment4")), events: both, err: ErrContinuation},
		{number: "5.16", in: join(frame(more, "fragment1"), frame(opText, "fragment2"), frame(fin|more, "fragment3")), err: ErrContinuation},
		{number: "5.17", in: join(frame(fin|more, "fragment1"), frame(opText, "fragment2"), frame(fin|more, "fragment3")), err: ErrContinuation},
		{number: "5.18", in: join(frame(opText, "fragment1"), text("fragment2")), err: ErrNoContinuation},
		{number: "5.19 5.20", in: join(
			frame(opText, "1"), frame(more, "2"), frame(fin|opPing, "pongme 1!"), frame(more, "3"), frame(more, "4"), frame(fin|opPing, "pongme 2!"), frame(fin|more, "5"),
		), events: said(opPing, "pongme 1!") + said(opPing, "pongme 2!") + said(opText, "12345")},

		{number: "6.1.1", in: text(""), events: said(opText, "")},
		{number: "6.1.2", in: join(frame(opText, ""), frame(more, ""), frame(fin|more, "")), events: said(opText, "")},
		{number: "6.1.3", in: join(frame(opText, ""), frame(more, "middle"), frame(fin|more, "")), events: said(opText, "middle")},
		{number: "6.2.1", in: text("Hello-µ@ßöäüàá-UTF-8!!"), events: said(opText, "Hello-µ@ßöäüàá-UTF-8!!")},
		{number: "6.2.2", in: join(frame(opText, "Hello-µ@ßöä"), frame(fin|more, "üàá-UTF-8!!")), events: said(opText, "Hello-µ@ßöäüàá-UTF-8!!")},
		{number: "6.2.4", in: octets(cosme), events: said(opText, cosme)},
		{number: "6.3.1", in: text(cosme + "\xed\xa0\x80edited"), err: ErrUTF8},
		{number: "6.3.2", in: octets(cosme + "\xed\xa0\x80edited"), err: ErrUTF8},
		{number: "6.4.1 before", in: frame(opText, cosme), mid: true},
		{number: "6.4.1", in: join(frame(opText, cosme), frame(more, "\xf4\x90\x80\x80")), err: ErrUTF8},
		{number: "6.4.2 before", in: frame(opText, cosme+"\xf4"), mid: true},
		{number: "6.4.2", in: join(frame(opText, cosme+"\xf4"), frame(more, "\x90")), err: ErrUTF8},
		{number: "6.4.3", in: append(header(fin|opText, 21), masked(cosme+"\xf4\x90\x80\x80")...), err: ErrUTF8},
		{number: "6.4.4 before", in: append(header(fin|opText, 21), masked(cosme+"\xf4")...), mid: true},
		{number: "6.4.4", in: append(header(fin|opText, 21), masked(cosme+"\xf4\x90")...), err: ErrUTF8},

		{number: "7.1.5", in: join(frame(opText, "fragment1"), frame(fin|opClose, closing(1000, "")), frame(fin|more, "fragment2")), events: said(opClose, closing(1000, "")) + said(opText, "fragment1fragment2")},
		{number: "7.3.6", in: frame(fin|opClose, "\x03\xe8"+strings.Repeat("*", 124)), err: ErrControlTooLong},
		{number: "10.1.1", in: fragmented(strings.Repeat("*", 65536), 1300), events: said(opText, strings.Repeat("*", 65536))},
	}
	for i, n := range []int{0, 125, 126, 127, 128, 65535, 65536} {
		stars, bytes := strings.Repeat("*", n), strings.Repeat("\xfe", n)
		rows = append(rows,
			row{number: fmt.Sprintf("1.1.%d", i+1), in: text(stars), events: said(opText, stars)},
			row{number: fmt.Sprintf("1.2.%d", i+1), in: frame(fin|opBinary, bytes), events: said(opBinary, bytes)})
	}
	for i, first := range []byte{0x3, 0xb} {
		for n := range byte(5) {
			in := frame(fin|first+n, strings.Repeat("x", int(n&1)))
			want := row{number: fmt.Sprintf("4.%d.%d", i+1, n+1), in: in, err: ErrReservedOpCode}
			if n >= 2 {
				want.in, want.events = join(text(hello), in, frame(fin|opPing, "")), helloRead
			}
			rows = append(rows, want)
		}
	}
	lim := &Limits{MaxMessage: 1 << 20, MaxFragments: 128, AllowBinary: true} // the limits of an echo server
	for _, row := range rows {
		t.Run(row.number, func(t *testing.T) {
			t.Parallel()
			want := outcome{row.events, row.err, row.mid}
			if got := eachSplit(t, lim, row.in); got != want {
				t.Errorf("read(%.100x) = %.200v, want %.200v", row.in, got, want)
			}
		})
	}
}

// fragmented cuts a text into frames of at most size octets.
func fragmented(payload string, size int) []byte {
	var out []byte
	op := byte(ws.OpText)
	for len(payload) > size {
		out, payload, op = append(out, frame(op, payload[:size])...), payload[size:], byte(ws.OpContinuation)
	}
	return append(out, frame(fin|op, payload)...)
}

func octets(payload string) []byte { return fragmented(payload, 1) }

// Close frames that are valid or not, by the numbers of the suite.
func TestParseCloseAutobahn(t *testing.T) {
	type row struct {
		number, in string
		err        error
	}
	rows := []row{
		{"7.3.1", "", nil},
		{"7.3.2", "a", ErrClosePayload},
		{"7.3.3", closing(1000, ""), nil},
		{"7.3.4", closing(1000, "Hello World!"), nil},
		{"7.3.5", closing(1000, strings.Repeat("*", 123)), nil},
		{"7.5.1", "\x03\xe8\xce\xba\xed\xa0\x80edited", ErrUTF8},
		{"7.13.1", closing(5000, ""), ErrClosePayload},
		{"7.13.2", closing(65535, ""), ErrClosePayload},
	}
	for i, code := range []ws.StatusCode{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
		rows = append(rows, row{fmt.Sprintf("7.7.%d", i+1), closing(code, ""), nil})
	}
	for i, code := range []ws.StatusCode{0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999} {
		rows = append(rows, row{fmt.Sprintf("7.9.%d", i+1), closing(code, ""), ErrClosePayload})
	}
	for _, row := range rows {
		if _, _, err := ParseClose([]byte(row.in)); !errors.Is(err, row.err) {
			t.Errorf("%s: ParseClose(%q) = %v, want %v", row.number, row.in, err, row.err)
		}
	}
}

// AppendClose writes what ParseClose has read, and ParseClose reads the same again. AppendClose always makes a valid control
// frame, and cuts no rune.
func FuzzClose(f *testing.F) {
	for _, payload := range []string{"", "x", closing(1000, "bye"), closing(4999, strings.Repeat("é", 61)), "\x03\xe8\xff", closing(1005, "")} {
		f.Add([]byte(payload), uint16(1012), "retry=1000")
	}
	f.Add([]byte(nil), uint16(1005), strings.Repeat("🔔", 40))
	f.Fuzz(func(t *testing.T, payload []byte, code uint16, reason string) {
		if got, text, err := ParseClose(payload); err == nil && len(payload) > 0 {
			if again, textAgain, err := ParseClose([]byte(closing(got, text))); len(payload) <= 125 && (err != nil || again != got || textAgain != text) {
				t.Errorf("ParseClose(%q) = %d %q, said again %d %q, %v", payload, got, text, again, textAgain, err)
			}
		}
		framed := AppendClose(nil, &CloseError{Code: ws.StatusCode(code), Reason: strings.ToValidUTF8(reason, "")})
		if len(framed) < 2 || framed[0] != fin|byte(ws.OpClose) || int(framed[1]) != len(framed)-2 || framed[1] > 125 {
			t.Fatalf("AppendClose(%d, %q) = %q", code, reason, framed)
		}
		if validCloseCode(ws.StatusCode(code)) {
			if got, _, err := ParseClose(framed[2:]); err != nil || got != ws.StatusCode(code) {
				t.Errorf("AppendClose(%d, %q) is read as %d, %v", code, reason, got, err)
			}
		}
	})
}
