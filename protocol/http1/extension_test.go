package http1

import (
	"strings"
	"testing"
)

const (
	deflateAnswered       = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
	deflateAnsweredWindow = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15\r\n"
)

// Offers are answered as RFC 7692 section 7.1 says, and lists are read as RFC 6455 section 9.1 says.
func TestUpgradeDeflate(t *testing.T) {
	const refused = "refused"
	offer := func(value string) string { return request("Sec-WebSocket-Extensions: " + value) }
	for _, tc := range []struct {
		name, in, want string
	}{
		{"not offered", request(), ""},
		{"the article's load test", nodeHead, deflateAnswered},
		{"Chrome", chromeHead, deflateAnswered},
		{"Firefox", firefoxHead, deflateAnswered},
		{"plain", offer("permessage-deflate"), deflateAnswered},
		{"7.1.1 server_no_context_takeover", offer("permessage-deflate; server_no_context_takeover"), deflateAnswered},
		{"7.1.1 client_no_context_takeover", offer("permessage-deflate; client_no_context_takeover"), deflateAnswered},
		{"7.1.1 both", offer("permessage-deflate;client_no_context_takeover;server_no_context_takeover"), deflateAnswered},
		{"7.1.1.1 with a value", offer("permessage-deflate; server_no_context_takeover=1"), ""},
		{"7.1.1.2 with a value", offer("permessage-deflate; client_no_context_takeover=true"), ""},
		{"7.1.1.2 with an empty value", offer(`permessage-deflate; client_no_context_takeover=""`), ""},
		{"7.1.2.1 server_max_window_bits of ours", offer("permessage-deflate; server_max_window_bits=15"), deflateAnsweredWindow},
		{"7.1.2.1 server_max_window_bits, quoted", offer(`permessage-deflate; server_max_window_bits="15"`), deflateAnsweredWindow},
		{"7.1.2.1 server_max_window_bits below ours", offer("permessage-deflate; server_max_window_bits=14"), ""},
		{"7.1.2.1 server_max_window_bits without a value", offer("permessage-deflate; server_max_window_bits"), ""},
		{"7.1.2.1 server_max_window_bits over 15", offer("permessage-deflate; server_max_window_bits=16"), ""},
		{"7.1.2.1 server_max_window_bits with a zero", offer("permessage-deflate; server_max_window_bits=015"), ""},
		{"7.1.2.2 client_max_window_bits", offer("permessage-deflate; client_max_window_bits"), deflateAnswered},
		{"7.1.2.2 client_max_window_bits, least", offer("permessage-deflate; client_max_window_bits=8"), deflateAnswered},
		{"7.1.2.2 client_max_window_bits of 9", offer("permessage-deflate; client_max_window_bits=9"), deflateAnswered},
		{"7.1.2.2 client_max_window_bits of 10", offer("permessage-deflate; client_max_window_bits=10"), deflateAnswered},
		{"7.1.2.2 client_max_window_bits, most", offer("permessage-deflate; client_max_window_bits=15"), deflateAnswered},
		{"7.1.2.2 client_max_window_bits, quoted", offer(`permessage-deflate; client_max_window_bits="10"`), deflateAnswered},
		{"7.1.2.2 client_max_window_bits, quoted with escapes", offer(`permessage-deflate; client_max_window_bits="\1\0"`), deflateAnswered},
		{"7.1.2.2 client_max_window_bits of 7", offer("permessage-deflate; client_max_window_bits=7"), ""},
		{"7.1.2.2 client_max_window_bits of 16", offer("permessage-deflate; client_max_window_bits=16"), ""},
		{"7.1.2.2 client_max_window_bits with a zero", offer("permessage-deflate; client_max_window_bits=08"), ""},
		{"7.1.2.2 client_max_window_bits of three digits", offer("permessage-deflate; client_max_window_bits=100"), ""},
		{"7.1.2.2 client_max_window_bits, no number", offer("permessage-deflate; client_max_window_bits=1x"), ""},
		{"7.1.2.2 client_max_window_bits, a quoted space", offer(`permessage-deflate; client_max_window_bits="10 "`), ""},
		{"7.1.2.2 client_max_window_bits, empty quotes", offer(`permessage-deflate; client_max_window_bits=""`), ""},
		{"7.1.2.2 client_max_window_bits of a sign", offer("permessage-deflate; client_max_window_bits=+9"), ""},
		{"7.1 all parameters", offer("permessage-deflate; client_max_window_bits=12; server_no_context_takeover; server_max_window_bits=15; client_no_context_takeover"), deflateAnsweredWindow},
		{"7.1 unknown parameter", offer("permessage-deflate; x"), ""},
		{"7.1 unknown parameter with a value", offer("permessage-deflate; client_no_context_takeover; mem_level=9"), ""},
		{"7.1 parameter in other case", offer("permessage-deflate; Client_Max_Window_Bits"), ""},
		{"7.1 twice server_no_context_takeover", offer("permessage-deflate; server_no_context_takeover; server_no_context_takeover"), ""},
		{"7.1 twice client_no_context_takeover", offer("permessage-deflate; client_no_context_takeover; client_no_context_takeover"), ""},
		{"7.1 twice server_max_window_bits", offer("permessage-deflate; server_max_window_bits=15; server_max_window_bits=15"), ""},
		{"7.1 twice client_max_window_bits", offer("permessage-deflate; client_max_window_bits; client_max_window_bits=10"), ""},

		{"5.1 next offer", offer("permessage-deflate; server_max_window_bits=10, permessage-deflate"), deflateAnswered},
		{"5.1 next offer after an unknown parameter", offer("permessage-deflate; x=y, permessage-deflate; client_max_window_bits"), deflateAnswered},
		{"5.1 first of two good offers", offer("permessage-deflate; server_max_window_bits=15, permessage-deflate"), deflateAnsweredWindow},
		{"5.1 first of two good offers, the other way round", offer("permessage-deflate, permessage-deflate; server_max_window_bits=15"), deflateAnswered},
		{"5.1 no offer is good", offer("permessage-deflate; server_max_window_bits=10, permessage-deflate; x"), ""},
		{"9.1 next header", request("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10", "+Sec-WebSocket-Extensions: permessage-deflate"), deflateAnswered},
		{"9.1 first of two headers", request("Sec-WebSocket-Extensions: permessage-deflate", "+Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=15"), deflateAnswered},
		{"9.1 header in another case", request("sec-websocket-EXTENSIONS: permessage-deflate"), deflateAnswered},
		{"9.1 other extensions", offer("x-webkit-deflate-frame, permessage-bzip2; client_no_context_takeover"), ""},
		{"9.1 among other extensions", offer(`foo; a="b, permessage-deflate; \""; c, permessage-deflate, bar`), deflateAnswered},
		{"9.1 a name that is longer", offer("permessage-deflate2"), ""},
		{"9.1 a name in other case", offer("Permessage-Deflate"), ""},
		{"9.1 only in quotes", offer(`foo; a="permessage-deflate"`), ""},
		{"9.1 empty header", offer(""), ""},
		{"9.1 empty elements", offer(", ,permessage-deflate,, "), deflateAnswered},
		{"9.1 white space everywhere", offer("\tpermessage-deflate ;\tclient_max_window_bits = 10 ; server_no_context_takeover\t,x"), deflateAnswered},
		{"9.1 no white space", offer("x,permessage-deflate;client_max_window_bits=10,y"), deflateAnswered},

		{"T4 9.1 no comma", offer("permessage-deflate permessage-deflate"), refused},
		{"T4 9.1 parameter without a name", offer("permessage-deflate; =1"), refused},
		{"T4 9.1 empty parameter", offer("permessage-deflate;; client_max_window_bits"), refused},
		{"T4 9.1 semicolon at the end", offer("permessage-deflate;"), refused},
		{"T4 9.1 semicolon before a comma", offer("permessage-deflate;, x"), refused},
		{"T4 9.1 no extension before the parameter", offer("; client_max_window_bits"), refused},
		{"T4 9.1 no value", offer("permessage-deflate; client_max_window_bits="), refused},
		{"T4 9.1 open quotes", offer(`permessage-deflate; client_max_window_bits="10`), refused},
		{"T4 9.1 open quotes at an escape", offer(`permessage-deflate; client_max_window_bits="10\`), refused},
		{"T4 9.1 more behind the quotes", offer(`permessage-deflate; client_max_window_bits="10"0`), refused},
		{"T4 9.1 quotes around the name", offer(`"permessage-deflate"`), refused},
		{"T4 9.1 not ASCII", offer("permessage-d\xe9flate"), refused},
		{"T4 9.1 bad behind a good offer", offer("permessage-deflate, ("), refused},
		{"T4 9.1 many offers", offer(strings.Repeat("permessage-deflate; x, ", 5000)), ""},
		{"T4 9.1 many parameters", offer("permessage-deflate" + strings.Repeat("; client_max_window_bits", 5000)), ""},
		{"T4 9.1 long value", offer("permessage-deflate; client_max_window_bits=" + strings.Repeat("1", 100_000)), ""},
		{"T4 9.1 many quotes", offer("x; y=" + strings.Repeat(`"`, 100_001)), refused},
		{"T4 9.1 many escapes", offer(`x; y="` + strings.Repeat(`\"`, 50_000)), refused},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u := NewUpgrader(Config{Deflate: true})
			out, got, refusal := u.Upgrade(nil, []byte(tc.in))
			if tc.want == refused {
				if refusal == nil || refusal.Status != 400 || refusal.Reason != "bad_request" {
					t.Fatalf("Upgrade(%.100q) = %+v, %+v, want 400", tc.in, got, refusal)
				}
			} else {
				if refusal != nil {
					t.Fatalf("Upgrade(%.100q) = %d %q, want 101", tc.in, refusal.Status, refusal.Body)
				}
				if got.Deflate != (tc.want != "") {
					t.Errorf("Upgrade(%.100q) has deflate %t, want %q", tc.in, got.Deflate, tc.want)
				}
				if strings.Count(string(out), "Sec-WebSocket-Extensions") != strings.Count(tc.want, "Sec-") || !strings.Contains(string(out), "\r\n"+tc.want) {
					t.Errorf("Upgrade(%.100q) answers %q, want %q in it", tc.in, out, tc.want)
				}
			}
			if out, next, refusal := u.Upgrade(nil, []byte(request())); refusal != nil || *next != (Request{}) || strings.Contains(string(out), "Extensions") {
				t.Errorf("after it Upgrade(least) = %+v, %+v, want nothing of the one before", next, refusal)
			}
			// If compression is off the header is ignored, even a malformed one.
			out, got, refusal = NewUpgrader(Config{}).Upgrade(nil, []byte(tc.in))
			if refusal != nil || got.Deflate || strings.Contains(string(out), "Extensions") {
				t.Errorf("Upgrade(%.100q) = %+v, %+v while deflate is off, want it ignored", tc.in, got, refusal)
			}
		})
	}
}

// leastAllocs returns how often f allocates. With the race detector a sync.Pool drops some of its items at random, so a
// single measurement may find more.
func leastAllocs(f func()) float64 {
	least := testing.AllocsPerRun(100, f)
	for range 9 {
		least = min(least, testing.AllocsPerRun(20, f))
	}
	return least
}

// A handshake with an offer of compression allocates no more than one without.
func TestUpgradeDeflateAllocs(t *testing.T) {
	count := func(cfg Config) float64 {
		u, head, dst := NewUpgrader(cfg), []byte(chromeHead), make([]byte, 0, 1024)
		return leastAllocs(func() {
			if _, _, refusal := u.Upgrade(dst, head); refusal != nil {
				t.Fatal(refusal.Body)
			}
		})
	}
	if off, on := count(Config{}), count(Config{Deflate: true, TrustForwarded: true}); on > off {
		t.Errorf("a handshake with deflate allocates %v times, without %v", on, off)
	}
}
