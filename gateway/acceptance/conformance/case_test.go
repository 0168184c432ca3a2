package conformance

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/gateway/gatewaytest"
)

// testCase is one case of the suite: what is sent, and what must come back.
type testCase struct {
	number string
	frames []string
	chop   chop
	echoes []string // what comes back, each made by said
	// closes are the codes with which the gateway may close the connection by itself. Without them the test closes with
	// 1000 when all echoes have come, and the gateway must answer with the same code.
	closes []ws.StatusCode
}

// chop says how the bytes of a case are cut into writes. Above zero it is the number of octets in a write.
type chop int

const (
	oneWrite  chop = 0
	frameWise chop = -1
)

// pieces cuts frames into writes.
func (c chop) pieces(frames []string) []string {
	switch c {
	case frameWise:
		return frames
	case oneWrite:
		return []string{strings.Join(frames, "")}
	default:
		var out []string
		for all := strings.Join(frames, ""); len(all) > 0; {
			n := min(int(c), len(all))
			out, all = append(out, all[:n]), all[n:]
		}
		return out
	}
}

// said returns a text for a frame from the gateway, so that frames can be compared.
func said(op ws.OpCode, payload string) string { return fmt.Sprintf("%d:%s", op, payload) }

func text(payload string) string   { return gatewaytest.Frame(true, ws.OpText, payload) }
func binary(payload string) string { return gatewaytest.Frame(true, ws.OpBinary, payload) }
func ping(payload string) string   { return gatewaytest.Frame(true, ws.OpPing, payload) }

// part returns a frame that is not the last of its message.
func part(op ws.OpCode, payload string) string { return gatewaytest.Frame(false, op, payload) }

// last returns the last frame of a message in fragments.
func last(payload string) string { return gatewaytest.Frame(true, ws.OpContinuation, payload) }

// fragments cuts a message into frames of at most size octets.
func fragments(op ws.OpCode, payload string, size int) []string {
	var out []string
	for len(payload) > size {
		out = append(out, part(op, payload[:size]))
		op, payload = ws.OpContinuation, payload[size:]
	}
	return append(out, gatewaytest.Frame(true, op, payload))
}

// tally counts the cases that ran and that passed, by category of the suite.
type tally struct {
	mu     sync.Mutex
	ran    map[string]int // Guarded by mu.
	passed map[string]int // Guarded by mu.
}

// judge runs a case as a subtest and counts it.
func (y *tally) judge(t *testing.T, number string, run func(t *testing.T)) {
	t.Helper()
	category, _, _ := strings.Cut(number, ".")
	passed := t.Run(number, run)
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.ran == nil {
		y.ran, y.passed = map[string]int{}, map[string]int{}
	}
	y.ran[category]++
	if passed {
		y.passed[category]++
	}
}

// total returns how many cases ran.
func (y *tally) total() (n int) {
	for _, ran := range y.ran {
		n += ran
	}
	return n
}

// report logs how many cases of each category passed; make conformance shows it.
func (y *tally) report() {
	for _, category := range slices.Sorted(maps.Keys(y.ran)) {
		fmt.Fprintf(os.Stdout, "cases %s.*: %d of %d passed\n", category, y.passed[category], y.ran[category])
	}
}

// run runs a case on a new connection.
func (tc *testCase) run(t *testing.T, addr string) {
	c := dial(t, addr)
	writing := make(chan error, 1)
	go func() { // the test must read while it writes, or both ends would wait for ever
		for _, piece := range tc.chop.pieces(tc.frames) {
			if err := c.Say(piece); err != nil {
				writing <- err
				return
			}
		}
		writing <- nil
	}()
	for _, want := range tc.echoes {
		h, payload, err := c.ReadFrame()
		if err != nil {
			t.Fatalf("before all echoes: %v", err)
		}
		if got := said(h.OpCode, string(payload)); got != want || !h.Fin || h.Rsv != 0 {
			t.Fatalf("got %.80q (%d octets), want %.80q (%d octets)", got, len(got), want, len(want))
		}
	}
	// A gateway that fails the connection need not read what comes after the fault.
	if err := <-writing; err != nil && tc.closes == nil {
		t.Fatalf("write: %v", err)
	}
	if tc.closes == nil {
		say(t, c, gatewaytest.CloseFrame(ws.StatusNormalClosure, ""))
		wantClosed(t, c, ws.StatusNormalClosure)
		return
	}
	wantClosed(t, c, tc.closes...)
}

// dial connects and upgrades. An echo server sends nothing by itself.
func dial(t *testing.T, addr string) *gatewaytest.Client {
	t.Helper()
	c, err := gatewaytest.Connect(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	say(t, c, gatewaytest.Head())
	if _, err := c.Response(); err != nil {
		t.Fatal(err)
	}
	return c
}

func say(t *testing.T, c *gatewaytest.Client, bytes string) {
	t.Helper()
	if err := c.Say(bytes); err != nil {
		t.Fatalf("write: %v", err)
	}
}

// wantClosed reads a close frame, which must have one of the codes, and then the end of the stream: the server must close the
// connection first (RFC 6455 section 7.1.1), and without a reset, so that the close frame is read.
func wantClosed(t *testing.T, c *gatewaytest.Client, codes ...ws.StatusCode) {
	t.Helper()
	h, payload, err := c.ReadFrame()
	if err != nil {
		t.Fatalf("before a close frame: %v", err)
	}
	if h.OpCode != ws.OpClose {
		t.Fatalf("got %.80q, want a close frame", said(h.OpCode, string(payload)))
	}
	if code, reason := ws.ParseCloseFrameData(payload); !slices.Contains(codes, code) {
		t.Fatalf("closed with %d %q, want %v", code, reason, codes)
	}
	if reset, err := c.AwaitEnd(); err != nil || reset {
		t.Fatalf("behind the close frame: reset %t, %v, want the end of the stream", reset, err)
	}
}

// wantSilence fails if anything comes for a while.
func wantSilence(t *testing.T, c *gatewaytest.Client) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if h, payload, err := c.ReadFrame(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %q, %v, want silence", said(h.OpCode, string(payload)), err)
	}
	if err := c.SetReadDeadline(time.Now().Add(gatewaytest.Patience)); err != nil {
		t.Fatal(err)
	}
}
