package identity

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"unsafe"
)

func TestMay(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		user     string
		patterns []string // nil: the claim is absent
		yes, no  []string
	}{
		{"absent: the personal channel", "42", nil, []string{"user:42"}, []string{"user:4", "user:421", "user:42:x", "user:", "user", "42", "USER:42", "user:{sub}", ""}},
		{"empty: nothing", "42", []string{}, nil, []string{"user:42", "", "*"}},
		{"exact", "42", []string{"news"}, []string{"news"}, []string{"new", "newsx", "xnews", "user:42", "News"}},
		{"trailing star", "42", []string{"org:7:*"}, []string{"org:7:", "org:7:a", "org:7:a:b", "org:7:*"}, []string{"org:7", "org:71:a", "org:8:a", "xorg:7:a"}},
		{"star", "42", []string{"*"}, []string{"a", "user:1", "*"}, []string{""}},
		{"several", "42", []string{"a", "b:*", "user:{sub}"}, []string{"a", "b:1", "user:42"}, []string{"b", "c", "a:b", "a\x00b:*"}},
		{"the list is no name", "42", []string{"a", "b"}, []string{"a", "b"}, []string{"a\x00b", "\x00", "a\x00"}},
		{"long form", "42", []string{"notifications:user:{sub}", "notifications:org:*"}, []string{"user:42", "org:1"}, []string{"notifications:user:42", "x"}},
		{"long form of all", "42", []string{"notifications:*"}, []string{"x"}, nil},
		{"sub in the middle", "42", []string{"u:{sub}:inbox", "u:{sub}:a:*"}, []string{"u:42:inbox", "u:42:a:b"}, []string{"u:4:inbox", "u::inbox", "u:42:", "u:42:b", "u:42:inboxx"}},
		{"sub twice", "4", []string{"{sub}:{sub}", "{sub}{sub}x"}, []string{"4:4", "44x"}, []string{"4:5", "4:", "4x", "444x"}},
		{"sub alone", "42", []string{"{sub}"}, []string{"42"}, []string{"{sub}", "4", "421"}},
		{"other braces are letters", "42", []string{"{user:7}:x", "{SUB}", "{sub"}, []string{"{user:7}:x", "{SUB}", "{sub"}, []string{"42", "42}"}},

		{"sub *", "*", []string{"user:{sub}"}, []string{"user:*"}, []string{"user:1", "user:"}},
		{"sub * by default", "*", nil, []string{"user:*"}, []string{"user:1", "user:", "user:**"}},
		{"sub that ends in *", "4*", []string{"user:{sub}", "user:{sub}:*"}, []string{"user:4*", "user:4*:a"}, []string{"user:4", "user:42", "user:42:a"}},
		{"sub {sub}", "{sub}", []string{"user:{sub}"}, []string{"user:{sub}"}, []string{"user:", "user:{sub}{sub}"}},
		{"sub of pieces of {sub}", "sub}", []string{"{{sub}:x"}, []string{"{sub}:x"}, []string{"sub}:x", "{:x"}},
		{"sub with a colon", "7:a", nil, []string{"user:7:a"}, []string{"user:7", "user:7:b"}},
		{"sub like a pattern", "x,*", nil, []string{"user:x,*"}, []string{"user:x", "user:x,1"}},
		{"sub of other letters", "жук", nil, []string{"user:жук"}, []string{"user:жу", "user:ж"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			token := mint(t, testKeys()["HS256"], Claims{Subject: tt.user, Channels: tt.patterns})
			id, err := newVerifier(t, configFor(t, testKeys()["HS256"])).Verify(token, now)
			if err != nil {
				t.Fatal(err)
			}
			for _, channel := range tt.yes {
				if !id.May(channel) {
					t.Errorf("%q may not hear %q", tt.patterns, channel)
				}
			}
			for _, channel := range tt.no {
				if id.May(channel) {
					t.Errorf("%q may hear %q", tt.patterns, channel)
				}
			}
		})
	}
}

func TestParseRightsRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		pattern string
		want    error
	}{
		{"empty", "", errPatternLength},
		{"the prefix alone", "notifications:", errPatternLength},
		{"255 bytes", strings.Repeat("x", 255), nil},
		{"256 bytes", strings.Repeat("x", 256), errPatternLength},
		{"star first", "*a", errPatternWildcard},
		{"star inside", "a:*:b", errPatternWildcard},
		{"two stars", "a**", errPatternWildcard},
		{"only stars", "**", errPatternWildcard},
		{"a star after sub", "user:{sub}*", errPatternSubject},
		{"a star after sub alone", "{sub}*", errPatternSubject},
		{"a star after sub and a colon", "user:{sub}:*", nil},
		{"a zero", "a\x00b", errPatternAlphabet},
		{"a line end", "a\n", errPatternAlphabet},
		{"delete", "a\x7f", errPatternAlphabet},
		{"a C1 control", "a\u0085", errPatternAlphabet},
		{"not UTF-8", "a\xff", errPatternAlphabet},
		{"the replacement character", "a\ufffd", errPatternAlphabet},
		{"the prefix twice", "notifications:notifications:a", errPatternPrefix},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if err := CheckPatterns([]string{"ok", tt.pattern}); !errors.Is(err, tt.want) {
				t.Errorf("CheckPatterns(%q) = %v, want %v", tt.pattern, err, tt.want)
			}
		})
	}
	if err := CheckPatterns(make([]string, MaxPatterns+1)); !errors.Is(err, errPatternCount) {
		t.Errorf("CheckPatterns of %d = %v", MaxPatterns+1, err)
	}
}

func TestMayOfNobody(t *testing.T) {
	t.Parallel()
	for _, id := range []*Identity{nil, {}, {User: "42"}} {
		if id.May("user:42") || id.May("") || id.May("user:") {
			t.Errorf("%+v may hear", id)
		}
	}
}

func TestMayAllocatesNothing(t *testing.T) {
	id := newIdentity(t, "42", "a", "b:*", "user:{sub}")
	if n := testing.AllocsPerRun(100, func() {
		if !id.May("user:42") || id.May("user:43") {
			t.Fatal("wrong")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestIdentityFootprint measures the memory of many users of one application, each with a token of its own.
func TestIdentityFootprint(t *testing.T) {
	const users = 20_000
	if size := unsafe.Sizeof(Identity{}); size != 48 {
		t.Errorf("an Identity has %d bytes, the comment says 48", size)
	}
	kept := make([]*Identity, users)
	before := heap()
	for i := range kept {
		kept[i] = newIdentity(t, fmt.Sprintf("user-%08d", i), "user:{sub}", "org:7:*", "announcements", "presence:{sub}:*")
	}
	each := float64(heap()-before) / users
	t.Logf("%.0f B each", each)
	if each > 48+16+8 || math.IsNaN(each) {
		t.Errorf("%.0f B for each, want 64: 48 and 16 for the name", each)
	}
	if kept[0].rights != kept[users-1].rights {
		t.Error("two users do not share their list")
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

func newIdentity(tb testing.TB, user string, patterns ...string) *Identity {
	tb.Helper()
	allowed, err := parseRights(patterns)
	if err != nil {
		tb.Fatal(err)
	}
	return &Identity{User: user, Expires: now, rights: allowed}
}

func BenchmarkMay(b *testing.B) {
	hundred := make([]string, MaxPatterns)
	for i := range hundred {
		hundred[i] = fmt.Sprintf("org:%d:team:{sub}:*", i)
	}
	for _, tt := range []struct {
		name     string
		patterns []string
		channel  string
		want     bool
	}{
		{"personal", []string{"user:{sub}"}, "user:user-00000042", true},
		{"second-of-two", []string{"user:{sub}", "org:7:*"}, "org:7:jobs", true},
		{"none-of-100", hundred, "org:99:team:user-00000043:x", false},
	} {
		id := newIdentity(b, "user-00000042", tt.patterns...)
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if id.May(tt.channel) != tt.want {
					b.Fatal("wrong")
				}
			}
		})
	}
}
