package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

var invalidPayload = []ws.StatusCode{ws.StatusInvalidFramePayloadData}

const (
	umlauts = "Hello-µ@ßöäüàá-UTF-8!!"
	cosme   = "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5" // κόσμε
)

// utf8Cases are 6.* of the suite, but for 6.4.*.
func utf8Cases() []testCase {
	back := func(payload string) []string { return []string{said(ws.OpText, payload)} }
	broken := cosme + "\xed\xa0\x80" + "edited"
	cases := []testCase{
		{number: "6.1.1", frames: []string{text("")}, echoes: back("")},
		{number: "6.1.2", frames: []string{part(ws.OpText, ""), part(ws.OpContinuation, ""), last("")}, echoes: back("")},
		{number: "6.1.3", frames: []string{part(ws.OpText, ""), part(ws.OpContinuation, "middle frame payload"), last("")}, echoes: back("middle frame payload")},
		{number: "6.2.1", frames: []string{text(umlauts)}, echoes: back(umlauts)},
		{number: "6.2.2", frames: []string{part(ws.OpText, "Hello-µ@ßöä"), last("üàá-UTF-8!!")}, echoes: back(umlauts)},
		{number: "6.2.3", frames: fragments(ws.OpText, umlauts, 1), echoes: back(umlauts)},
		{number: "6.2.4", frames: fragments(ws.OpText, cosme, 1), echoes: back(cosme)},
		{number: "6.3.1", frames: []string{text(broken)}, closes: invalidPayload},
		{number: "6.3.2", frames: fragments(ws.OpText, broken, 1), closes: invalidPayload},
	}
	for i, group := range utf8Sequences() {
		for j, payload := range group.payloads {
			tc := testCase{number: fmt.Sprintf("6.%d.%d", i+5, j+1), frames: []string{text(payload)}}
			if group.valid(j) {
				tc.echoes = back(payload)
			} else {
				tc.closes = invalidPayload
			}
			cases = append(cases, tc)
		}
	}
	return cases
}

// sequences are texts of one kind; valid reports which of them are UTF-8.
type sequences struct {
	name     string
	valid    func(i int) bool
	payloads []string
}

func all(int) bool  { return true }
func none(int) bool { return false }

// only returns a function that is true for some.
func only(some ...int) func(int) bool {
	return func(i int) bool { return slices.Contains(some, i) }
}

// utf8Sequences are those of Markus Kuhn's decoder stress test, in the order of the suite, which begins with 6.5.
func utf8Sequences() []sequences {
	var prefixes []string
	for i := range len(cosme) {
		prefixes = append(prefixes, cosme[:i+1])
	}
	run := func(from, to byte, behind string) string {
		var b strings.Builder
		for c := from; c < to; c++ {
			b.WriteByte(c)
			b.WriteString(behind)
		}
		return b.String()
	}
	cut := []string{
		"\xc0", "\xe0\x80", "\xf0\x80\x80", "\xf8\x80\x80\x80", "\xfc\x80\x80\x80\x80",
		"\xdf", "\xef\xbf", "\xf7\xbf\xbf", "\xfb\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf",
	}
	noncharacters := []string{"\ufffe", "\uffff"}
	for plane := rune(1); plane <= 0x10; plane++ {
		noncharacters = append(noncharacters, string(plane<<16|0xfffe), string(plane<<16|0xffff))
	}
	return []sequences{
		{name: "valid", valid: all, payloads: []string{"hello$world", "hello¢world", "hello€world", "hello\U00024b62world", cosme}},
		{name: "prefixes of a valid text", valid: only(1, 4, 6, 8, 10), payloads: prefixes},
		{name: "first of a length", valid: all, payloads: []string{"\x00", "\u0080", "\u0800", "\U00010000"}},
		{name: "first of length 5 and 6", valid: none, payloads: []string{"\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80"}},
		{name: "last of a length", valid: all, payloads: []string{"\x7f", "\u07ff", "\uffff", "\U0010ffff"}},
		{name: "last of length 4, 5 and 6", valid: none, payloads: []string{"\xf7\xbf\xbf\xbf", "\xfb\xbf\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf\xbf"}},
		{name: "other boundaries", valid: only(0, 1, 2, 3), payloads: []string{"\ud7ff", "\ue000", "\ufffd", "\U0010ffff", "\xf4\x90\x80\x80"}},
		{name: "continuation bytes alone", valid: none, payloads: []string{
			"\x80", "\xbf", "\x80\xbf", "\x80\xbf\x80", "\x80\xbf\x80\xbf", "\x80\xbf\x80\xbf\x80", "\x80\xbf\x80\xbf\x80\xbf", run(0x80, 0xbf, ""),
		}},
		{name: "lonely first bytes", valid: none, payloads: []string{
			run(0xc0, 0xdf, " "), run(0xe0, 0xef, " "), run(0xf0, 0xf7, " "), run(0xf8, 0xfb, " "), "\xfc ",
		}},
		{name: "last byte missing", valid: none, payloads: cut},
		{name: "last bytes missing, joined", valid: none, payloads: []string{strings.Join(cut, "")}},
		{name: "impossible bytes", valid: none, payloads: []string{"\xfe", "\xff", "\xfe\xfe\xff\xff"}},
		{name: "overlong slash", valid: none, payloads: []string{"\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xf8\x80\x80\x80\xaf", "\xfc\x80\x80\x80\x80\xaf"}},
		{name: "longest overlong", valid: none, payloads: []string{"\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xf8\x87\xbf\xbf\xbf", "\xfc\x83\xbf\xbf\xbf\xbf"}},
		{name: "overlong NUL", valid: none, payloads: []string{"\xc0\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80", "\xf8\x80\x80\x80\x80", "\xfc\x80\x80\x80\x80\x80"}},
		{name: "surrogates", valid: none, payloads: []string{
			"\xed\xa0\x80", "\xed\xad\xbf", "\xed\xae\x80", "\xed\xaf\xbf", "\xed\xb0\x80", "\xed\xbe\x80", "\xed\xbf\xbf",
		}},
		{name: "paired surrogates", valid: none, payloads: []string{
			"\xed\xa0\x80\xed\xb0\x80", "\xed\xa0\x80\xed\xbf\xbf", "\xed\xad\xbf\xed\xb0\x80", "\xed\xad\xbf\xed\xbf\xbf",
			"\xed\xae\x80\xed\xb0\x80", "\xed\xae\x80\xed\xbf\xbf", "\xed\xaf\xbf\xed\xb0\x80", "\xed\xaf\xbf\xed\xbf\xbf",
		}},
		{name: "noncharacters", valid: all, payloads: noncharacters},
		{name: "specials", valid: all, payloads: []string{"\ufff9", "\ufffa", "\ufffb", "\ufffc", "\ufffd", "\ufffe", "\uffff"}},
	}
}

// failFast are 6.4.*: a text is refused at the byte that makes it invalid, although its message is not complete. The message
// is cosme, U+110000 and more; the fault is in the 13th byte, the second of U+110000.
func failFast(t *testing.T, addr, number string) {
	const wrong = cosme + "\xf4\x90\x80\x80" + "edited"
	at := map[string][2]int{"6.4.1": {11, 15}, "6.4.2": {12, 13}, "6.4.3": {11, 15}, "6.4.4": {12, 13}}[number]
	c := dial(t, addr)
	switch number {
	case "6.4.1", "6.4.2": // frames
		say(t, c, part(ws.OpText, wrong[:at[0]]))
		wantSilence(t, c)
		say(t, c, part(ws.OpContinuation, wrong[at[0]:at[1]]))
	default: // parts of one frame
		frame := text(wrong)
		head := len(frame) - len(wrong)
		say(t, c, frame[:head+at[0]])
		wantSilence(t, c)
		say(t, c, frame[head+at[0]:head+at[1]])
	}
	wantClosed(t, c, ws.StatusInvalidFramePayloadData)
}
