package websocket

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
)

// compressed returns payload as a client would compress it. It uses only the standard library.
func compressed(t testing.TB, payload string, level int) string {
	t.Helper()
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, level)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(payload)); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(out.String(), "\x00\x00\xff\xff")
}

// The payloads of RFC 7692 section 7.2.3.
const (
	rfcHello       = "\xf2\x48\xcd\xc9\xc9\x07\x00"                         // 7.2.3.1
	rfcHelloWindow = "\xf2\x00\x11\x00\x00"                                 // 7.2.3.2: it depends on the message before
	rfcHelloStored = "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"         // 7.2.3.3
	rfcHelloFinal  = "\xf3\x48\xcd\xc9\xc9\x07\x00\x00"                     // 7.2.3.4
	rfcHelloBlocks = "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00" // 7.2.3.5
	rfcEmpty       = "\x00"                                                 // 7.2.3.6
)

func TestReaderDeflate(t *testing.T) {
	const (
		opContinuation = byte(ws.OpContinuation)
		opText         = byte(ws.OpText)
		opBinary       = byte(ws.OpBinary)
		opClose        = byte(ws.OpClose)
		opPing         = byte(ws.OpPing)
	)
	long := strings.Repeat(`{"type":"subscribe","channel":"user:42"}`, 500) // 20,000 bytes
	small := compressed(t, long, 9)
	deflated := func(payload string) []byte { return frame(fin|rsv1|opText, payload) }
	lim := Limits{MaxMessage: 1 << 20, MaxFragments: 8}
	for _, row := range []struct {
		name   string
		in     []byte
		events string
		err    error
		mid    bool
		lim    Limits
	}{
		{name: "7.2.3.1 one block", in: deflated(rfcHello), events: said(opText, "Hello")},
		{name: "7.2.3.1 in fragments", in: join(frame(rsv1|opText, rfcHello[:3]), frame(fin|opContinuation, rfcHello[3:])), events: said(opText, "Hello")},
		{name: "7.2.3.2 sharing the window", in: join(deflated(rfcHello), deflated(rfcHelloWindow)), events: said(opText, "Hello"), err: ErrInflate},
		{name: "7.2.3.2 each by itself", in: join(deflated(rfcHello), deflated(rfcHello)), events: said(opText, "Hello") + said(opText, "Hello")},
		{name: "7.2.3.3 no compression", in: deflated(rfcHelloStored), events: said(opText, "Hello")},
		{name: "7.2.3.4 BFINAL", in: deflated(rfcHelloFinal), events: said(opText, "Hello")},
		{name: "7.2.3.4 BFINAL without the byte behind it", in: deflated(rfcHelloFinal[:7]), events: said(opText, "Hello")},
		{name: "7.2.3.4 BFINAL twice", in: deflated(rfcHelloFinal[:7] + rfcHelloFinal), events: said(opText, "HelloHello")},
		{name: "7.2.3.4 BFINAL, then a block that looks back over it", in: deflated(rfcHelloFinal[:7] + rfcHelloWindow), err: ErrInflate},
		{name: "7.2.3.5 two blocks", in: deflated(rfcHelloBlocks), events: said(opText, "Hello")},
		{name: "7.2.3.6 empty", in: deflated(rfcEmpty), events: said(opText, "")},
		{name: "7.2.3.6 empty in fragments", in: join(frame(rsv1|opText, ""), frame(opContinuation, rfcEmpty), frame(fin|opContinuation, "")), events: said(opText, "")},
		{name: "7.2.3.6 not even the byte of an empty message", in: deflated(""), err: ErrInflate},
		{name: "7.2.1 the tail is sent too", in: deflated(rfcHello + "\x00\xff\xff"), err: ErrInflate},
		{name: "7.2.1 an empty block more", in: deflated(rfcHello + "\x00\x00\xff\xff\x00"), events: said(opText, "Hello")},

		{name: "6 not compressed, after one that was", in: join(deflated(rfcHello), text("Hello")), events: said(opText, "Hello") + said(opText, "Hello")},
		{name: "6 not compressed, in fragments, after one that was", in: join(
			frame(rsv1|opText, rfcHello[:1]), frame(fin, rfcHello[1:]), frame(opText, "Hel"), frame(fin, "lo"),
		), events: said(opText, "Hello") + said(opText, "Hello")},
		{name: "6 ping between fragments", in: join(frame(rsv1|opText, rfcHello[:3]), frame(fin|opPing, "p"), frame(fin|opContinuation, rfcHello[3:])), events: said(opPing, "p") + said(opText, "Hello")},
		{name: "6 close between fragments", in: join(frame(rsv1|opText, rfcHello[:3]), frame(fin|opClose, "")), events: said(opClose, ""), mid: true},
		{name: "6 first fragment alone", in: frame(rsv1|opText, rfcHello), mid: true},
		{name: "6 many fragments", in: join(
			frame(rsv1|opText, small[:1]), frame(0, small[1:2]), frame(0, ""), frame(0, small[2:9]), frame(fin, small[9:]), text("x"),
		), events: said(opText, long) + said(opText, "x")},
		{name: "6 binary", in: frame(fin|rsv1|opBinary, compressed(t, "\xff\xfe", 1)), events: said(opBinary, "\xff\xfe"), lim: Limits{AllowBinary: true}},
		{name: "6 binary, refused", in: frame(fin|rsv1|opBinary, "x"), err: ErrBinary},
		{name: "6 two messages in one piece", in: join(deflated(small), deflated(rfcHello)), events: said(opText, long) + said(opText, "Hello")},

		{name: "T15 6 RSV1 of a continuation", in: join(frame(rsv1|opText, rfcHello[:3]), frame(fin|rsv1|opContinuation, rfcHello[3:])), err: ErrReservedBits},
		{name: "T15 6 RSV1 of a continuation only", in: join(frame(opText, "a"), frame(fin|rsv1|opContinuation, rfcHello)), err: ErrReservedBits},
		{name: "T15 6 RSV1 of a ping", in: frame(fin|rsv1|opPing, rfcHello), err: ErrReservedBits},
		{name: "T15 6 RSV1 of a ping between fragments", in: join(frame(rsv1|opText, rfcHello), frame(fin|rsv1|opPing, "")), err: ErrReservedBits},
		{name: "T15 6 RSV1 of a close", in: frame(fin|rsv1|opClose, rfcHello), err: ErrReservedBits},
		{name: "T15 6 RSV2", in: frame(fin|0x20|opText, rfcHello), err: ErrReservedBits},
		{name: "T15 6 RSV1 and RSV3", in: frame(fin|rsv1|0x10|opText, rfcHello), err: ErrReservedBits},
		{name: "T15 6 RSV1 of a reserved opcode", in: frame(fin|rsv1|3, ""), err: ErrReservedBits},
		{name: "T15 6 message inside a message", in: join(frame(rsv1|opText, rfcHello), deflated(rfcHello)), err: ErrNoContinuation},

		{name: "T15 8.1 UTF-8 after inflation", in: deflated(compressed(t, "κόσμε 🔔", 9)), events: said(opText, "κόσμε 🔔")},
		{name: "T15 8.1 compressed bytes need not be UTF-8", in: join(frame(rsv1|opText, rfcHello[:1]), frame(fin, rfcHello[1:])), events: said(opText, "Hello")},
		{name: "T15 8.1 not UTF-8 after inflation", in: deflated(compressed(t, "a\xffb", 9)), err: ErrUTF8},
		{name: "T15 8.1 not UTF-8 after inflation, in fragments", in: join(frame(rsv1|opText, ""), frame(fin, compressed(t, "a\xe2\x82", 9))), err: ErrUTF8},
		{name: "T15 corrupt: type of block", in: deflated("\x07"), err: ErrInflate},
		{name: "T15 corrupt: lengths of a stored block", in: deflated("\x00\x05\x00\xfa\xfeHello\x00"), err: ErrInflate},
		{name: "T15 corrupt: stored block that is cut", in: deflated(rfcHelloStored[:8]), err: ErrInflate},
		{name: "T15 corrupt: before the beginning", in: deflated("\x02\x20\x00"), err: ErrInflate},
		{name: "T15 corrupt: cut", in: deflated(small[:len(small)/2]), err: ErrInflate},
		{name: "T15 corrupt: not compressed at all", in: deflated(`{"type":"ping"}`), err: ErrInflate},
		{name: "T15 corrupt in fragments", in: join(frame(rsv1|opText, "\x07"), frame(fin, "\x07")), err: ErrInflate},
		{name: "T15 corrupt, then more", in: join(deflated("\x07"), text("x")), err: ErrInflate},

		{name: "T17 at the limit", in: deflated(small), events: said(opText, long), lim: Limits{MaxMessage: len(long)}},
		{name: "T17 over the limit by one", in: deflated(small), err: ErrMessageTooBig, lim: Limits{MaxMessage: len(long) - 1}},
		{name: "T17 over the limit in fragments", in: join(frame(rsv1|opText, small[:9]), frame(fin, small[9:])), err: ErrMessageTooBig, lim: Limits{MaxMessage: len(long) - 1}},
		{name: "T17 far over the limit", in: deflated(small), err: ErrMessageTooBig, lim: Limits{MaxMessage: len(small)}},
		{name: "T17 over the limit on the wire", in: header(fin|rsv1|opText, 11), err: ErrMessageTooBig, lim: Limits{MaxMessage: 10}},
		{name: "T17 empty at a limit of one", in: deflated(rfcEmpty), events: said(opText, ""), lim: Limits{MaxMessage: 1}},
		{name: "T17 no limit", in: deflated(small), events: said(opText, long), lim: Limits{MaxMessage: -1}},
		{name: "T12 too many fragments", in: join(frame(rsv1|opText, ""), frame(0, ""), frame(0, "")), err: ErrTooManyFrames, lim: Limits{MaxFragments: 2}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			use := lim
			if row.lim != (Limits{}) {
				use = row.lim
			}
			use.Inflater = new(Inflater)
			want := outcome{row.events, row.err, row.mid}
			if got := eachSplit(t, &use, row.in); got != want {
				t.Errorf("read(%.100x) = %.200v, want %.200v", row.in, got, want)
			}
		})
	}
}

// An event has the compressed size of its message, so that the sender can be charged for the work.
func TestEventDeflated(t *testing.T) {
	opText := byte(ws.OpText)
	lim := Limits{Inflater: new(Inflater)}
	var r Reader
	data := join(
		frame(fin|rsv1|opText, rfcHello), text("Hello"), frame(fin|rsv1|opText, rfcHelloStored),
		frame(rsv1|opText, rfcHello[:3]), frame(fin|byte(ws.OpPing), "p"), frame(fin, rfcHello[3:]),
		frame(opText, "Hel"), frame(fin, "lo"),
	)
	for i, want := range []int{len(rfcHello), 0, len(rfcHelloStored), 0, len(rfcHello), 0} {
		ev, used, err := r.Next(data, &lim)
		for err == nil && ev.None() && used > 0 {
			data = data[used:]
			ev, used, err = r.Next(data, &lim)
		}
		if err != nil || ev.Deflated != want {
			t.Errorf("event %d: Deflated = %d, %v, want %d", i, ev.Deflated, err, want)
		}
		data = data[used:]
	}
	if len(data) > 0 {
		t.Errorf("%d bytes are left", len(data))
	}
}

// One message is cut into two fragments at every point, and the fragments into chunks at every point.
func TestReaderDeflateFragments(t *testing.T) {
	payload := compressed(t, strings.Repeat("notifications:user:42 ", 40), 6)
	want := outcome{events: said(byte(ws.OpText), strings.Repeat("notifications:user:42 ", 40))}
	lim := Limits{MaxMessage: 1 << 10, Inflater: new(Inflater)}
	for at := range len(payload) + 1 {
		in := join(frame(rsv1|byte(ws.OpText), payload[:at]), frame(fin, payload[at:]))
		for cut := range in {
			if got := readAll(t, &lim, in[:cut], in[cut:]); got != want {
				t.Fatalf("fragments of %d and %d bytes, cut at %d: %v, want %v", at, len(payload)-at, cut, got, want)
			}
		}
	}
}

// bomb returns about n KB that inflate to n MiB of zeros.
func bomb(t testing.TB, n int) string {
	t.Helper()
	one := compressed(t, strings.Repeat("\x00", 1<<20), 9) + "\x00\x00\xff\xff"
	return strings.TrimSuffix(strings.Repeat(one, n), "\x00\x00\xff\xff")
}

// emptyBlocks returns about n bytes of blocks without data, each with codes of its own (RFC 1951 section 3.2.7). No other
// input costs as much time for each byte: the inflater builds tables for each block.
func emptyBlocks(n int) string {
	var block []byte // one bit each
	put := func(v, bits int) {
		for i := range bits {
			block = append(block, byte(v>>i&1))
		}
	}
	put(0b100, 3)       // BTYPE 2, not the last
	put(0, 5)           // HLIT 257
	put(0, 5)           // HDIST 1
	put(18-4, 4)        // HCLEN
	for i := range 18 { // code 18 has 1 bit, codes 0 and 1 have 2 each
		put(map[int]int{2: 1, 3: 2, 17: 2}[i], 3)
	}
	put(0, 1)
	put(138-11, 7) // 138 lengths of 0
	put(0, 1)
	put(118-11, 7) // 118 more
	put(0b11, 2)   // the end of a block has length 1
	put(0b11, 2)   // and so has distance 0
	put(0, 1)      // the end of this block
	var out []byte
	bits := 0
	add := func(b byte) {
		if bits%8 == 0 {
			out = append(out, 0)
		}
		out[bits/8] |= b << (bits % 8)
		bits++
	}
	for len(out) < n-20 {
		for _, b := range block {
			add(b)
		}
	}
	for range 3 { // the stored block whose end a sender leaves out
		add(0)
	}
	return string(out)
}

// The inflater never holds more than the limit, however much a message would inflate to, and it stops at once.
func TestInflateBomb(t *testing.T) {
	for _, tc := range []struct {
		name       string
		payload    string
		maxMessage int
	}{
		{"64 KiB to 60 MiB", bomb(t, 60), 64 << 10},
		{"256 KiB to 250 MiB", bomb(t, 250), 256 << 10},
		{"to 17 MiB, no limit", bomb(t, 17), 0},
		{"blocks of nothing", strings.Repeat("\x00\x00\x00\xff\xff", 13_000) + "\x00", 64 << 10},
		{"blocks with codes and nothing", emptyBlocks(64 << 10), 64 << 10},
		{"streams of nothing", strings.Repeat("\x03\x00", 32_000), 64 << 10},
	} {
		t.Run(tc.name, func(t *testing.T) {
			z := new(Inflater)
			if _, err := z.inflate([]byte(rfcHello), 100); err != nil { // its own 40 KB
				t.Fatal(err)
			}
			payload := []byte(tc.payload)
			if tc.maxMessage > 0 && len(payload) > tc.maxMessage {
				t.Fatalf("the bomb has %d bytes: its header would be refused", len(payload))
			}
			limit := tc.maxMessage
			if limit == 0 {
				limit = maxInflated
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			out, err := z.inflate(payload, tc.maxMessage)
			runtime.ReadMemStats(&after)
			if strings.HasSuffix(tc.name, "nothing") {
				if err != nil || len(out) > 0 {
					t.Errorf("inflate = %d bytes, %v, want an empty message", len(out), err)
				}
			} else if !errors.Is(err, ErrMessageTooBig) || out != nil {
				t.Errorf("inflate = %d bytes, %v, want %v", len(out), err, ErrMessageTooBig)
			}
			// The sum of all buffers: each is twice the one before, and the last is the limit.
			if took, most := after.TotalAlloc-before.TotalAlloc, uint64(3*limit+16<<10); took > most {
				t.Errorf("inflate took %d bytes of memory, want at most %d", took, most)
			}
			if cap(z.out) > keepInflated || z.in.payload != nil {
				t.Errorf("the inflater keeps a buffer of %d bytes, and %d of the payload", cap(z.out), len(z.in.payload))
			}
			if out, err := z.inflate([]byte(rfcHello), 5); err != nil || string(out) != "Hello" {
				t.Errorf("after it, inflate = %q, %v", out, err)
			}
		})
	}
}

// peerInflate inflates with wsflate. It ignores what follows the first stream. Its ReadByte returns a zero between the
// payload and the tail (v1.5.0), which changes what damaged payloads mean.
func peerInflate(payload []byte, most int) ([]byte, error) {
	source := struct{ io.Reader }{bytes.NewReader(payload)}
	r := wsflate.NewReader(source, func(r io.Reader) wsflate.Decompressor { return flate.NewReader(r) })
	return io.ReadAll(io.LimitReader(r, int64(most)+1))
}

// checkInflate compares with wsflate. Both use compress/flate, so this package causes every difference.
func checkInflate(t *testing.T, z *Inflater, payload []byte, most int) {
	t.Helper()
	got, err := z.inflate(payload, most)
	peer, peerErr := peerInflate(payload, most)
	switch {
	case err == nil && (peerErr != nil || !bytes.HasPrefix(got, peer)):
		t.Errorf("inflate(%x) = %q, wsflate %q, %v", payload, got, peer, peerErr)
	case err == nil && len(got) > most, cap(z.out) > max(most, keepInflated):
		t.Errorf("inflate(%x, %d) = %d bytes in a buffer of %d", payload, most, len(got), cap(z.out))
	case err != nil && !errors.Is(err, ErrMessageTooBig) && !errors.Is(err, ErrInflate):
		t.Errorf("inflate(%x) = %v, want a *CloseError", payload, err)
	}
}

// Random texts, whole and damaged, are read as wsflate reads them.
func TestInflatePeer(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	z := new(Inflater)
	for i := range 48 {
		var b strings.Builder
		for range rnd.IntN(300) {
			fmt.Fprintf(&b, `{"n":%d,"s":"%x"}`, rnd.IntN(10), rnd.IntN(1<<(1+rnd.IntN(30))))
		}
		message := b.String()
		payload := []byte(compressed(t, message, i%12-2))
		got, err := z.inflate(payload, len(message)+1)
		if err != nil || string(got) != message {
			t.Fatalf("inflate = %.50q, %v, want %.50q", got, err, message)
		}
		for range 10 {
			damaged := slices.Clone(payload)
			switch at := rnd.IntN(len(damaged)); rnd.IntN(3) {
			case 0:
				damaged = damaged[:at]
			case 1:
				damaged[at] ^= 1 << rnd.IntN(8)
			default:
				damaged = append(damaged[:at], damaged[min(len(damaged), at+1+rnd.IntN(3)):]...)
			}
			checkInflate(t, z, damaged, 1+rnd.IntN(2*len(message)+2))
		}
	}
}

// For no input may the inflater panic, hold more than the limit, or return something else than wsflate. Then the same bytes
// come as a frame, whole and in two fragments.
func FuzzInflate(f *testing.F) {
	for _, payload := range []string{
		rfcHello, rfcHelloWindow, rfcHelloStored, rfcHelloFinal, rfcHelloFinal[:7], rfcHelloBlocks, rfcEmpty, "", bomb(f, 1),
		compressed(f, `{"type":"subscribe","channel":"user:42"}`, 9), compressed(f, strings.Repeat("κόσμε 🔔", 50), 1),
		rfcHelloFinal[:7] + rfcHelloFinal, strings.Repeat("\x03\x00", 5),
	} {
		f.Add([]byte(payload), uint16(1000))
		f.Add([]byte(payload), uint16(4))
	}
	z := new(Inflater)
	f.Fuzz(func(t *testing.T, payload []byte, most uint16) {
		limit := int(most) + 1
		checkInflate(t, z, payload, limit)
		lim := Limits{MaxMessage: limit, Inflater: z}
		whole := readAll(t, &lim, frame(fin|rsv1|byte(ws.OpText), string(payload)))
		at := len(payload) / 2
		parts := join(frame(rsv1|byte(ws.OpText), string(payload[:at])), frame(fin, string(payload[at:])))
		if got := readAll(t, &lim, parts); got != whole {
			t.Errorf("read(%x) in fragments = %v, want %v as in one frame", payload, got, whole)
		}
	})
}

func TestInflateAllocs(t *testing.T) {
	opText := byte(ws.OpText)
	for _, tc := range []struct {
		name    string
		message string
		most    float64
	}{
		{"command", `{"type":"subscribe","channel":"user:42"}`, 0},
		{"command of 500 bytes", `{"type":"subscribe","channels":["` + strings.Repeat("user:42,", 60) + `"]}`, 0},
		{"64 KiB", strings.Repeat("notifications:user:42 ", 2900), 0},
	} {
		in := frame(fin|rsv1|opText, compressed(t, tc.message, 1))
		lim := Limits{MaxMessage: 64 << 10, Inflater: new(Inflater)}
		var r Reader
		data := make([]byte, len(in))
		got := testing.AllocsPerRun(100, func() {
			copy(data, in)
			if ev, _, err := r.Next(data, &lim); err != nil || len(ev.Payload) != len(tc.message) {
				t.Fatal(err)
			}
		})
		if got > tc.most {
			t.Errorf("reading a compressed %s allocates %v times, want %v", tc.name, got, tc.most)
		}
	}
}

func BenchmarkInflate(b *testing.B) {
	for _, bc := range []struct{ name, message string }{
		{"command", `{"type":"subscribe","channel":"user:42"}`},
		{"text=1024", notification(1024)},
		{"text=16384", notification(16 << 10)},
		{"hostile=65536", ""},
	} {
		payload := []byte(compressed(b, bc.message, 6))
		if bc.message == "" { // the slowest 64 KiB
			payload = []byte(emptyBlocks(64 << 10))
		}
		b.Run(bc.name, func(b *testing.B) {
			z := new(Inflater)
			b.SetBytes(int64(len(bc.message)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := z.inflate(payload, 64<<10); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(payload)), "ns/received-B")
		})
	}
}
