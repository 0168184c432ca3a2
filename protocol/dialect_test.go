package protocol

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/protocol/websocket"
)

var dialects = []struct {
	name     string
	dialect  Dialect
	form     Form
	deflated bool // the client may send compressed messages
}{
	{"plain", Carillon, Plain, false},
	{"deflated", CarillonDeflated, Deflated, true},
}

func TestDialectAccepts(t *testing.T) {
	for _, tc := range dialects {
		if got := tc.dialect.Form(); got != tc.form {
			t.Errorf("%s: Form = %d, want %d", tc.name, got, tc.form)
		}
		if got := tc.dialect.AcceptsDeflated(); got != tc.deflated {
			t.Errorf("%s: AcceptsDeflated = %t, want %t", tc.name, got, tc.deflated)
		}
		if tc.dialect.AcceptsBinary() {
			t.Errorf("%s: AcceptsBinary = true, want false", tc.name)
		}
	}
}

// What a dialect appends is a frame that a client reads, after what was in dst before. Answers are never compressed, also
// those that are long.
func TestDialectAppends(t *testing.T) {
	long := &Message{Type: MessageError, Code: ErrorInternal, Text: strings.Repeat("long ", 200), Timestamp: 1}
	answer, _ := AppendMessage(nil, long)
	for _, tc := range dialects {
		for _, call := range []struct {
			name    string
			append  func(dst []byte) []byte
			op      ws.OpCode
			payload string
		}{
			{"AppendMessage", func(dst []byte) []byte { return tc.dialect.AppendMessage(dst, long) }, ws.OpText, string(answer)},
			{"AppendPing", tc.dialect.AppendPing, ws.OpPing, ""},
			{"AppendPong", func(dst []byte) []byte { return tc.dialect.AppendPong(dst, []byte("are you there")) }, ws.OpPong, "are you there"},
			{"AppendClose", func(dst []byte) []byte { return tc.dialect.AppendClose(dst, ErrKicked) }, ws.OpClose, "\x0f\xa8kicked"},
		} {
			const before = "before"
			out := call.append([]byte(before))
			framed, ok := bytes.CutPrefix(out, []byte(before))
			if !ok {
				t.Errorf("%s: %s changed what was in dst: %q", tc.name, call.name, out)
				continue
			}
			h, err := ws.ReadHeader(bytes.NewReader(framed))
			if err != nil || ws.HeaderSize(h)+int(h.Length) != len(framed) {
				t.Errorf("%s: %s = %q, which gobwas/ws reads as %+v, %v", tc.name, call.name, framed, h, err)
				continue
			}
			payload := framed[ws.HeaderSize(h):]
			if !h.Fin || h.Masked || h.Rsv != 0 || h.OpCode != call.op || string(payload) != call.payload {
				t.Errorf("%s: %s = %+v %q, want opcode %d and %q", tc.name, call.name, h, payload, call.op, call.payload)
			}
		}
	}
}

func TestDialectDecode(t *testing.T) {
	for _, tc := range dialects {
		var d Decoder
		out, cmd, err := tc.dialect.Decode([]byte("before"), &d, websocket.Event{Op: ws.OpText, Payload: []byte(`{"type":"subscribe","id":7,"channel":"user:42"}`)})
		if err != nil || cmd == nil || cmd.Type != CommandSubscribe || string(cmd.ID) != "7" || len(cmd.Channels) != 1 || string(cmd.Channels[0]) != "user:42" {
			t.Errorf("%s: Decode of a command = %+v, %v", tc.name, cmd, err)
		}
		if string(out) != "before" {
			t.Errorf("%s: Decode answers a command by itself: %q", tc.name, out)
		}
		out, cmd, err = tc.dialect.Decode(nil, &d, websocket.Event{Op: ws.OpText, Payload: []byte(`{"type":"dance","id":8}`)})
		if !errors.Is(err, ErrBadType) || cmd == nil || string(cmd.ID) != "8" || len(out) > 0 {
			t.Errorf("%s: Decode of an unknown type = %q, %+v, %v; want the id and %v", tc.name, out, cmd, err, ErrBadType)
		}
	}
}

func TestDialectAllocs(t *testing.T) {
	for _, tc := range dialects {
		var d Decoder
		dst := make([]byte, 0, 1024)
		m := &Message{Type: MessageSubscribed, Channel: "user:42", Timestamp: 1}
		ev := websocket.Event{Op: ws.OpText, Payload: []byte(`{"type":"subscribe","id":7,"channel":"user:42"}`)}
		if got := testing.AllocsPerRun(100, func() {
			out, _, _ := tc.dialect.Decode(dst, &d, ev)
			out = tc.dialect.AppendMessage(out, m)
			out = tc.dialect.AppendPing(out)
			out = tc.dialect.AppendPong(out, ev.Payload)
			_ = tc.dialect.AppendClose(out, ErrRestart)
		}); got != 0 {
			t.Errorf("%s: the methods allocate %v times, want 0", tc.name, got)
		}
	}
}

// Each form has an encoder, and the form of each dialect is a form: a form that is added must be added everywhere.
func TestFormsAreComplete(t *testing.T) {
	for form := Plain + 1; form < Forms; form++ {
		if e := encoders[form-1]; e.applies == nil || e.encode == nil {
			t.Errorf("form %d has no encoder", form)
		}
	}
	f, _ := NewNotification("c", notificationText(1000), 1)
	for _, tc := range dialects {
		if tc.form >= Forms {
			t.Errorf("%s: form %d, want less than %d", tc.name, tc.form, Forms)
			continue
		}
		if got := f.In(tc.form); got.Channel() != "c" || got.In(tc.form) != got {
			t.Errorf("%s: In(%d) is of channel %q", tc.name, tc.form, got.Channel())
		}
	}
}
