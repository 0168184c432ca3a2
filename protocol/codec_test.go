package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

var commandNames = map[CommandType]string{
	CommandSubscribe: "subscribe", CommandUnsubscribe: "unsubscribe", CommandPing: "ping", CommandAuth: "auth",
}

// textOf copies a command out of its decoder.
func textOf(c *Command) wantedText {
	out := wantedText{Type: commandNames[c.Type], ID: bytes.Clone(c.ID), Token: string(c.Token)}
	if cap(c.ID) != len(c.ID) || cap(c.Token) != len(c.Token) {
		panic("a slice of a command has room behind it, which is another's")
	}
	for _, channel := range c.Channels {
		if cap(channel) != len(channel) {
			panic("a slice of a command has room behind it, which is another's")
		}
		out.Channels = append(out.Channels, string(channel))
	}
	return out
}

func TestDecodeGolden(t *testing.T) {
	var rows []goldenCommand
	readGolden(t, "commands.json", &rows)
	var d Decoder
	for i := range rows {
		row := &rows[i]
		t.Run(row.Name, func(t *testing.T) {
			msg := []byte(row.Wire)
			c, err := d.Decode(msg)
			if err != nil {
				t.Fatalf("Decode(%q) = %v, want no error", row.Wire, err)
			}
			clear(msg) // a command must not point into the message
			got := textOf(c)
			if *update {
				row.Want = got
			}
			if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", row.Want); g != w {
				t.Errorf("Decode(%q) = %s, want %s", row.Wire, g, w)
			}
		})
	}
	if *update {
		golden(t, "testdata/commands.json", indented(t, rows))
	}
}

func TestDecodeRefusedGolden(t *testing.T) {
	var rows []goldenRefusal
	readGolden(t, "refused.json", &rows)
	var d Decoder
	for _, row := range rows {
		t.Run(row.Name, func(t *testing.T) {
			c, err := d.Decode([]byte(row.Wire))
			for i := 0; err == nil && i < len(c.Channels); i++ {
				_, err = ParseChannel(string(c.Channels[i]))
			}
			if err == nil {
				t.Fatalf("Decode(%q) = %+v, want an error", row.Wire, textOf(c))
			}
			if got := ErrorCodeOf(err); got != row.Code {
				t.Errorf("Decode(%q) = %v, code %s, want %s", row.Wire, err, got, row.Code)
			}
			if !bytes.Equal(c.ID, row.ID) {
				t.Errorf("Decode(%q) keeps id %s, want %s", row.Wire, c.ID, row.ID)
			}
		})
	}
}

func TestDecodeLimits(t *testing.T) {
	deep := func(n int) string {
		return `{"type":"ping","x":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}`
	}
	for _, tc := range []struct {
		name, in string
		want     error
	}{
		{"nesting at the limit", deep(maxDepth - 1), nil},
		{"nesting over the limit", deep(maxDepth), ErrBadJSON},
		{"objects nested at the limit", strings.Repeat(`{"x":`, maxDepth-1) + `{"type":1}` + strings.Repeat("}", maxDepth-1), ErrBadType},
		{"objects nested over the limit", strings.Repeat(`{"x":`, maxDepth) + `{"type":1}` + strings.Repeat("}", maxDepth), ErrBadJSON},
		{"brackets in strings are no nesting", `{"type":"ping","x":"` + strings.Repeat(`[{\"`, 100) + `"}`, nil},
		{"T19 64 KiB of open brackets", strings.Repeat("[", 64<<10), ErrBadJSON},
		{"T19 64 KiB of open objects", strings.Repeat(`{"x":`, 64<<10/5), ErrBadJSON},
		{"id of 64 bytes", `{"type":"ping","id":"` + strings.Repeat("x", MaxIDBytes-2) + `"}`, nil},
		{"id of 65 bytes", `{"type":"ping","id":"` + strings.Repeat("x", MaxIDBytes-1) + `"}`, ErrBadID},
		{"id with half a rune", "{\"type\":\"ping\",\"id\":\"\xc3\"}", ErrBadID},
		{"byte order mark", "\ufeff{\"type\":\"ping\"}", ErrBadJSON},
		{"16,000 channels", `{"type":"subscribe","channels":["a"` + strings.Repeat(`,"a"`, 15_999) + `]}`, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var d Decoder
			if _, err := d.Decode([]byte(tc.in)); !errors.Is(err, tc.want) {
				t.Errorf("Decode(%.80q) = %v, want %v", tc.in, err, tc.want)
			}
		})
	}
}

// The slices of a command stay valid when later ones of the same command make the decoder's memory grow.
func TestDecodeGrowing(t *testing.T) {
	names := make([]string, 0, 1000)
	for i := range 1000 {
		names = append(names, fmt.Sprintf("channel:%d", i))
	}
	msg, err := json.Marshal(map[string]any{"type": "subscribe", "id": "x", "channels": names, "channel": "last"})
	if err != nil {
		t.Fatal(err)
	}
	var d Decoder
	c, err := d.Decode(msg)
	if err != nil {
		t.Fatal(err)
	}
	got, want := textOf(c), slices.Concat(names, []string{"last"})
	if strings.Join(got.Channels, " ") != strings.Join(want, " ") || string(got.ID) != `"x"` {
		t.Errorf("Decode of %d channels = id %s and %d channels, want the same", len(want), got.ID, len(got.Channels))
	}
}

func TestDecodeAllocs(t *testing.T) {
	for _, in := range []string{
		`{"type":"subscribe","channel":"user:42"}`,
		`{"type":"subscribe","id":17,"channels":["user:42","caf\u00e9"]}`,
		`{"type":"ping"}`,
		`{"type":"auth","token":"eyJhbGciOiJIUzI1NiJ9.e30.c2ln"}`,
		`{"type":"publish"}`,
		`{"type":"ping","x":[[[[[[[[[`,
	} {
		var d Decoder
		msg := []byte(in)
		if got := testing.AllocsPerRun(100, func() { _, _ = d.Decode(msg) }); got != 0 {
			t.Errorf("Decode(%s) allocates %v times, want 0", in, got)
		}
	}
}

func TestAppendMessageGolden(t *testing.T) {
	var rows []goldenMessage
	readGolden(t, "messages.json", &rows)
	for i := range rows {
		row := &rows[i]
		t.Run(row.Name, func(t *testing.T) {
			const before = "before"
			got, replaced := AppendMessage([]byte(before), row.Message.message())
			wire, ok := bytes.CutPrefix(got, []byte(before))
			if *update {
				row.Wire = string(wire)
			}
			if !ok || string(wire) != row.Wire || replaced != 0 {
				t.Errorf("AppendMessage(%+v) = %s, replaced %d, want %s", row.Message, got, replaced, row.Wire)
			}
			var back messageText
			if err := json.Unmarshal(wire, &back); err != nil {
				t.Fatalf("AppendMessage(%+v) = %s: %v", row.Message, wire, err)
			}
			if g, w := indented(t, back), indented(t, row.Message); !bytes.Equal(g, w) {
				t.Errorf("AppendMessage(%+v) reads back as %s, want %s", row.Message, g, w)
			}
		})
	}
	if *update {
		golden(t, "testdata/messages.json", indented(t, rows))
	}
}

// The messages that the article's server also sends have the same fields in the same order as there.
func TestAppendMessageSeed(t *testing.T) {
	for _, tc := range []struct {
		in   Message
		want string
	}{
		{Message{Type: MessageConnected, ClientID: "u", Timestamp: 1}, `{"type":"connected","clientId":"u","timestamp":1}`},
		{Message{Type: MessageSubscribed, Channel: "c", Timestamp: 1}, `{"type":"subscribed","channel":"c","timestamp":1}`},
		{Message{Type: MessageUnsubscribed, Channel: "c", Timestamp: 1}, `{"type":"unsubscribed","channel":"c","timestamp":1}`},
		{Message{Type: MessageNotification, Channel: "c", Data: "{}", Timestamp: 1}, `{"type":"notification","channel":"c","data":"{}","timestamp":1}`},
	} {
		if got, _ := AppendMessage(nil, &tc.in); string(got) != tc.want {
			t.Errorf("AppendMessage(%+v) = %s, want %s", tc.in, got, tc.want)
		}
	}
}

func TestAppendMessageNotUTF8(t *testing.T) {
	for _, tc := range []struct {
		name, in, want string
		replaced       int
	}{
		{"T24 one byte", "a\xffb", "a\ufffdb", 1},
		{"T24 rune cut off", "a\xe2\x82", "a\ufffd\ufffd", 2},
		{"T24 surrogate", "\xed\xa0\x80", "\ufffd\ufffd\ufffd", 3},
		{"T24 overlong", "\xc0\xaf", "\ufffd\ufffd", 2},
		{"U+FFFD itself is UTF-8", "\ufffd", "\ufffd", 0},
		{"before an escape", "\xff\"", "\ufffd\\\"", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := Message{Type: MessageNotification, Channel: "c", Data: tc.in}
			want := `{"type":"notification","channel":"c","data":"` + tc.want + `","timestamp":0}`
			if got, replaced := AppendMessage(nil, &m); string(got) != want || replaced != tc.replaced {
				t.Errorf("AppendMessage(data %q) = %s, %d, want %s, %d", tc.in, got, replaced, want, tc.replaced)
			}
		})
	}
}

func TestAppendMessageEmptyID(t *testing.T) {
	m := Message{Type: MessagePong, ID: []byte{}, Timestamp: 1}
	if got, _ := AppendMessage(nil, &m); string(got) != `{"type":"pong","timestamp":1}` {
		t.Errorf("AppendMessage(id empty) = %s, want no id", got)
	}
}

// FuzzDecode compares with encoding/json, which is right about JSON and slow. Known differences: Decode also refuses
// what Decoder.Decode says.
func FuzzDecode(f *testing.F) {
	var commands []goldenCommand
	readGolden(f, "commands.json", &commands)
	for _, row := range commands {
		f.Add([]byte(row.Wire))
	}
	var refused []goldenRefusal
	readGolden(f, "refused.json", &refused)
	for _, row := range refused {
		f.Add([]byte(row.Wire))
	}
	var reused Decoder
	f.Fuzz(func(t *testing.T, msg []byte) {
		before := bytes.Clone(msg)
		c, err := reused.Decode(msg)
		got := textOf(c)
		if !bytes.Equal(msg, before) {
			t.Errorf("Decode(%q) changed it to %q", before, msg)
		}
		var fresh Decoder
		c, freshErr := fresh.Decode(msg)
		if g, w := fmt.Sprintf("%+v %v", got, err), fmt.Sprintf("%+v %v", textOf(c), freshErr); g != w {
			t.Errorf("Decode(%q) = %s by a decoder that was used before, %s by a fresh one", msg, g, w)
		}
		var object map[string]json.RawMessage
		jsonErr := json.Unmarshal(msg, &object)
		if jsonErr != nil || object == nil {
			if !errors.Is(err, ErrBadJSON) {
				t.Fatalf("Decode(%q) = %v, encoding/json: %v", msg, err, jsonErr)
			}
			return
		}
		if errors.Is(err, ErrBadJSON) {
			if !strict(msg) {
				return
			}
			t.Fatalf("Decode(%q) = %v, encoding/json accepts it", msg, err)
		}
		if err != nil || !utf8.Valid(msg) {
			return
		}
		var typ string
		if e := json.Unmarshal(object["type"], &typ); e != nil || typ != got.Type {
			t.Errorf("Decode(%q) has type %s, encoding/json %q, %v", msg, got.Type, typ, e)
		}
		var want []string
		if got.Type == "subscribe" || got.Type == "unsubscribe" {
			var one *string
			if object["channels"] != nil && json.Unmarshal(object["channels"], &want) != nil ||
				object["channel"] != nil && json.Unmarshal(object["channel"], &one) != nil {
				t.Errorf("Decode(%q) has channels %q, encoding/json refuses them", msg, got.Channels)
			}
			if one != nil {
				want = append(want, *one)
			}
		}
		if fmt.Sprintf("%q", got.Channels) != fmt.Sprintf("%q", want) {
			t.Errorf("Decode(%q) has channels %q, encoding/json %q", msg, got.Channels, want)
		}
		if got.Type == "auth" {
			var token string
			if e := json.Unmarshal(object["token"], &token); e != nil || token != got.Token {
				t.Errorf("Decode(%q) has token %q, encoding/json %q, %v", msg, got.Token, token, e)
			}
		}
		if id := object["id"]; string(id) != string(got.ID) && string(id) != "null" {
			t.Errorf("Decode(%q) has id %s, encoding/json %s", msg, got.ID, id)
		}
		answer, _ := AppendMessage(nil, &Message{Type: MessagePong, ID: got.ID})
		if !json.Valid(answer) || !utf8.Valid(answer) {
			t.Errorf("Decode(%q): the answer %q is not JSON in UTF-8", msg, answer)
		}
	})
}

// strict reports whether msg, which is JSON, follows the two rules that encoding/json does not have.
func strict(msg []byte) bool {
	depth, deepest, quoted := 0, 0, false
	for i := 0; i < len(msg); i++ {
		switch c := msg[i]; {
		case quoted && c == '\\':
			if msg[i+1] == 'u' {
				// encoding/json makes U+FFFD of a surrogate that is not in a pair. A U+FFFD in msg stays one, too.
				var pair string
				end := min(i+12, len(msg))
				if json.Unmarshal([]byte(`"`+string(msg[i:end])+`"`), &pair) != nil {
					_ = json.Unmarshal([]byte(`"`+string(msg[i:i+6])+`"`), &pair)
				}
				first, size := utf8.DecodeRuneInString(pair)
				if first == utf8.RuneError && !strings.EqualFold(string(msg[i:i+6]), `\ufffd`) {
					return false
				}
				if size == 4 {
					i += 6
				}
			}
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return deepest <= maxDepth
}

func FuzzAppendMessage(f *testing.F) {
	var rows []goldenMessage
	readGolden(f, "messages.json", &rows)
	for _, row := range rows {
		m := row.Message.message()
		f.Add(m.Channel, m.Data, m.UserID, m.Text, m.Timestamp)
	}
	f.Add("a\xffb", "\xed\xa0\x80", "\u2028", "</script>", int64(-1))
	f.Fuzz(func(t *testing.T, channel, data, user, text string, timestamp int64) {
		m := Message{Type: MessageNotification, Channel: channel, Data: data, UserID: user, Text: text, Timestamp: timestamp}
		wire, replaced := AppendMessage(nil, &m)
		if !utf8.Valid(wire) {
			t.Fatalf("AppendMessage(%+v) = %q, not UTF-8", m, wire)
		}
		var got messageText
		if err := json.Unmarshal(wire, &got); err != nil {
			t.Fatalf("AppendMessage(%+v) = %s: %v", m, wire, err)
		}
		clean := func(s string) string { return string([]rune(s)) } // each byte that is not UTF-8 becomes U+FFFD
		if got.Channel != clean(channel) || got.Data == nil || *got.Data != clean(data) || got.UserID != clean(user) ||
			got.Text != clean(text) || got.Timestamp != timestamp {
			t.Errorf("AppendMessage(%+v) = %s, which reads back as %+v", m, wire, got)
		}
		bad := strings.Count(clean(data), "\ufffd") - strings.Count(data, "\ufffd")
		if replaced != bad {
			t.Errorf("AppendMessage(data %q) replaced %d bytes, want %d", data, replaced, bad)
		}
		frame, _ := NewNotification(channel, data, timestamp)
		m.UserID, m.Text = "", ""
		if framed := AppendMessageFrame(nil, &m); !bytes.Equal(frame.Bytes(), framed) {
			t.Errorf("NewNotification(%q, %q) = %q, AppendMessageFrame %q", channel, data, frame.Bytes(), framed)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for _, bc := range []struct{ name, in string }{
		{"subscribe", `{"type":"subscribe","channel":"user:42"}`},
		{"id", `{"type":"subscribe","id":17,"channels":["user:42","user:43"]}`},
		{"ping", `{"type":"ping"}`},
		{"refused", `{"type":"publish","channel":"user:42","data":"{\"title\":\"hi\"}"}`},
	} {
		b.Run(bc.name, func(b *testing.B) {
			var d Decoder
			msg := []byte(bc.in)
			b.ReportAllocs()
			for b.Loop() {
				_, _ = d.Decode(msg)
			}
		})
	}
}

func BenchmarkAppendMessage(b *testing.B) {
	for _, bc := range []struct {
		name string
		m    Message
	}{
		{"subscribed", Message{Type: MessageSubscribed, Channel: "user:42", Timestamp: 1_767_225_600_000}},
		{"notification", Message{Type: MessageNotification, Channel: "user:42", Data: payload(128), Timestamp: 1_767_225_600_000}},
	} {
		b.Run(bc.name, func(b *testing.B) {
			var dst []byte
			b.ReportAllocs()
			for b.Loop() {
				dst, _ = AppendMessage(dst[:0], &bc.m)
			}
		})
	}
}

// payload is JSON of about n bytes, as applications publish it.
func payload(n int) string {
	const item = `{"title":"hi"},`
	return ("[" + strings.Repeat(item, n/len(item)+1))[:n]
}
