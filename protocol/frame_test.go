package protocol

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/protocol/websocket"
)

// The header for each length is that of RFC 6455 section 5.2.
func TestFrameHeader(t *testing.T) {
	overhead := len(`{"type":"pong","id":"","timestamp":0}`)
	for _, tc := range []struct {
		length int
		want   []byte
	}{
		{overhead, []byte{0x81, byte(overhead)}},
		{124, []byte{0x81, 124}},
		{125, []byte{0x81, 125}},
		{126, []byte{0x81, 126, 0, 126}},
		{127, []byte{0x81, 126, 0, 127}},
		{65535, []byte{0x81, 126, 0xff, 0xff}},
		{65536, []byte{0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0}},
		{70000, []byte{0x81, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70}},
	} {
		m := Message{Type: MessagePong, ID: []byte(`"` + strings.Repeat("x", tc.length-overhead) + `"`)}
		payload, _ := AppendMessage(nil, &m)
		want := slices.Concat(tc.want, payload)
		if len(payload) != tc.length {
			t.Fatalf("the message has %d bytes, want %d", len(payload), tc.length)
		}
		if got := NewFrame(&m); !bytes.Equal(got.Bytes(), want) || got.Len() != len(want) {
			t.Errorf("NewFrame(%d bytes) = %.20x, %d bytes, want %.20x, %d", tc.length, got.Bytes(), got.Len(), want, len(want))
		}
		for _, before := range []string{"", "before"} {
			if got := AppendMessageFrame([]byte(before), &m); string(got) != before+string(want) {
				t.Errorf("AppendMessageFrame(%q, %d bytes) = %.20x, want %.20x", before, tc.length, got, before+string(want))
			}
		}
		if h, err := ws.ReadHeader(bytes.NewReader(want)); err != nil || !h.Fin || h.OpCode != ws.OpText || h.Masked || h.Length != int64(tc.length) {
			t.Errorf("gobwas/ws reads the header of %d bytes as %+v, %v", tc.length, h, err)
		}
	}
}

func TestNewNotificationGolden(t *testing.T) {
	var rows []goldenMessage
	readGolden(t, "messages.json", &rows)
	for _, row := range rows {
		if row.Message.Type != MessageNotification {
			continue
		}
		m := row.Message.message()
		got, replaced := NewNotification(m.Channel, m.Data, m.Timestamp)
		want := ws.MustCompileFrame(ws.NewTextFrame([]byte(row.Wire)))
		if !bytes.Equal(got.Bytes(), want) || replaced != 0 || got.Channel() != m.Channel {
			t.Errorf("NewNotification(%q, %q) = %q, %d, channel %q, want %q", m.Channel, m.Data, got.Bytes(), replaced, got.Channel(), want)
		}
		if n := cap(got.Bytes()); n != got.Len() {
			t.Errorf("the frame of %d bytes has capacity %d: whoever appends to it would share", got.Len(), n)
		}
	}
}

func TestNewNotificationNotUTF8(t *testing.T) {
	f, replaced := NewNotification("c", "a\xff\xfeb", 1)
	if want := `{"type":"notification","channel":"c","data":"a` + "\ufffd\ufffd" + `b","timestamp":1}`; string(f.Bytes()[2:]) != want || replaced != 2 {
		t.Errorf("NewNotification = %s, %d, want %s, 2", f.Bytes()[2:], replaced, want)
	}
}

// A frame does not change when others are encoded after it, or when several goroutines read it.
func TestFrameShared(t *testing.T) {
	first, _ := NewNotification("user:42", "first", 1)
	want := bytes.Clone(first.Bytes())
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for range 100 {
				other, _ := NewNotification("user:43", strings.Repeat("other", 20), 2)
				if !bytes.Equal(first.Bytes(), want) || bytes.Equal(other.Bytes(), want) {
					t.Error("a frame changed after it was made")
					return
				}
			}
		})
	}
	readers.Wait()
	kept := FrameOf(want, "")
	clear(want)
	if !bytes.Equal(kept.Bytes(), first.Bytes()) || kept.Channel() != "" {
		t.Errorf("FrameOf = %q, channel %q, want a copy without a channel", kept.Bytes(), kept.Channel())
	}
	if gap := NewFrame(&Message{Type: MessageGap, Channel: "user:42", Reason: GapSlow}); gap.Channel() != "" {
		t.Errorf("a gap has channel %q: it could be dropped", gap.Channel())
	}
}

func TestFrameAllocs(t *testing.T) {
	m := Message{Type: MessageSubscribed, ID: []byte("7"), Channel: "user:42", Timestamp: 1}
	dst := make([]byte, 0, 1<<17)
	long := Message{Type: MessageNotification, Channel: "c", Data: payload(1 << 16)}
	for _, tc := range []struct {
		name string
		run  func()
	}{
		{"AppendMessageFrame", func() { AppendMessageFrame(dst, &m) }},
		{"AppendMessageFrame of 64 KiB", func() { AppendMessageFrame(dst, &long) }},
		{"AppendControlFrame", func() { websocket.AppendControl(dst, ws.OpPong, nil) }},
		{"AppendCloseFrame", func() { websocket.AppendClose(dst, ErrSlowConsumer) }},
	} {
		if got := testing.AllocsPerRun(100, tc.run); got != 0 {
			t.Errorf("%s allocates %v times, want 0", tc.name, got)
		}
	}
}

func BenchmarkNewNotification(b *testing.B) {
	for _, bc := range []struct {
		name string
		n    int
	}{{"payload=128", 128}, {"payload=4096", 4096}} {
		b.Run(bc.name, func(b *testing.B) {
			data := payload(bc.n)
			b.SetBytes(int64(bc.n))
			b.ReportAllocs()
			for b.Loop() {
				NewNotification("user:42", data, 1_767_225_600_000)
			}
		})
	}
}

func BenchmarkAppendMessageFrame(b *testing.B) {
	m := Message{Type: MessageSubscribed, Channel: "user:42", Timestamp: 1_767_225_600_000}
	dst := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		AppendMessageFrame(dst, &m)
	}
}
