package client

import (
	"bytes"
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

// TestConsumeAtEverySplit feeds the same stream whole, and cut in two at every byte: what is counted must not differ.
func TestConsumeAtEverySplit(t *testing.T) {
	t.Parallel()
	var stream []byte
	for number := range uint32(3) {
		stream = append(stream, notificationFrame(t, 0, number, 300-100*int(number))...)
		stream = append(stream, serverFrame(t, ws.OpPong, nil)...)
	}
	stream = append(stream, serverFrame(t, ws.OpText, []byte(`{"type":"gap","channel":"bench:0","reason":"slow","timestamp":1}`))...)
	stream = append(stream, serverFrame(t, ws.OpText, []byte(`{"type":"error","code":"internal","timestamp":1}`))...)
	stream = append(stream, serverFrame(t, ws.OpText, []byte(`{"type":"notification","channel":"bench:0","data":"hello","timestamp":1}`))...)
	for cut := range len(stream) + 1 {
		w, c := idlePoller(1)
		first := bytes.Clone(stream[:cut])
		used, err := w.consume(c, first, 1)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		rest := slices.Concat(first[used:], stream[cut:])
		if used, err = w.consume(c, rest, 1); err != nil || used != len(rest) {
			t.Fatalf("cut at %d: second half: used %d of %d, %v", cut, used, len(rest), err)
		}
		got := w.tally
		if got.Received != 3 || got.GapsTold != 1 || got.ErrorsTold != 1 || got.Foreign != 1 || len(w.done) != 3 {
			t.Fatalf("cut at %d: received %d, gaps %d, errors %d, foreign %d, completed %d, want 3, 1, 1, 1, 3",
				cut, got.Received, got.GapsTold, got.ErrorsTold, got.Foreign, len(w.done))
		}
	}
}
