package protocol

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestParseChannel(t *testing.T) {
	long := strings.Repeat("x", MaxChannelBytes)
	for _, tc := range []struct {
		name, in, want string
		err            error
	}{
		{"short form", "user:42", "user:42", nil},
		{"long form", "notifications:user:42", "user:42", nil},
		{"one byte", "x", "x", nil},
		{"spaces", " a b ", " a b ", nil},
		{"UTF-8", "café 🔔", "café 🔔", nil},
		{"the prefix without its colon", "notifications", "notifications", nil},
		{"the prefix in another case", "Notifications:x", "Notifications:x", nil},
		{"the prefix elsewhere", "x:notifications:y", "x:notifications:y", nil},
		{"255 bytes", long, long, nil},
		{"255 bytes in the long form", RedisPrefix + long, long, nil},
		{"T21 glob characters are plain ones", "user:*?[a]", "user:*?[a]", nil},
		{"T21 the pattern of the gateway is a name", "notifications:*", "*", nil},
		{"no-break space is no control character", "\u00a0", "\u00a0", nil},

		{"T20 empty", "", "", ErrChannelEmpty},
		{"T20 the prefix alone", "notifications:", "", ErrChannelEmpty},
		{"the prefix twice", "notifications:notifications:x", "", ErrChannelPrefix},
		{"T20 256 bytes", long + "x", "", ErrChannelLong},
		{"T20 256 bytes of longer runes", strings.Repeat("é", 128), "", ErrChannelLong},
		{"T20 60 KiB", strings.Repeat("x", 60<<10), "", ErrChannelLong},
		{"T20 not UTF-8", "user:\xff", "", ErrChannelUTF8},
		{"T20 rune cut off", "user:\xe2\x82", "", ErrChannelUTF8},
		{"T20 NUL", "user:\x00", "", ErrChannelControl},
		{"T20 CR LF", "user:42\r\nPUBLISH x y", "", ErrChannelControl},
		{"T20 tab", "\t", "", ErrChannelControl},
		{"T20 delete", "a\x7f", "", ErrChannelControl},
		{"T20 C1 control", "a\u0085", "", ErrChannelControl},
		{"T20 last C1 control", "a\u009f", "", ErrChannelControl},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := ParseChannel(tc.in)
			if got != tc.want || !errors.Is(err, tc.err) {
				t.Errorf("ParseChannel(%.80q) = %q, %v, want %q, %v", tc.in, got, err, tc.want, tc.err)
			}
			if err != nil {
				if code := ErrorCodeOf(err); code != ErrorBadChannel {
					t.Errorf("ErrorCodeOf(%v) = %s, want %s", err, code, ErrorBadChannel)
				}
				return
			}
			// A client can send the name in an answer back, in either form, and means the same channel.
			for _, again := range []string{got, RedisChannel(got)} {
				if name, err := ParseChannel(again); name != got || err != nil {
					t.Errorf("ParseChannel(%.80q) = %q, %v, want %q as before", again, name, err, got)
				}
			}
		})
	}
}

func TestParseChannelAllocs(t *testing.T) {
	if got := testing.AllocsPerRun(100, func() { _, _ = ParseChannel("notifications:user:42") }); got != 0 {
		t.Errorf("ParseChannel allocates %v times, want 0", got)
	}
}

// A name that is accepted means the same channel in either form, and is safe in an answer and in a log.
func FuzzParseChannel(f *testing.F) {
	for _, name := range []string{"user:42", "notifications:user:42", "notifications:notifications:a", "", "a\x00b", "caf\u00e9 🔔", "\xff", "a\u0085", "*"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		short, err := ParseChannel(name)
		if err != nil {
			if short != "" || ErrorCodeOf(err) != ErrorBadChannel {
				t.Errorf("ParseChannel(%q) = %q, %v", name, short, err)
			}
			return
		}
		if short == "" || len(short) > MaxChannelBytes || !utf8.ValidString(short) || strings.ContainsFunc(short, unicode.IsControl) {
			t.Errorf("ParseChannel(%q) = %q", name, short)
		}
		for _, again := range []string{short, RedisChannel(short)} {
			if got, err := ParseChannel(again); got != short || err != nil {
				t.Errorf("ParseChannel(%q) = %q, %v, want %q as before", again, got, err, short)
			}
		}
	})
}
