package websocket

import (
	"bytes"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

func TestAppendControl(t *testing.T) {
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
			if got := AppendControl([]byte("before"), tc.op, []byte(tc.in)); string(got) != want {
				t.Errorf("AppendControl(%d, %q) = %q, want %q", tc.op, tc.in, got, want)
			}
		})
	}
}

func TestAppendClose(t *testing.T) {
	long := strings.Repeat("x", 122)
	for _, tc := range []struct {
		name   string
		in     *CloseError
		code   ws.StatusCode
		reason string
	}{
		{"code and reason", ErrBinary, ws.StatusUnsupportedData, "text messages only"},
		{"another reason", ErrBinary.Because("why"), ws.StatusUnsupportedData, "why"},
		{"echo", &CloseError{Code: ws.StatusNormalClosure}, ws.StatusNormalClosure, ""},
		{"longest reason", &CloseError{Code: 4008, Reason: long + "y"}, 4008, long + "y"},
		{"reason too long", &CloseError{Code: 4008, Reason: long + "yz"}, 4008, long + "y"},
		{"reason too long, cut before a rune", &CloseError{Code: 4008, Reason: long + "éz"}, 4008, long},
		{"reason too long, not UTF-8", &CloseError{Code: 4008, Reason: strings.Repeat("\x80", 200)}, 4008, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			want := ws.MustCompileFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(tc.code, tc.reason)))
			if got := AppendClose(nil, tc.in); !bytes.Equal(got, want) {
				t.Errorf("AppendClose(%v) = %q, want %q", tc.in, got, want)
			}
		})
	}
	for _, code := range []ws.StatusCode{0, CodeNone} {
		if got := AppendClose([]byte("before"), &CloseError{Code: code}); string(got) != "before\x88\x00" {
			t.Errorf("AppendClose(%d) = %q, want an empty close frame", code, got)
		}
	}
}

// The close frame of a client is answered with the same code.
func TestAppendCloseEcho(t *testing.T) {
	for _, payload := range []string{"", closing(1000, "bye"), closing(4999, "")} {
		code, _, err := ParseClose([]byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		got := AppendClose(nil, &CloseError{Code: code})
		want := min(len(payload), 2)
		if len(got) != 2+want || string(got[2:]) != payload[:want] {
			t.Errorf("the answer to close %q is %q, want its code", payload, got)
		}
	}
}

func TestCutFrames(t *testing.T) {
	t.Parallel()
	var frames []byte
	var ends []int
	for _, n := range []int{0, 1, 125, 126, 65_535, 65_536, 3} {
		frames = AppendHeader(frames, ws.OpText, n)
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
