package websocket

import (
	"compress/flate"
	"runtime"
	"sync"

	"github.com/gobwas/ws"
)

// keepDeflated is the largest output buffer, in bytes, that a deflater keeps for the next frame.
const keepDeflated = 64 << 10

// MinDeflate is the length in bytes of the shortest payload that is compressed. Compressing shorter ones saves little, and
// they fit one TCP segment anyway.
const MinDeflate = 256

// MaxDeflate is the length in bytes of the longest payload that is compressed. The loop that compresses a frame does nothing
// else meanwhile, and other loops that need the same frame wait for it. It takes 4 to 6 ns for each byte of JSON or noise
// (BenchmarkDeflated on a machine with 2 cores; 7.5 ns while it is busy). So this length takes 1 to 2 ms, which is also the
// limit for a loop's other work before it looks at its sockets.
const MaxDeflate = 256 << 10

// Compressible reports whether a whole unmasked frame has a payload of [MinDeflate] to [MaxDeflate] bytes.
func Compressible(framed []byte) bool {
	n := len(framed)
	return n >= HeaderSize(MinDeflate)+MinDeflate && n <= HeaderSize(MaxDeflate)+MaxDeflate
}

// Deflate returns the compressed form (RFC 7692) of a whole unmasked text frame, made without the window of an earlier
// message. It returns nil if that is not smaller, or if framed is not [Compressible]. framed is not kept. Safe to call from
// any goroutine.
func Deflate(framed []byte) []byte {
	if !Compressible(framed) {
		return nil
	}
	payload := Payload(framed)
	d := takeDeflater()
	defer putDeflater(d)
	compressed := d.deflate(payload)
	size := HeaderSize(len(compressed)) + len(compressed)
	if size >= len(framed) {
		return nil
	}
	exact := AppendHeader(make([]byte, 0, size), ws.OpText, len(compressed))
	exact[0] |= rsv1
	return append(exact, compressed...)
}

// deflater compresses messages, each without the window of another.
type deflater struct {
	flate *flate.Writer
	out   []byte
}

func (d *deflater) Write(p []byte) (int, error) {
	d.out = append(d.out, p...)
	return len(p), nil
}

// deflate returns payload compressed, without the last four bytes, as RFC 7692 section 7.2.1 asks. The result is valid until
// the next call.
func (d *deflater) deflate(payload []byte) []byte {
	d.out = d.out[:0]
	d.flate.Reset(d)
	_, _ = d.flate.Write(payload) // fails only if Write above does
	_ = d.flate.Flush()
	return d.out[:len(d.out)-len("\x00\x00\xff\xff")]
}

// deflaters are the deflaters that are not in use. Each has 1.2 MB, of which flate clears little between two messages. A
// sync.Pool would free them at each garbage collection, and new ones would soon cause the next collection.
var deflaters struct {
	// Guarded by mu.
	mu   sync.Mutex
	free []*deflater
}

// takeDeflater takes a deflater from the pool; putDeflater gives it back.
func takeDeflater() *deflater {
	deflaters.mu.Lock()
	defer deflaters.mu.Unlock()
	if last := len(deflaters.free) - 1; last >= 0 {
		d := deflaters.free[last]
		deflaters.free[last] = nil
		deflaters.free = deflaters.free[:last]
		return d
	}
	d := &deflater{}
	// Level 1 compresses 1 KiB of JSON to 24 %. Level 2 takes three times as long for 23 %, and so does level 6 for 22 %
	// (go test -bench Deflated). NewWriter fails only for levels that do not exist.
	d.flate, _ = flate.NewWriter(d, flate.BestSpeed)
	return d
}

func putDeflater(d *deflater) {
	if cap(d.out) > keepDeflated {
		d.out = nil
	}
	deflaters.mu.Lock()
	defer deflaters.mu.Unlock()
	if len(deflaters.free) < runtime.GOMAXPROCS(0) { // no more deflaters are in use at the same time
		deflaters.free = append(deflaters.free, d)
	}
}
