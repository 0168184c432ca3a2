package conformance

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/gateway/gatewaytest"
)

const (
	opReserved3  = 0x3 // the first of the reserved data opcodes
	opReserved11 = 0xb // the first of the reserved control opcodes
)

var protocolError = []ws.StatusCode{ws.StatusProtocolError}

// framingCases are 1.* to 5.* of the suite.
func framingCases() []testCase {
	var cases []testCase
	add := func(more ...testCase) { cases = append(cases, more...) }
	for i, n := range []int{0, 125, 126, 127, 128, 65535, 65536, 65536} {
		cut := oneWrite
		if i == 7 {
			cut = 997
		}
		stars, bytes := strings.Repeat("*", n), strings.Repeat("\xfe", n)
		add(testCase{number: fmt.Sprintf("1.1.%d", i+1), frames: []string{text(stars)}, chop: cut, echoes: []string{said(ws.OpText, stars)}},
			testCase{number: fmt.Sprintf("1.2.%d", i+1), frames: []string{binary(bytes)}, chop: cut, echoes: []string{said(ws.OpBinary, bytes)}})
	}

	pong := func(payload string) string { return said(ws.OpPong, payload) }
	unasked := gatewaytest.Frame(true, ws.OpPong, "unsolicited pong payload")
	var ten, tenBack []string
	for i := range 10 {
		payload := fmt.Sprintf("payload-%d", i)
		ten, tenBack = append(ten, ping(payload)), append(tenBack, pong(payload))
	}
	long := strings.Repeat("\xfe", 125)
	add(
		testCase{number: "2.1", frames: []string{ping("")}, echoes: []string{pong("")}},
		testCase{number: "2.2", frames: []string{ping("Hello, world!")}, echoes: []string{pong("Hello, world!")}},
		testCase{number: "2.3", frames: []string{ping("\x00\xff\xfe\xfd\xfc\xfb\x00\xff")}, echoes: []string{pong("\x00\xff\xfe\xfd\xfc\xfb\x00\xff")}},
		testCase{number: "2.4", frames: []string{ping(long)}, echoes: []string{pong(long)}},
		testCase{number: "2.5", frames: []string{ping(long + "\xfe")}, closes: protocolError},
		testCase{number: "2.6", frames: []string{ping(long)}, chop: 1, echoes: []string{pong(long)}},
		testCase{number: "2.7", frames: []string{gatewaytest.Frame(true, ws.OpPong, "")}},
		testCase{number: "2.8", frames: []string{unasked}},
		testCase{number: "2.9", frames: []string{unasked, ping("ping payload")}, echoes: []string{pong("ping payload")}},
		testCase{number: "2.10", frames: ten, echoes: tenBack},
		testCase{number: "2.11", frames: ten, chop: 1, echoes: tenBack},
	)

	const hello = "Hello, world!"
	helloBack := []string{said(ws.OpText, hello)}
	reserved := func(rsv byte, op ws.OpCode, payload string) string {
		return gatewaytest.RawFrame(true, rsv, op, payload)
	}
	add(
		testCase{number: "3.1", frames: []string{reserved(1, ws.OpText, hello)}, closes: protocolError},
		testCase{number: "3.2", frames: []string{text(hello), reserved(2, ws.OpText, hello), ping("")}, echoes: helloBack, closes: protocolError},
		testCase{number: "3.3", frames: []string{text(hello), reserved(3, ws.OpText, hello), ping("")}, chop: frameWise, echoes: helloBack, closes: protocolError},
		testCase{number: "3.4", frames: []string{text(hello), reserved(4, ws.OpText, hello), ping("")}, chop: 1, echoes: helloBack, closes: protocolError},
		testCase{number: "3.5", frames: []string{reserved(5, ws.OpBinary, "\x00\xff\xfe\xfd\xfc\xfb\x00\xff")}, closes: protocolError},
		testCase{number: "3.6", frames: []string{reserved(6, ws.OpPing, hello)}, closes: protocolError},
		testCase{number: "3.7", frames: []string{reserved(7, ws.OpClose, "")}, closes: protocolError},
	)
	for i, first := range []ws.OpCode{opReserved3, opReserved11} {
		op := func(n int, payload string) string { return gatewaytest.Frame(true, first+ws.OpCode(n), payload) }
		add(
			testCase{number: fmt.Sprintf("4.%d.1", i+1), frames: []string{op(0, "")}, closes: protocolError},
			testCase{number: fmt.Sprintf("4.%d.2", i+1), frames: []string{op(1, "reserved opcode payload")}, closes: protocolError},
			testCase{number: fmt.Sprintf("4.%d.3", i+1), frames: []string{text(hello), op(2, ""), ping("")}, echoes: helloBack, closes: protocolError},
			testCase{number: fmt.Sprintf("4.%d.4", i+1), frames: []string{text(hello), op(3, hello), ping("")}, echoes: helloBack, closes: protocolError},
			testCase{number: fmt.Sprintf("4.%d.5", i+1), frames: []string{text(hello), op(4, hello), ping("")}, chop: 1, echoes: helloBack, closes: protocolError},
		)
	}
	return append(cases, fragmentCases()...)
}

// fragmentCases are 5.* of the suite, but for 5.19 and 5.20.
func fragmentCases() []testCase {
	cases := []testCase{
		{number: "5.1", frames: []string{part(ws.OpPing, "fragment1"), last("fragment2")}, closes: protocolError},
		{number: "5.2", frames: []string{part(ws.OpPong, "fragment1"), last("fragment2")}, closes: protocolError},
	}
	both := []string{part(ws.OpText, "fragment1"), last("fragment2")}
	pinged := []string{part(ws.OpText, "fragment1"), ping("ping payload"), last("fragment2")}
	bothBack := said(ws.OpText, "fragment1fragment2")
	chops := []chop{oneWrite, frameWise, 1}
	numbered := func(first int, frames, echoes []string, closes []ws.StatusCode) {
		for i, c := range chops {
			cases = append(cases, testCase{fmt.Sprintf("5.%d", first+i), frames, c, echoes, closes})
		}
	}
	numbered(3, both, []string{bothBack}, nil)
	numbered(6, pinged, []string{said(ws.OpPong, "ping payload"), bothBack}, nil)
	numbered(9, []string{last("non-continuation payload"), text("Hello, world!")}, nil, protocolError)
	numbered(12, []string{part(ws.OpContinuation, "non-continuation payload"), text("Hello, world!")}, nil, protocolError)
	stray := func(first string) []string { return []string{first, part(ws.OpText, "fragment2"), last("fragment3")} }
	endless, ended := stray(part(ws.OpContinuation, "fragment1")), stray(last("fragment1"))
	return append(cases,
		testCase{number: "5.15", frames: append(both[:2:2], part(ws.OpContinuation, "fragment3"), text("fragment4")), echoes: []string{bothBack}, closes: protocolError},
		testCase{number: "5.16", frames: append(endless[:3:3], endless...), closes: protocolError},
		testCase{number: "5.17", frames: append(ended[:3:3], ended...), closes: protocolError},
		testCase{number: "5.18", frames: []string{part(ws.OpText, "fragment1"), text("fragment2")}, closes: protocolError},
	)
}

// slowFragments are 5.19 and 5.20: a ping between fragments is answered before the message is whole.
func slowFragments(t *testing.T, addr string, cut chop) {
	c := dial(t, addr)
	want := func(back string) {
		t.Helper()
		h, payload, err := c.ReadFrame()
		if got := said(h.OpCode, string(payload)); err != nil || got != back {
			t.Fatalf("got %q, %v, want %q", got, err, back)
		}
	}
	send := func(frames ...string) {
		t.Helper()
		for _, piece := range cut.pieces(frames) {
			say(t, c, piece)
		}
	}
	send(part(ws.OpText, "fragment1"), part(ws.OpContinuation, "fragment2"), ping("pongme 1!"))
	want(said(ws.OpPong, "pongme 1!"))
	wantSilence(t, c)
	send(part(ws.OpContinuation, "fragment3"), part(ws.OpContinuation, "fragment4"), ping("pongme 2!"), last("fragment5"))
	want(said(ws.OpPong, "pongme 2!"))
	want(said(ws.OpText, "fragment1fragment2fragment3fragment4fragment5"))
	say(t, c, gatewaytest.CloseFrame(ws.StatusNormalClosure, ""))
	wantClosed(t, c, ws.StatusNormalClosure)
}
