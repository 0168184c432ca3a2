package identity

import (
	"bytes"
	"net/http"
	"testing"

	"github.com/carillon-ws/carillon/protocol/http1"
)

func TestFrom(t *testing.T) {
	t.Parallel()
	session := func(value []byte) []byte { return FromCookie(value, "session") }
	tests := []struct {
		name string
		from func([]byte) []byte
		in   string
		want string
	}{
		{"sub-protocol", FromSubprotocols, "carillon.v1, bearer.a.b.c", "a.b.c"},
		{"sub-protocol first", FromSubprotocols, "bearer.a.b.c,carillon.v1", "a.b.c"},
		{"sub-protocol, odd spaces", FromSubprotocols, " ,\t, bearer.a.b.c\t ,x", "a.b.c"},
		{"sub-protocol, two", FromSubprotocols, "bearer.a, bearer.b", "a"},
		{"sub-protocol, an empty one first", FromSubprotocols, "bearer., bearer.b", "b"},
		{"sub-protocol, none", FromSubprotocols, "carillon.v1", ""},
		{"sub-protocol, other case", FromSubprotocols, "Bearer.a", ""},
		{"sub-protocol, inside a name", FromSubprotocols, "xbearer.a", ""},
		{"sub-protocol, a space before it", FromSubprotocols, "x bearer.a", ""},
		{"sub-protocol, no dot", FromSubprotocols, "bearer", ""},
		{"authorization", FromAuthorization, "Bearer a.b.c", "a.b.c"},
		{"authorization, other case", FromAuthorization, "bEARER a.b.c", "a.b.c"},
		{"authorization, odd spaces", FromAuthorization, " \tBearer   a.b.c ", "a.b.c"},
		{"authorization, a tab", FromAuthorization, "Bearer\ta", ""},
		{"authorization, a colon", FromAuthorization, "Bearer: a", ""},
		{"authorization, other scheme", FromAuthorization, "Basic YTpi", ""},
		{"authorization, nothing after it", FromAuthorization, "Bearer ", ""},
		{"authorization, only the scheme", FromAuthorization, "Bearer", ""},
		{"authorization, a longer scheme", FromAuthorization, "Bearers a", ""},
		{"authorization, letters that fold by a bit", FromAuthorization, "\x02EARER a", ""},
		{"cookie", session, "a=b; session=a.b.c; c=d", "a.b.c"},
		{"cookie, alone", session, "session=a.b.c", "a.b.c"},
		{"cookie, quoted", session, `session="a.b.c"`, "a.b.c"},
		{"cookie, half a quote", session, `session="`, `"`},
		{"cookie, no spaces", session, "a=b;session=x;", "x"},
		{"cookie, two", session, "session=x; session=y", "x"},
		{"cookie, empty", session, "session=; session=y", ""},
		{"cookie, other case", session, "Session=x", ""},
		{"cookie, a longer name", session, "xsession=x; sessionx=y", ""},
		{"cookie, in a value", session, "a=session=x", ""},
		{"cookie, no value", session, "session", ""},
		{"cookie, equals signs", session, "session=a=b", "a=b"},
		{"query", FromQuery, "user=1&token=a.b.c&x=y", "a.b.c"},
		{"query, alone", FromQuery, "token=a.b.c", "a.b.c"},
		{"query, two", FromQuery, "token=a&token=b", "a"},
		{"query, empty", FromQuery, "token=&token=b", ""},
		{"query, a longer name", FromQuery, "xtoken=a&token2=b", ""},
		{"query, escaped name", FromQuery, "%74oken=a", ""},
		{"nothing", FromQuery, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := tt.from([]byte(tt.in))
			if string(got) != tt.want || (got == nil) != (tt.want == "") {
				t.Errorf("from %q = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

func TestSourcesToken(t *testing.T) {
	t.Parallel()
	all := http1.Credentials{
		Subprotocols:  []byte("carillon.v1, bearer.protocol"),
		Authorization: []byte("Bearer authorization"),
		Cookie:        []byte("session=cookie"),
		Query:         []byte("token=query"),
	}
	without := func(remove func(*http1.Credentials)) http1.Credentials {
		h := all
		remove(&h)
		return h
	}
	noProtocol := without(func(h *http1.Credentials) { h.Subprotocols = []byte("carillon.v1") })
	onlyAmbient := without(func(h *http1.Credentials) { h.Subprotocols, h.Authorization = nil, []byte("Basic x") })
	onlyQuery := without(func(h *http1.Credentials) { h.Subprotocols, h.Authorization, h.Cookie = nil, nil, nil })
	everywhere := Sources{Cookie: "session", Query: true}
	tests := []struct {
		name    string
		sources Sources
		headers http1.Credentials
		want    string
	}{
		{"all", everywhere, all, "protocol"},
		{"no sub-protocol", everywhere, noProtocol, "authorization"},
		{"cookie and query", everywhere, onlyAmbient, "cookie"},
		{"query", everywhere, onlyQuery, "query"},
		{"nothing", everywhere, http1.Credentials{}, ""},
		{"cookie not named", Sources{Query: true}, onlyAmbient, "query"},
		{"another cookie", Sources{Cookie: "sid"}, onlyAmbient, ""},
		{"query not allowed", Sources{}, onlyQuery, ""},
		{"a bad one is not skipped", everywhere, http1.Credentials{Subprotocols: []byte("bearer.!"), Query: all.Query}, "!"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.sources.Token(tt.headers); string(got) != tt.want {
				t.Errorf("Token = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestTokenAllocatesNothing(t *testing.T) {
	h := http1.Credentials{
		Subprotocols: []byte("carillon.v1"), Authorization: []byte("Basic x"),
		Cookie: []byte("a=b; session=cookie"), Query: []byte("token=query"),
	}
	if n := testing.AllocsPerRun(100, func() {
		if (Sources{Cookie: "sid", Query: true}).Token(h) == nil {
			t.Fatal("no token")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzExtract(f *testing.F) {
	f.Add([]byte("carillon.v1, bearer.a.b.c"), "session")
	f.Add([]byte("Bearer a.b.c"), "a")
	f.Add([]byte(`a=b; session="a.b.c"`), "session")
	f.Add([]byte("x=y&token=a"), "")
	f.Fuzz(func(t *testing.T, value []byte, cookie string) {
		before := bytes.Clone(value)
		for name, token := range map[string][]byte{
			"sub-protocol":  FromSubprotocols(value),
			"authorization": FromAuthorization(value),
			"cookie":        FromCookie(value, cookie),
			"query":         FromQuery(value),
		} {
			if token != nil && (len(token) == 0 || !bytes.Contains(value, token)) {
				t.Errorf("%s: %q is not a part of %q", name, token, value)
			}
		}
		all := http1.Credentials{Subprotocols: value, Authorization: value, Cookie: value, Query: value}
		if got := (Sources{Cookie: cookie, Query: true}).Token(all); got == nil && FromQuery(value) != nil {
			t.Errorf("Token(%q) = nil", value)
		}
		if !bytes.Equal(value, before) {
			t.Errorf("%q was changed to %q", before, value)
		}
		// FromCookie must read what net/http reads. net/http also trims control characters, which no header has.
		control := func(r rune) bool { return r < ' ' || r == 0x7f }
		if parsed, err := http.ParseCookie(string(value)); err == nil && bytes.IndexFunc(value, control) < 0 {
			want := ""
			for _, c := range parsed {
				if c.Name == cookie {
					want = c.Value
					break
				}
			}
			if got := FromCookie(value, cookie); want != "" && string(got) != want {
				t.Errorf("FromCookie(%q, %q) = %q, net/http has %q", value, cookie, got, want)
			}
		}
	})
}
