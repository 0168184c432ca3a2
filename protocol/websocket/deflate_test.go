package websocket

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"
)

// notification returns about n bytes of JSON as applications send it: the keys repeat, the values do not.
func notification(n int) string {
	var b strings.Builder
	b.WriteByte('[')
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, `{"id":"%08x","type":"comment","title":"New reply %d","read":false,"at":%d},`, i*2654435761, i, 1767225600000+i*7919)
	}
	return strings.TrimSuffix(b.String(), ",") + "]"
}

// framed returns a text frame to a client.
func framed(payload string) []byte {
	return append(AppendHeader(nil, ws.OpText, len(payload)), payload...)
}

func TestDeflate(t *testing.T) {
	for _, tc := range []struct {
		name, payload string
		want          bool // compressed
	}{
		{"empty", "", false},
		{"one byte below the threshold", strings.Repeat("x", MinDeflate-1), false},
		{"at the threshold", strings.Repeat("x", MinDeflate), true},
		{"header shrinks from 4 bytes to 2", strings.Repeat("x", 1000), true},
		{"header shrinks from 10 bytes to 4", strings.Repeat("user:42 ", 10_000), true},
		{"JSON", notification(1 << 10), true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			whole := framed(tc.payload)
			before := bytes.Clone(whole)
			got := Deflate(whole)
			if !bytes.Equal(whole, before) {
				t.Error("Deflate changed what it was given")
			}
			if (got != nil) != tc.want {
				t.Fatalf("Deflate(%d bytes) = %d bytes, want compressed %t", len(whole), len(got), tc.want)
			}
			if got == nil {
				return
			}
			if len(got) >= len(whole) || cap(got) != len(got) {
				t.Errorf("Deflate(%d bytes) = %d bytes, capacity %d", len(whole), len(got), cap(got))
			}
			if out, err := new(Inflater).inflate(Payload(got), 0); err != nil || string(out) != tc.payload {
				t.Errorf("Deflate(%d bytes) inflates to %.50q, %v", len(whole), out, err)
			}
		})
	}
}

// If the compressed form is not smaller, Deflate returns nil. No JSON is like that, but the rule must hold.
func TestDeflateNotSmaller(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{MinDeflate, 1000, 70_000} {
		payload := make([]byte, n)
		for i := range payload {
			payload[i] = byte(rnd.Uint32())
		}
		if got := Deflate(framed(string(payload))); got != nil {
			t.Errorf("Deflate of %d random bytes = %d bytes, want nil", n, len(got))
		}
	}
}

// The pool keeps no unusually large buffer.
func TestDeflatePool(t *testing.T) {
	var loops sync.WaitGroup
	for range 8 {
		loops.Go(func() {
			rnd := rand.New(rand.NewPCG(1, 2))
			large := make([]byte, 0, 200_000)
			for len(large) < cap(large) {
				large = append(large, "0123456789abcdef"[rnd.IntN(16)])
			}
			Deflate(framed(string(large)))
		})
	}
	loops.Wait()
	deflaters.mu.Lock()
	defer deflaters.mu.Unlock()
	if len(deflaters.free) == 0 {
		t.Fatal("the pool is empty after it was used")
	}
	for _, d := range deflaters.free {
		if cap(d.out) > keepDeflated {
			t.Errorf("the pool keeps a buffer of %d bytes", cap(d.out))
		}
	}
}
