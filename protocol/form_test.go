package protocol

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"

	"github.com/carillon-ws/carillon/protocol/websocket"
)

// notificationText returns about n bytes of JSON as applications send it: the keys repeat, the values do not.
func notificationText(n int) string {
	var b strings.Builder
	b.WriteByte('[')
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, `{"id":"%08x","type":"comment","title":"New reply %d","read":false,"at":%d},`, i*2654435761, i, 1767225600000+i*7919)
	}
	return strings.TrimSuffix(b.String(), ",") + "]"
}

// noise returns n random bytes of ASCII that JSON does not escape.
func noise(n int) string {
	rnd := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 0, n)
	for len(b) < n {
		if c := byte(' ' + rnd.IntN('~'-' ')); c != '"' && c != '\\' {
			b = append(b, c)
		}
	}
	return string(b)
}

// inflated reads a frame to a client with gobwas/ws and wsflate.
func inflated(t testing.TB, framed []byte) (payload []byte, wasDeflated bool) {
	t.Helper()
	h, err := ws.ReadHeader(bytes.NewReader(framed))
	if err != nil || !h.Fin || h.OpCode != ws.OpText || h.Masked || ws.HeaderSize(h)+int(h.Length) != len(framed) {
		t.Fatalf("gobwas/ws reads %.20x as %+v, %v, want one text frame", framed, h, err)
	}
	f := ws.Frame{Header: h, Payload: framed[ws.HeaderSize(h):]}
	wasDeflated, err = wsflate.IsCompressed(f.Header)
	if err != nil {
		t.Fatal(err)
	}
	if !wasDeflated {
		return f.Payload, false
	}
	if f, err = wsflate.DecompressFrame(f); err != nil {
		t.Fatalf("wsflate reads %.20x: %v", framed, err)
	}
	return f.Payload, true
}

func TestFrameDeflated(t *testing.T) {
	overhead := len(`{"type":"notification","channel":"c","data":"","timestamp":1}`)
	for _, tc := range []struct {
		name string
		data string
		want bool // compressed
	}{
		{"empty", "", false},
		{"short", "hello", false},
		{"one byte below the threshold", strings.Repeat("x", websocket.MinDeflate-1-overhead), false},
		{"at the threshold", strings.Repeat("x", websocket.MinDeflate-overhead), true},
		{"header shrinks from 4 bytes to 2", strings.Repeat("x", 1000), true},
		{"header shrinks from 10 bytes to 4", strings.Repeat("notifications:user:42 ", 5000), true},
		{"JSON of 1 KiB", notificationText(1 << 10), true},
		{"JSON of 64 KiB", notificationText(64 << 10), true},
		{"JSON of 128 KiB", notificationText(128 << 10), true},
		{"at the bound", strings.Repeat("x", websocket.MaxDeflate-overhead), true},
		{"one byte beyond the bound", strings.Repeat("x", websocket.MaxDeflate+1-overhead), false},
		{"far beyond the bound", strings.Repeat("x", 4*websocket.MaxDeflate), false},
		{"UTF-8", strings.Repeat("κόσμε 🔔", 100), true},
		{"noise", noise(100_000), true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, _ := NewNotification("c", tc.data, 1)
			before := bytes.Clone(f.Bytes())
			second := f.In(Deflated)
			got := second.Bytes()
			payload, isDeflated := inflated(t, got)
			if want, _ := inflated(t, before); !bytes.Equal(payload, want) {
				t.Errorf("Deflated of %d bytes inflates to %.50q, want %.50q", f.Len(), payload, want)
			}
			if isDeflated != tc.want || isDeflated && len(got) >= f.Len() {
				t.Errorf("Deflated of %d bytes = %d bytes, compressed %t, want %t", f.Len(), len(got), isDeflated, tc.want)
			}
			if cap(got) != len(got) {
				t.Errorf("the deflated frame of %d bytes has capacity %d", len(got), cap(got))
			}
			if !bytes.Equal(f.Bytes(), before) || !isDeflated && second != f {
				t.Error("Deflated changed the frame, or copied what it did not compress")
			}
			if f.In(Deflated) != second || second.In(Deflated) != second {
				t.Error("Deflated was made twice")
			}
			if second.Channel() != "c" || second.Len() != len(got) {
				t.Errorf("Deflated is of channel %q and %d bytes, want %q and %d", second.Channel(), second.Len(), "c", len(got))
			}
		})
	}
}

// If the compressed form is not smaller, In returns the frame itself. No JSON is like that, but the rule must hold.
func TestFrameDeflatedNotSmaller(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{websocket.MinDeflate, 1000, 70_000} {
		payload := make([]byte, n)
		for i := range payload {
			payload[i] = byte(rnd.Uint32())
		}
		f := &Frame{bytes: append(websocket.AppendHeader(nil, ws.OpText, n), payload...)}
		if got := f.In(Deflated); got != f {
			t.Errorf("Deflated of %d random bytes = %d bytes, want the frame's own %d", n, got.Len(), f.Len())
		}
	}
}

// FrameOf may have the rest of a frame, so In returns the frame itself.
func TestFrameOfDeflated(t *testing.T) {
	long, _ := NewNotification("c", strings.Repeat("x", 1000), 1)
	for _, framed := range [][]byte{long.Bytes(), long.Bytes()[100:], long.In(Deflated).Bytes(), {}} {
		f := FrameOf(framed, "")
		if got := f.In(Deflated); got != f || !bytes.Equal(got.Bytes(), framed) {
			t.Errorf("FrameOf(%.20x).In(Deflated) = %.20x, want the same", framed, got.Bytes())
		}
	}
}

// The compressed form does not keep the plain one in memory.
func TestDeflatedDoesNotKeepThePlainForm(t *testing.T) {
	f, _ := NewNotification("c", notificationText(1000), 1)
	freed := make(chan struct{})
	runtime.AddCleanup(f, func(struct{}) { close(freed) }, struct{}{})
	second := f.In(Deflated)
	f = nil
	runtime.GC()
	select {
	case <-freed:
	case <-time.After(10 * time.Second):
		t.Error("the compressed form keeps the plain one in memory")
	}
	runtime.KeepAlive(second)
}

// A frame without another form has one word for other forms.
func TestFrameSize(t *testing.T) {
	var f Frame
	if got, want := unsafe.Sizeof(f), unsafe.Sizeof(f.bytes)+unsafe.Sizeof(f.channel)+unsafe.Sizeof(uintptr(0)); got != want {
		t.Errorf("a Frame has %d bytes, want %d", got, want)
	}
}

// Loops that call In at the same time get the same frame.
func TestFrameDeflatedShared(t *testing.T) {
	data := notificationText(2000)
	for range 200 {
		f, _ := NewNotification("c", data, 1)
		var start, done sync.WaitGroup
		var got [8]*Frame
		start.Add(1)
		for i := range got {
			done.Go(func() {
				start.Wait()
				got[i] = f.In(Deflated)
			})
		}
		start.Done()
		done.Wait()
		for _, one := range got {
			if one != got[0] || one.Len() >= f.Len() {
				t.Fatalf("Deflated gives %d bytes here and %d there, in different places", one.Len(), got[0].Len())
			}
		}
		if payload, isDeflated := inflated(t, got[0].Bytes()); !isDeflated || !bytes.Equal(payload, f.Bytes()[4:]) {
			t.Fatalf("Deflated inflates to %.50q, want %.50q", payload, f.Bytes()[4:])
		}
	}
}

func TestFrameDeflatedAllocs(t *testing.T) {
	f, _ := NewNotification("c", notificationText(1000), 1)
	f.In(Deflated)
	if got := testing.AllocsPerRun(100, func() { f.In(Deflated) }); got != 0 {
		t.Errorf("asking again allocates %v times, want 0", got)
	}
	short, _ := NewNotification("c", "short", 1)
	if got := testing.AllocsPerRun(100, func() { short.In(Deflated) }); got != 0 {
		t.Errorf("asking for a short frame allocates %v times, want 0", got)
	}
	framed := f.Bytes()
	got := testing.AllocsPerRun(100, func() {
		f := Frame{bytes: framed}
		f.In(Deflated)
	})
	if got > 3 { // the plain frame, the record of its other forms, and the bytes
		t.Errorf("compressing a frame allocates %v times, want at most 3", got)
	}
}

// "once" is the cost of a publication for its first connection that compresses, "again" the cost for each other one.
func BenchmarkDeflated(b *testing.B) {
	for _, n := range []int{256, 1024, 4096, 65536, 200_000} { // the last is near the bound, escapes included
		f, _ := NewNotification("user:42", notificationText(n), 1_767_225_600_000)
		b.Run(fmt.Sprintf("once/payload=%d", n), func(b *testing.B) {
			b.SetBytes(int64(f.Len()))
			b.ReportAllocs()
			size := 0
			for b.Loop() {
				one := Frame{bytes: f.bytes}
				size = one.In(Deflated).Len()
			}
			b.ReportMetric(100*float64(size)/float64(f.Len()), "%size")
		})
		b.Run(fmt.Sprintf("again/payload=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f.In(Deflated)
			}
		})
	}
}
