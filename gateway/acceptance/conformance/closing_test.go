package conformance

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/gateway/gatewaytest"
)

// closingCases are 7.* of the suite: frames, and the codes that may come back. The suite lets a server echo any valid code
// or answer 1000; the gateway echoes. For 7.5.1 the suite accepts 1002 too, and for 7.13.* anything.
func closingCases() []testCase {
	codes := func(c ...ws.StatusCode) []ws.StatusCode { return c }
	normal := gatewaytest.CloseFrame(ws.StatusNormalClosure, "")
	reason := func(n int) string { // built here, because the library shortens what is too long
		return gatewaytest.Frame(true, ws.OpClose, "\x03\xe8"+strings.Repeat("*", n))
	}
	back := []string{said(ws.OpText, "Hello World!")}
	big := strings.Repeat("BAsd7&jh23", 256<<10/10+1)[:256<<10]
	cases := []testCase{
		{number: "7.1.1", frames: []string{text("Hello World!"), normal}, echoes: back, closes: codes(ws.StatusNormalClosure)},
		{number: "7.1.2", frames: []string{normal, gatewaytest.Frame(true, ws.OpClose, "")}, closes: codes(ws.StatusNormalClosure)},
		{number: "7.1.3", frames: []string{normal, ping("")}, closes: codes(ws.StatusNormalClosure)},
		{number: "7.1.4", frames: []string{normal, text("Hello World!")}, closes: codes(ws.StatusNormalClosure)},
		{number: "7.1.5", frames: []string{part(ws.OpText, "fragment1"), normal, last("fragment2")}, closes: codes(ws.StatusNormalClosure)},
		{number: "7.1.6", frames: []string{text(big), text("Hello World!"), normal, ping("")}, echoes: append([]string{said(ws.OpText, big)}, back...), closes: codes(ws.StatusNormalClosure)},
		{number: "7.3.1", frames: []string{gatewaytest.Frame(true, ws.OpClose, "")}, closes: codes(noCode)},
		{number: "7.3.2", frames: []string{gatewaytest.Frame(true, ws.OpClose, "a")}, closes: protocolError},
		{number: "7.3.3", frames: []string{normal}, closes: codes(ws.StatusNormalClosure)},
		{number: "7.3.4", frames: []string{gatewaytest.CloseFrame(ws.StatusNormalClosure, "Hello World!")}, closes: codes(ws.StatusNormalClosure)},
		{number: "7.3.5", frames: []string{reason(123)}, closes: codes(ws.StatusNormalClosure)},
		{number: "7.3.6", frames: []string{reason(124)}, closes: protocolError},
		{number: "7.5.1", frames: []string{gatewaytest.CloseFrame(ws.StatusNormalClosure, cosme+"\xed\xa0\x80edited")}, closes: invalidPayload},
		{number: "7.13.1", frames: []string{gatewaytest.CloseFrame(5000, "")}, closes: protocolError},
		{number: "7.13.2", frames: []string{gatewaytest.CloseFrame(65535, "")}, closes: protocolError},
	}
	for i, code := range []ws.StatusCode{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
		cases = append(cases, testCase{number: fmt.Sprintf("7.7.%d", i+1), frames: []string{gatewaytest.CloseFrame(code, "")}, closes: codes(code)})
	}
	for i, code := range []ws.StatusCode{0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999} {
		cases = append(cases, testCase{number: fmt.Sprintf("7.9.%d", i+1), frames: []string{gatewaytest.CloseFrame(code, "")}, closes: protocolError})
	}
	return cases
}

// noCode is the code that gobwas/ws returns for a close frame without a code.
const noCode = ws.StatusCode(0)

// limitCases are 9.1 to 9.6, and 10.*: large messages, whole, in fragments and in small writes. The suite's largest have
// 16 MiB; without -full none is longer than largest.
func limitCases(largest int) []testCase {
	var cases []testCase
	add := func(number string, op ws.OpCode, frames []string, payload string, c chop) {
		cases = append(cases, testCase{number: number, frames: frames, chop: c, echoes: []string{said(op, payload)}})
	}
	for i, op := range []ws.OpCode{ws.OpText, ws.OpBinary} {
		fill := []string{"BAsd7&jh23", "\x00\xfe\x23\xfa\xf0"}[i]
		message := func(n int) string { return strings.Repeat(fill, n/len(fill)+1)[:n] }
		for j, n := range []int{64 << 10, 256 << 10, 1 << 20, 4 << 20, 8 << 20, 16 << 20} {
			n = min(n, largest)
			add(fmt.Sprintf("9.%d.%d", i+1, j+1), op, []string{gatewaytest.Frame(true, op, message(n))}, message(n), oneWrite)
		}
		for j, size := range []int{64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20} {
			n := min(4<<20, largest)
			add(fmt.Sprintf("9.%d.%d", i+3, j+1), op, fragments(op, message(n), size), message(n), oneWrite)
		}
		for j, size := range []int{64, 128, 256, 512, 1024, 2048} {
			add(fmt.Sprintf("9.%d.%d", i+5, j+1), op, []string{gatewaytest.Frame(true, op, message(1<<20))}, message(1<<20), chop(size))
		}
	}
	stars := strings.Repeat("*", 65536)
	add("10.1.1", ws.OpText, fragments(ws.OpText, stars, 1300), stars, oneWrite)
	return cases
}

// maxFragments is how many fragments the messages of 9.3.1 and 9.4.1 have: 4 MiB in frames of 64 bytes.
const maxFragments = 4 << 20 / 64

// roundTrips is one of 9.7 and 9.8: the next message is sent when the one before has come back.
func roundTrips(t *testing.T, addr string, op ws.OpCode, size, count int) {
	c := dial(t, addr)
	payload := strings.Repeat("*", size)
	frame := gatewaytest.Frame(true, op, payload)
	for range count {
		say(t, c, frame)
		h, got, err := c.ReadFrame()
		if err != nil || h.OpCode != op || string(got) != payload {
			t.Fatalf("got opcode %d, %d octets, %v", h.OpCode, len(got), err)
		}
	}
	say(t, c, gatewaytest.CloseFrame(ws.StatusNormalClosure, ""))
	wantClosed(t, c, ws.StatusNormalClosure)
}
