package protocol

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"
)

// The header of each length, as RFC 6455 section 5.2 has it.
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

// A frame stays as it was made, whatever is encoded after it and whoever reads it.
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
	kept := FrameOf(want)
	clear(want)
	if !bytes.Equal(kept.Bytes(), first.Bytes()) || kept.Channel() != "" {
		t.Errorf("FrameOf = %q, channel %q, want a copy without a channel", kept.Bytes(), kept.Channel())
	}
	if gap := NewFrame(&Message{Type: MessageGap, Channel: "user:42", Reason: GapSlow}); gap.Channel() != "" {
		t.Errorf("a gap has channel %q: it could be dropped", gap.Channel())
	}
}

func TestAppendControlFrame(t *testing.T) {
	for _, tc := range []struct {
		name string
		op   ws.OpCode
		in   string
		want ws.Frame
	}{
		{"ping", ws.OpPing, "", ws.NewPingFrame(nil)},
		{"pong", ws.OpPong, "12345678", ws.NewPongFrame([]byte("12345678"))},
		{"pong, longest", ws.OpPong, strings.Repeat("x", 125), ws.NewPongFrame(bytes.Repeat([]byte("x"), 125))},
	} {
		t.Run(tc.name, func(t *testing.T) {
			want := "before" + string(ws.MustCompileFrame(tc.want))
			if got := AppendControlFrame([]byte("before"), tc.op, []byte(tc.in)); string(got) != want {
				t.Errorf("AppendControlFrame(%d, %q) = %q, want %q", tc.op, tc.in, got, want)
			}
		})
	}
}

func TestAppendCloseFrame(t *testing.T) {
	long := strings.Repeat("x", 122)
	for _, tc := range []struct {
		name   string
		in     *CloseError
		code   ws.StatusCode
		reason string
	}{
		{"code and reason", ErrSlowConsumer, CloseSlowConsumer, "slow consumer"},
		{"restart with a hint", RestartAfter(1500), CloseServiceRestart, "retry=1500"},
		{"echo", PeerClose(ws.StatusNormalClosure), ws.StatusNormalClosure, ""},
		{"longest reason", &CloseError{Code: 4008, Reason: long + "y"}, 4008, long + "y"},
		{"reason too long", &CloseError{Code: 4008, Reason: long + "yz"}, 4008, long + "y"},
		{"reason too long, cut before a rune", &CloseError{Code: 4008, Reason: long + "éz"}, 4008, long},
		{"reason too long, not UTF-8", &CloseError{Code: 4008, Reason: strings.Repeat("\x80", 200)}, 4008, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			want := ws.MustCompileFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(tc.code, tc.reason)))
			if got := AppendCloseFrame(nil, tc.in); !bytes.Equal(got, want) {
				t.Errorf("AppendCloseFrame(%v) = %q, want %q", tc.in, got, want)
			}
		})
	}
	for _, code := range []ws.StatusCode{0, closeNoStatusReceived} {
		if got := AppendCloseFrame([]byte("before"), PeerClose(code)); string(got) != "before\x88\x00" {
			t.Errorf("AppendCloseFrame(%d) = %q, want an empty close frame", code, got)
		}
	}
}

// What a peer may close with is echoed as it came.
func TestAppendCloseFrameEcho(t *testing.T) {
	for _, payload := range []string{"", closing(1000, "bye"), closing(4999, "")} {
		code, _, err := ParseClose([]byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		got := AppendCloseFrame(nil, PeerClose(code))
		want := min(len(payload), 2)
		if len(got) != 2+want || string(got[2:]) != payload[:want] {
			t.Errorf("the answer to close %q is %q, want its code", payload, got)
		}
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
		{"AppendControlFrame", func() { AppendControlFrame(dst, ws.OpPong, nil) }},
		{"AppendCloseFrame", func() { AppendCloseFrame(dst, ErrSlowConsumer) }},
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

func TestCutFrames(t *testing.T) {
	t.Parallel()
	var frames []byte
	var ends []int
	for _, n := range []int{0, 1, 125, 126, 65_535, 65_536, 3} {
		frames = appendHeader(frames, ws.OpText, n)
		frames = append(frames, make([]byte, n)...)
		ends = append(ends, len(frames))
	}
	at := 0
	for i, end := range ends {
		if n := CutFrames(frames[at:], 1); n != end-at {
			t.Fatalf("CutFrames of frame %d = %d, want %d", i, n, end-at)
		}
		at = end
	}
	if n := CutFrames(frames, 128); n != ends[2] {
		t.Errorf("CutFrames(128) = %d, want the first three, %d", n, ends[2])
	}
	if n := CutFrames(frames, 1<<30); n != len(frames) {
		t.Errorf("CutFrames(all) = %d, want %d", n, len(frames))
	}
	const switching, refused = "HTTP/1.1 101 Switching Protocols\r\nA: b\r\n\r\n", "HTTP/1.1 404 Not Found\r\n\r\nno"
	if n := CutFrames(append([]byte(switching), frames...), 1); n != len(switching) {
		t.Errorf("CutFrames(101, frames) = %d, want %d", n, len(switching))
	}
	if n := CutFrames([]byte(refused), 1); n != len(refused) {
		t.Errorf("CutFrames(404) = %d, want %d", n, len(refused))
	}
}
