package protocol

import (
	"compress/flate"
	"runtime"
	"sync"

	"github.com/gobwas/ws"
)

const (
	// minDeflate is the shortest payload worth compressing. Below it the envelope is most of a notification and little
	// is saved, while the packet that carries it stays one packet.
	minDeflate = 256

	// maxDeflate is the longest payload that is compressed. Compressing holds the loop that does it, and the others that
	// want the same frame wait: 4 to 6 ns of CPU a byte for JSON and for noise (BenchmarkDeflated on the 2-core machine,
	// 7.5 on a busy one), so 1 to 2 ms for this much, which is the longest that a loop's other work may take at once.
	maxDeflate = 256 << 10

	// rsv1 marks a compressed message (RFC 7692 section 6), in the first byte of a frame.
	rsv1 = 0x40

	// keepDeflated is the largest buffer that a deflater keeps for the next frame.
	keepDeflated = 64 << 10
)

// deflation is the second form of a Frame, made when it is first asked for.
type deflation struct {
	once sync.Once
	// frame is fixed once made; without bytes there is no second form. It does not refer to the frame it was made of:
	// a backlog that holds the one does not hold the other.
	frame Frame
}

// notDeflated stands for the second form of frames that have none.
var notDeflated = &deflation{}

// Deflated returns the frame as it goes to connections that negotiated permessage-deflate ([Request.Deflate]):
// compressed if that makes it smaller, else f itself; so is a frame that is too short to gain by it, or so long that
// compressing it would hold a loop. It is compressed once, by whoever asks first, while others who
// ask at the same time wait; from then on it costs a load. The compressed frame is of the same channel.
//
// Safe to call from any goroutine.
func (f *Frame) Deflated() *Frame {
	d := f.deflation.Load()
	switch {
	case d == notDeflated, d == nil && !f.compressible():
		return f
	case d == nil:
		d = new(deflation)
		if !f.deflation.CompareAndSwap(nil, d) {
			d = f.deflation.Load()
		}
	}
	d.once.Do(func() {
		d.frame.bytes, d.frame.channel = deflateFrame(f.bytes), f.channel
		d.frame.deflation.Store(notDeflated)
	})
	if d.frame.bytes == nil {
		return f
	}
	return &d.frame
}

// compressible reports whether the payload's length is one that is compressed.
func (f *Frame) compressible() bool {
	return len(f.bytes) >= headerSize(minDeflate)+minDeflate && len(f.bytes) <= headerSize(maxDeflate)+maxDeflate
}

// deflateFrame returns a final text frame in its compressed form, or nil if that is not smaller.
func deflateFrame(framed []byte) []byte {
	d := takeDeflater()
	defer putDeflater(d)
	payload := framed[headerLen(framed):]
	compressed := d.deflate(payload)
	size := headerSize(len(compressed)) + len(compressed)
	if size >= len(framed) {
		return nil
	}
	exact := appendHeader(make([]byte, 0, size), ws.OpText, len(compressed))
	exact[0] |= rsv1
	return append(exact, compressed...)
}

// headerLen is the length of the unmasked header that framed begins with.
func headerLen(framed []byte) int {
	switch framed[1] {
	case 126:
		return 4
	case 127:
		return 10
	default:
		return 2
	}
}

// deflater compresses messages, each by itself.
type deflater struct {
	flate *flate.Writer
	out   []byte
}

func (d *deflater) Write(p []byte) (int, error) {
	d.out = append(d.out, p...)
	return len(p), nil
}

// deflate returns payload compressed, without the four bytes that RFC 7692 section 7.2.1 leaves out. It is valid
// until the next call.
func (d *deflater) deflate(payload []byte) []byte {
	d.out = d.out[:0]
	d.flate.Reset(d)
	_, _ = d.flate.Write(payload) // fails only if Write above does
	_ = d.flate.Flush()
	return d.out[:len(d.out)-len("\x00\x00\xff\xff")]
}

// deflaters are those that nobody uses. One is 1.2 MB, of which flate clears little between two messages. A
// sync.Pool would give them to the garbage collector and make new ones, each a good part of what sets it off.
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
	// Level 1 brings 1 KiB of JSON to 24 % in a third of the time that level 2 takes for 23 %, and level 6 for 22 %
	// (go test -bench Deflated). It fails only for levels that do not exist.
	d.flate, _ = flate.NewWriter(d, flate.BestSpeed)
	return d
}

func putDeflater(d *deflater) {
	if cap(d.out) > keepDeflated {
		d.out = nil
	}
	deflaters.mu.Lock()
	defer deflaters.mu.Unlock()
	if len(deflaters.free) < runtime.GOMAXPROCS(0) { // no more than that work at the same time
		deflaters.free = append(deflaters.free, d)
	}
}
