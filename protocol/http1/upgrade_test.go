package http1

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/protocol"
)

// The exact requests of common clients.
const (
	// The article's load test: the ws package of Node.
	nodeHead = "GET / HTTP/1.1\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
		"Connection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\nHost: localhost:8080\r\n\r\n"
	// The article's React bell, in a browser.
	chromeHead = "GET /ws HTTP/1.1\r\nHost: localhost:8080\r\nConnection: Upgrade\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n" +
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36\r\n" +
		"Upgrade: websocket\r\nOrigin: http://localhost:8080\r\nSec-WebSocket-Version: 13\r\n" +
		"Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\nCookie: theme=dark; sid=\"a,b\"\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
		"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
	firefoxHead = "GET /ws HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0\r\n" +
		"Accept: */*\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nSec-WebSocket-Version: 13\r\n" +
		"Origin: http://localhost:8080\r\nSec-WebSocket-Protocol: carillon.v1\r\nSec-WebSocket-Extensions: permessage-deflate\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nConnection: keep-alive, Upgrade\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n" +
		"Upgrade: websocket\r\n\r\n"
	// Through the article's nginx.
	nginxHead = "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\nHost: ws.example.com\r\n" +
		"Origin: https://ws.example.com\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)

// request builds a valid head with some changes: "Name: value" replaces or adds a header, "-Name" removes one, "+Name: value"
// adds a second one, and a change with " HTTP/" in it replaces the request line.
func request(changes ...string) string {
	line := "GET /ws HTTP/1.1"
	headers := []string{
		"Host: gate.example:8080", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
	}
	for _, change := range changes {
		if strings.Contains(change, " HTTP/") {
			line = change
			continue
		}
		name, _, _ := strings.Cut(strings.TrimLeft(change, "-+"), ":")
		if !strings.HasPrefix(change, "+") {
			for i, header := range headers {
				if strings.HasPrefix(header, name+":") {
					headers = append(headers[:i:i], headers[i+1:]...)
					break
				}
			}
		}
		if !strings.HasPrefix(change, "-") {
			headers = append(headers, strings.TrimPrefix(change, "+"))
		}
	}
	return line + "\r\n" + strings.Join(headers, "\r\n") + "\r\n\r\n"
}

func accept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) // RFC 6455 section 1.3
	return base64.StdEncoding.EncodeToString(sum[:])
}

func TestUpgrade(t *testing.T) {
	ours := Config{}
	loopback := Config{Loopback: true}
	listed := Config{AllowOrigins: []string{"https://app.example", "http://localhost:5173"}}
	anyOrigin := Config{AllowOrigins: []string{"*"}}
	unproven := Config{Loopback: true, LoopbackHost: true}
	long := strings.Repeat("u", protocol.MaxChannelBytes)
	for _, tc := range []struct {
		name string
		in   string
		cfg  Config
		want Request
	}{
		{"the article's load test", nodeHead, ours, Request{}},
		{"the article's bell in Chrome", chromeHead, ours, Request{}},
		{"Firefox", firefoxHead, ours, Request{Subprotocol: true}},
		{"the article's nginx", nginxHead, ours, Request{}},
		{"least", request(), ours, Request{}},
		{"path /", request("GET / HTTP/1.1"), ours, Request{}},
		{"absolute target", request("GET http://gate.example:8080/ws HTTP/1.1"), ours, Request{}},
		{"absolute target without a path", request("GET HTTPS://[::1]:8080?user=42 HTTP/1.1"), ours, Request{User: "42"}},
		{"names and values in another case", request("-Host", "hOST: x", "-Upgrade", "UPGRADE: WebSocket", "-Connection", "connection: UPGRADE"), ours, Request{}},
		{"Connection in two headers", request("Connection: keep-alive", "+Connection: x, upgrade"), ours, Request{}},
		{"Connection with empty elements", request("Connection: ,, Upgrade,"), ours, Request{}},
		{"no space behind the colon, tabs", request("Upgrade:websocket", "Connection:\tUpgrade \t"), ours, Request{}},
		{"empty Host", request("Host: "), ours, Request{}},
		{"Content-Length of zero", request("Content-Length: 0"), ours, Request{}},
		{"header that is not ASCII", request("X-Name: caf\xe9 é"), ours, Request{}},
		{"empty header", request("X-Empty:"), ours, Request{}},
		{"head of 8 KiB", request("Cookie: " + strings.Repeat("x", 8<<10)), ours, Request{}},
		{"200 headers", request(strings.Split(strings.Repeat("+X-Y: z,", 200), ",")[:200]...), ours, Request{}},

		{"user", request("GET /ws?user=42 HTTP/1.1"), ours, Request{User: "42"}},
		{"user among others", request("GET /?v=1&user=ann&w HTTP/1.1"), ours, Request{User: "ann"}},
		{"user with escapes", request("GET /ws?user=Ann+%C3%A9 HTTP/1.1"), ours, Request{User: "Ann é"}},
		{"user of 255 bytes", request("GET /ws?user=" + long + " HTTP/1.1"), ours, Request{User: long}},
		{"user is empty", request("GET /ws?user= HTTP/1.1"), ours, Request{}},
		{"first user of two", request("GET /ws?user=a&user=b HTTP/1.1"), ours, Request{User: "a"}},
		{"other parameters are not judged", request("GET /ws?a=%zz;b&token=x HTTP/1.1"), ours, Request{}},

		{"sub-protocol", request("Sec-WebSocket-Protocol: carillon.v1"), ours, Request{Subprotocol: true}},
		{"sub-protocol among others", request("Sec-WebSocket-Protocol: graphql-ws ,carillon.v1, bearer.a-b_c.d"), ours, Request{Subprotocol: true}},
		{"sub-protocol in a second header", request("Sec-WebSocket-Protocol: mqtt", "+Sec-WebSocket-Protocol: carillon.v1"), ours, Request{Subprotocol: true}},
		{"sub-protocol, empty elements", request("Sec-WebSocket-Protocol: , carillon.v1 ,,"), ours, Request{Subprotocol: true}},
		{"other sub-protocols", request("Sec-WebSocket-Protocol: carillon.v2, CARILLON.V1"), ours, Request{}},

		{"origin as Host", request("Origin: http://gate.example:8080"), ours, Request{}},
		{"origin as Host, behind TLS", request("Origin: https://gate.example:8080"), ours, Request{}},
		{"origin as Host, another case", request("Origin: HTTP://Gate.EXAMPLE:8080"), ours, Request{}},
		{"origin as Host, IPv6", request("Host: [::1]:8080", "Origin: http://[::1]:8080"), ours, Request{}},
		{"origin as the absolute target", request("GET http://other.example/ws HTTP/1.1", "Origin: http://other.example"), ours, Request{}},
		{"loopback origin", request("Origin: http://localhost:5173"), loopback, Request{}},
		{"loopback origin, IPv4", request("Origin: http://127.0.0.1:5173"), loopback, Request{}},
		{"loopback origin, IPv6", request("Origin: http://[::1]"), loopback, Request{}},
		{"loopback origin of an app", request("Origin: tauri://localhost"), loopback, Request{}},
		{"origin as Host, listening on loopback with tokens or behind a proxy", request("Origin: http://gate.example:8080"), loopback, Request{}},
		{"origin as Host, a loopback name", request("Host: localhost:8080", "Origin: http://localhost:8080"), unproven, Request{}},
		{"origin as Host, a loopback address", request("Host: 127.0.0.1:8080", "Origin: http://127.0.0.1:8080"), unproven, Request{}},
		{"loopback origin of another port", request("Host: localhost:8080", "Origin: http://localhost:5173"), unproven, Request{}},
		{"no origin, any Host", request(), unproven, Request{}},
		{"origin in the list", request("Origin: https://app.example"), listed, Request{}},
		{"origin in the list, with port", request("Origin: http://localhost:5173"), listed, Request{}},
		{"no origin, list", request(), listed, Request{}},
		{"any origin", request("Origin: https://evil.example"), anyOrigin, Request{}},
		{"any origin, null", request("Origin: null"), anyOrigin, Request{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u := NewUpgrader(tc.cfg)
			head := []byte(tc.in)
			out, got, refusal := u.Upgrade([]byte("before"), head)
			if refusal != nil {
				t.Fatalf("Upgrade(%q) = %d %q, want 101", tc.in, refusal.Status, refusal.Body)
			}
			if string(head) != tc.in {
				t.Errorf("Upgrade(%q) changed it to %q", tc.in, head)
			}
			clear(head)
			if in := u.in; in.query != nil || in.host != nil || in.origin != nil || in.key != nil || u.conn.out != nil {
				t.Errorf("Upgrade(%q) keeps parts of it: %+v", tc.in, in)
			}
			if *got != tc.want {
				t.Errorf("Upgrade(%q) = %+v, want %+v", tc.in, *got, tc.want)
			}
			want := "before" + "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
				"Sec-WebSocket-Accept: " + accept("dGhlIHNhbXBsZSBub25jZQ==") + "\r\n"
			if tc.want.Subprotocol {
				want += "Sec-WebSocket-Protocol: carillon.v1\r\n"
			}
			if want += "\r\n"; string(out) != want {
				t.Errorf("Upgrade(%q) answers %q, want %q", tc.in, out, want)
			}
			if _, next, refusal := u.Upgrade(nil, []byte(request())); refusal != nil || *next != (Request{}) {
				t.Errorf("after it Upgrade(least) = %+v, %+v, want nothing of the one before", next, refusal)
			}
		})
	}
}

// The example of RFC 6455 section 1.3.
func TestUpgradeAccept(t *testing.T) {
	out, _, refusal := NewUpgrader(Config{}).Upgrade(nil, []byte(request("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")))
	if refusal != nil {
		t.Fatal(refusal.Body)
	}
	const want = "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
	if !strings.Contains(string(out), want) {
		t.Errorf("Upgrade answers %q, want %q in it", out, want)
	}
}

func TestUpgradeRefused(t *testing.T) {
	none := Config{}
	loopback := Config{Loopback: true}
	listed := Config{AllowOrigins: []string{"https://app.example", "http://localhost:5173"}}
	unproven := Config{Loopback: true, LoopbackHost: true}
	random := make([]byte, 300)
	for i := range random {
		random[i] = byte(i * 167)
	}
	for _, tc := range []struct {
		name   string
		in     string
		cfg    Config
		status int
		reason string
		body   string // a part of it
	}{
		{"plain GET", request("-Upgrade", "-Connection", "-Sec-WebSocket-Version", "-Sec-WebSocket-Key"), none, 426, "not_upgrade", "connect to /ws"},
		{"plain GET of /", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", Config{DemoURL: "http://127.0.0.1:9090/demo"}, 426, "not_upgrade", "http://127.0.0.1:9090/demo"},
		{"plain GET of another path", "GET /favicon.ico HTTP/1.1\r\nHost: x\r\n\r\n", none, 404, "bad_path", "/ws"},
		{"T29 GET /metrics", "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", none, 404, "bad_path", "/ws"},
		{"path /ws/", request("GET /ws/ HTTP/1.1"), none, 404, "bad_path", "/ws"},
		{"path that climbs", request("GET /../ws HTTP/1.1"), none, 404, "bad_path", "/ws"},
		{"path //", request("GET //ws HTTP/1.1"), none, 404, "bad_path", "/ws"},
		{"path in escapes", request("GET /%77s HTTP/1.1"), none, 404, "bad_path", "/ws"},
		{"target *", request("GET * HTTP/1.1"), none, 404, "bad_path", "/ws"},
		{"target of another scheme", request("GET ftp://gate.example/ws HTTP/1.1"), none, 404, "bad_path", "/ws"},
		{"absolute target with userinfo", request("GET http://u@gate.example/ws HTTP/1.1"), none, 400, "bad_request", "malformed"},
		{"absolute target without a host", request("GET http:///ws HTTP/1.1"), none, 400, "bad_request", "malformed"},

		{"4.2.1 POST", request("POST /ws HTTP/1.1"), none, 405, "bad_method", "GET"},
		{"4.2.1 HEAD", request("HEAD / HTTP/1.1"), none, 405, "bad_method", "GET"},
		{"4.2.1 method in small letters", request("get /ws HTTP/1.1"), none, 405, "bad_method", "GET"},
		{"4.2.1 HTTP/1.0", request("GET /ws HTTP/1.0"), none, 505, "bad_request", "HTTP/1.1"},
		{"4.2.1 HTTP/2.0", request("GET /ws HTTP/2.0"), none, 505, "bad_request", "HTTP/1.1"},
		{"4.2.1 HTTP/1.1 with more", request("GET /ws HTTP/1.1x"), none, 505, "bad_request", "HTTP/1.1"},
		{"4.2.1 no Host", request("-Host"), none, 400, "bad_request", "Host"},
		{"4.2.1 Upgrade to something else", request("Upgrade: h2c"), none, 400, "bad_request", "Upgrade header"},
		{"4.2.1 Upgrade with more", request("Upgrade: websocket2"), none, 400, "bad_request", "Upgrade header"},
		{"4.2.1 no Connection", request("-Connection"), none, 400, "bad_request", "Connection header"},
		{"4.2.1 Connection without upgrade", request("Connection: keep-alive"), none, 400, "bad_request", "Connection header"},
		{"4.2.1 Connection, empty", request("Connection:"), none, 400, "bad_request", "Connection header"},
		{"4.2.1 Connection with a longer word", request("Connection: upgrades"), none, 400, "bad_request", "Connection header"},
		{"4.2.1 no version", request("-Sec-WebSocket-Version"), none, 400, "bad_request", "Sec-WebSocket-Version"},
		{"4.2.2 version 8", request("Sec-WebSocket-Version: 8"), none, 426, "bad_version", "13"},
		{"4.2.2 version 13 and 8", request("Sec-WebSocket-Version: 13, 8"), none, 426, "bad_version", "13"},
		{"4.2.1 no key", request("-Sec-WebSocket-Key"), none, 400, "bad_request", "Sec-WebSocket-Key"},
		{"4.2.1 empty key", request("Sec-WebSocket-Key: "), none, 400, "bad_request", "Sec-WebSocket-Key"},
		{"4.2.1 key of 15 bytes", request("Sec-WebSocket-Key: " + base64.StdEncoding.EncodeToString(make([]byte, 15))), none, 400, "bad_request", "16 bytes"},
		{"4.2.1 key of 17 bytes, 24 characters", request("Sec-WebSocket-Key: " + base64.StdEncoding.EncodeToString(make([]byte, 17))), none, 400, "bad_request", "16 bytes"},
		{"4.2.1 key of 18 bytes, 24 characters", request("Sec-WebSocket-Key: " + base64.StdEncoding.EncodeToString(make([]byte, 18))), none, 400, "bad_request", "16 bytes"},
		{"4.2.1 key not base64", request("Sec-WebSocket-Key: dGhlIHNhbXBs!SBub25jZQ=="), none, 400, "bad_request", "16 bytes"},
		{"4.2.1 key in URL base64", request("Sec-WebSocket-Key: dGhlIHNhbXBs-SBub25jZQ=="), none, 400, "bad_request", "16 bytes"},
		{"4.2.1 key without padding", request("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQAA"), none, 400, "bad_request", "16 bytes"},

		{"T1 foreign origin", request("Origin: https://evil.example"), none, 403, "bad_origin", "-allow-origin"},
		{"T1 foreign origin on loopback", request("Origin: https://evil.example"), loopback, 403, "bad_origin", "-allow-origin"},
		{"T1 origin with Host as a prefix", request("Origin: http://gate.example:8080.evil.example"), none, 403, "bad_origin", ""},
		{"T1 origin with Host as a suffix", request("Origin: http://evilgate.example:8080"), none, 403, "bad_origin", ""},
		{"T1 origin of a subdomain", request("Origin: http://evil.gate.example:8080"), none, 403, "bad_origin", ""},
		{"T1 origin of the parent", request("Origin: http://example:8080"), none, 403, "bad_origin", ""},
		{"T1 origin of another port", request("Origin: http://gate.example:8081"), none, 403, "bad_origin", ""},
		{"T1 origin without the port", request("Origin: http://gate.example"), none, 403, "bad_origin", ""},
		{"T1 origin with userinfo", request("Origin: http://gate.example:8080@evil.example"), none, 403, "bad_origin", ""},
		{"T1 origin with Host behind userinfo", request("Origin: http://evil@gate.example:8080"), none, 403, "bad_origin", ""},
		{"T1 origin with a path", request("Origin: http://gate.example:8080/"), none, 403, "bad_origin", ""},
		{"T1 origin with a query", request("Origin: http://gate.example:8080?"), none, 403, "bad_origin", ""},
		{"T1 origin with a fragment", request("Origin: http://gate.example:8080#x"), none, 403, "bad_origin", ""},
		{"T1 origin without a scheme", request("Origin: gate.example:8080"), none, 403, "bad_origin", ""},
		{"T1 origin with an empty scheme", request("Origin: ://gate.example:8080"), none, 403, "bad_origin", ""},
		{"T1 origin list", request("Origin: http://gate.example:8080 http://evil.example"), none, 403, "bad_origin", ""},
		{"T1 origin null", request("Origin: null"), none, 403, "bad_origin", ""},
		{"T1 origin null on loopback", request("Origin: null"), loopback, 403, "bad_origin", ""},
		{"T1 origin empty", request("Origin: "), none, 403, "bad_origin", ""},
		{"T1 origin empty, Host empty", request("Host: ", "Origin: http://"), none, 403, "bad_origin", ""},
		{"T1 two origins", request("Origin: http://gate.example:8080", "+Origin: https://evil.example"), none, 400, "bad_request", "twice"},
		{"T1 the same origin twice", request("Origin: http://gate.example:8080", "+origin: http://gate.example:8080"), none, 400, "bad_request", "twice"},
		{"T1 a name rebound to loopback", request("Host: evil.example:8080", "Origin: http://evil.example:8080"), unproven, 403, "bad_origin", "-allow-origin"},
		{"T1 a rebound name, what helps behind a proxy", request("Host: evil.example:8080", "Origin: http://evil.example:8080"), unproven, 403, "bad_origin", "-trusted-proxy"},
		{"T1 a rebound name in the absolute target", request("GET http://evil.example/ws HTTP/1.1", "Host: localhost", "Origin: http://evil.example"), unproven, 403, "bad_origin", "-trusted-proxy"},
		{"T1 a rebound name that begins with localhost", request("Host: localhost.evil.example", "Origin: http://localhost.evil.example"), unproven, 403, "bad_origin", "-trusted-proxy"},
		{"T1 foreign origin at a rebound name", request("Host: evil.example", "Origin: http://other.example"), unproven, 403, "bad_origin", "-allow-origin"},
		{"T1 localhost as a prefix", request("Origin: http://localhost.evil.example"), loopback, 403, "bad_origin", ""},
		{"T1 localhost as a suffix", request("Origin: http://evillocalhost"), loopback, 403, "bad_origin", ""},
		{"T1 localhost as userinfo", request("Origin: http://localhost@evil.example"), loopback, 403, "bad_origin", ""},
		{"T1 localhost behind a fragment", request("Origin: http://evil.example#.localhost"), loopback, 403, "bad_origin", ""},
		{"T1 localhost behind a slash", request("Origin: http://evil.example/.localhost"), loopback, 403, "bad_origin", ""},
		{"T1 localhost behind a backslash", request(`Origin: http://evil.example\.localhost`), loopback, 403, "bad_origin", ""},
		{"T1 127.0.0.1 as a prefix", request("Origin: http://127.0.0.1.evil.example"), loopback, 403, "bad_origin", ""},
		{"T1 0.0.0.0 is not loopback", request("Origin: http://0.0.0.0:8080"), loopback, 403, "bad_origin", ""},
		{"T1 loopback origin, not on loopback", request("Origin: http://localhost:5173"), none, 403, "bad_origin", ""},
		{"T1 not in the list", request("Origin: https://evil.example"), listed, 403, "bad_origin", ""},
		{"T1 list, Host does not count", request("Origin: http://gate.example:8080"), listed, 403, "bad_origin", ""},
		{"T1 list, other scheme", request("Origin: http://app.example"), listed, 403, "bad_origin", ""},
		{"T1 list, other port", request("Origin: https://app.example:8443"), listed, 403, "bad_origin", ""},
		{"T1 list, suffix", request("Origin: https://app.example.evil.example"), listed, 403, "bad_origin", ""},
		{"T1 list, null", request("Origin: null"), listed, 403, "bad_origin", ""},
		{"T1 list, letter that folds to ASCII", request("Origin: http://localho\u017ft:5173"), listed, 403, "bad_origin", ""},
		{"T1 absolute target, origin as the Host header", request("GET http://other.example/ws HTTP/1.1", "Origin: http://gate.example:8080"), none, 403, "bad_origin", ""},

		{"T4 sub-protocol not ASCII", request("Sec-WebSocket-Protocol: caf\xc3\xa9"), none, 400, "bad_request", "malformed"},
		{"T4 sub-protocol with a quote", request(`Sec-WebSocket-Protocol: "carillon.v1"`), none, 400, "bad_request", "malformed"},
		{"T4 sub-protocol with a space", request("Sec-WebSocket-Protocol: carillon.v1 x"), none, 400, "bad_request", "malformed"},
		{"T4 Connection of 100,000 commas", request("Connection: " + strings.Repeat(",", 100_000)), none, 400, "bad_request", "Connection header"},
		{"T4 Connection of open brackets", request("Connection: " + strings.Repeat("(", 100_000)), none, 400, "bad_request", "Connection header"},

		{"T5 Content-Length", request("Content-Length: 5"), none, 400, "bad_request", "body"},
		{"T5 Content-Length of zero and more", request("Content-Length: 0", "+Content-Length: 5"), none, 400, "bad_request", "body"},
		{"T5 Content-Length list", request("Content-Length: 0, 5"), none, 400, "bad_request", "body"},
		{"T5 Content-Length with a sign", request("Content-Length: +0"), none, 400, "bad_request", "body"},
		{"T5 empty Content-Length", request("content-length:"), none, 400, "bad_request", "body"},
		{"T5 chunked", request("Transfer-Encoding: chunked"), none, 400, "bad_request", "body"},
		{"T5 identity", request("TRANSFER-ENCODING: identity"), none, 400, "bad_request", "body"},
		{"T5 folded line", request("X-Folded: a\r\n b"), none, 400, "bad_request", "malformed"},
		{"T5 folded line with a colon", request("X-Folded: a\r\n b: c"), none, 400, "bad_request", "malformed"},
		{"T5 folded first line", "GET /ws HTTP/1.1\r\n Host: x\r\n\r\n", none, 400, "bad_request", "malformed"},
		{"T5 space before the colon", request("Host : evil.example"), none, 400, "bad_request", "malformed"},
		{"T5 no colon", request("Nothing"), none, 400, "bad_request", "malformed"},
		{"T5 no name", request("+: x"), none, 400, "bad_request", "malformed"},
		{"T5 name not ASCII", request("Caf\xc3\xa9: x"), none, 400, "bad_request", "malformed"},
		{"T5 two Hosts", request("+Host: evil.example"), none, 400, "bad_request", "twice"},
		{"T5 two Hosts in other case", request("+hOsT: evil.example"), none, 400, "bad_request", "twice"},
		{"T5 two Upgrades", request("+Upgrade: h2c"), none, 400, "bad_request", "twice"},
		{"T5 two keys", request("+Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), none, 400, "bad_request", "twice"},
		{"T5 two versions", request("+Sec-WebSocket-Version: 13"), none, 400, "bad_request", "twice"},
		{"T5 Host with a space", request("Host: a b"), none, 400, "bad_request", "malformed"},
		{"T5 Host with a path", request("Host: gate.example/x"), none, 400, "bad_request", "malformed"},
		{"T5 Host with userinfo", request("Host: a@gate.example"), none, 400, "bad_request", "malformed"},
		{"T5 bytes behind the blank line", request() + "x", none, 400, "bad_request", "malformed"},
		{"T5 head without its blank line", strings.TrimSuffix(request(), "\r\n"), none, 400, "bad_request", "malformed"},

		{"T6 CR in the target", request("GET /ws?a\rb HTTP/1.1"), none, 400, "bad_request", "malformed"},
		{"T6 LF in the target", request("GET /ws?a\nb HTTP/1.1"), none, 400, "bad_request", "malformed"},
		{"T6 CR LF in the target", request("GET /ws?a\r\nb HTTP/1.1"), none, 400, "bad_request", "malformed"},
		{"T6 NUL in the target", request("GET /ws?a\x00b HTTP/1.1"), none, 400, "bad_request", "malformed"},
		{"T6 tab in the target", request("GET /ws?a\tb HTTP/1.1"), none, 400, "bad_request", "malformed"},
		{"T6 target not ASCII", request("GET /ws?é HTTP/1.1"), none, 400, "bad_request", "malformed"},
		{"T6 CR in a value", request("X-A: b\rSet-Cookie: c"), none, 400, "bad_request", "malformed"},
		{"T6 LF in a value", request("X-A: b\nOrigin: http://x"), none, 400, "bad_request", "malformed"},
		{"T6 NUL in a value", request("X-A: b\x00"), none, 400, "bad_request", "malformed"},
		{"T6 delete in a value", request("X-A: b\x7f"), none, 400, "bad_request", "malformed"},
		{"T6 LF in the version", request("GET /ws HTTP/1.1\nX: y"), none, 505, "bad_request", "HTTP/1.1"},
		{"T6 CR LF in the user", request("GET /ws?user=a%0d%0ab HTTP/1.1"), none, 400, "bad_request", "malformed"},
		{"T6 NUL in the user", request("GET /ws?user=%00 HTTP/1.1"), none, 400, "bad_request", "malformed"},
		{"user not UTF-8", request("GET /ws?user=%ff HTTP/1.1"), none, 400, "bad_request", "malformed"},
		{"user with a broken escape", request("GET /ws?user=%zz HTTP/1.1"), none, 400, "bad_request", "malformed"},
		{"user over 255 bytes", request("GET /ws?user=" + strings.Repeat("u", 256) + " HTTP/1.1"), none, 400, "bad_request", "malformed"},

		{"T7 TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + string(random) + "\r\n\r\n", none, 400, "bad_request", "malformed"},
		{"T7 h2 preface", "PRI * HTTP/2.0\r\n\r\n", none, 505, "bad_request", "HTTP/1.1"},
		{"T7 PROXY line", "PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\nGET / HTTP/1.1\r\n\r\n", none, 400, "bad_request", "malformed"},
		{"T7 Redis", "*1\r\n$4\r\nPING\r\n\r\n", none, 400, "bad_request", "malformed"},
		{"T7 random", string(random) + "\r\n\r\n", none, 400, "bad_request", "malformed"},
		{"T7 blank lines", "\r\n\r\n", none, 400, "bad_request", "malformed"},
		{"T7 nothing", "", none, 400, "bad_request", "malformed"},
		{"request line of one word", "GET\r\n\r\n", none, 400, "bad_request", "malformed"},
		{"request line of two words", "GET /ws\r\n\r\n", none, 400, "bad_request", "malformed"},
		{"request line with two spaces", request("GET  /ws HTTP/1.1"), none, 400, "bad_request", "malformed"},
		{"request line with another protocol", strings.Replace(request(), "HTTP/1.1", "ICY/1.1", 1), none, 400, "bad_request", "malformed"},
		{"method not a token", request("G(T /ws HTTP/1.1"), none, 400, "bad_request", "malformed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u := NewUpgrader(tc.cfg)
			out, got, refusal := u.Upgrade([]byte("before"), []byte(tc.in))
			if refusal == nil {
				t.Fatalf("Upgrade(%.100q) = %+v, want %d", tc.in, *got, tc.status)
			}
			if refusal.Status != tc.status || refusal.Reason != tc.reason || !strings.Contains(refusal.Body, tc.body) {
				t.Errorf("Upgrade(%.100q) = %d %s %q, want %d %s …%s…", tc.in, refusal.Status, refusal.Reason, refusal.Body, tc.status, tc.reason, tc.body)
			}
			if got != nil || string(out) != "before" {
				t.Errorf("Upgrade(%.100q) answers %q, want nothing", tc.in, out)
			}
			checkRefusal(t, refusal)
			// A bad request must not have an effect on the next one.
			if _, next, refusal := u.Upgrade(nil, []byte(request())); refusal != nil || *next != (Request{}) {
				t.Errorf("after it Upgrade(good) = %+v, %+v", next, refusal)
			}
		})
	}
}

// checkRefusal reads the answer as net/http does.
func checkRefusal(t *testing.T, r *Refusal) *http.Response {
	t.Helper()
	raw, ok := bytes.CutPrefix(AppendRefusal([]byte("before"), r), []byte("before"))
	in := bufio.NewReader(bytes.NewReader(raw))
	res, err := http.ReadResponse(in, nil)
	if !ok || err != nil {
		t.Fatalf("AppendRefusal(%+v) = %q: %v", r, raw, err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil || string(body) != r.Body+"\n" || in.Buffered() > 0 {
		t.Errorf("AppendRefusal(%+v) has body %q, %v, want %q", r, body, err, r.Body)
	}
	want := http.Header{
		"Content-Type":   {"text/plain; charset=utf-8"},
		"Content-Length": {strconv.Itoa(len(r.Body) + 1)},
	}
	switch r.Status {
	case http.StatusUpgradeRequired:
		want["Upgrade"], want["Connection"], want["Sec-Websocket-Version"] = []string{"websocket"}, []string{"Upgrade, close"}, []string{"13"}
	case http.StatusMethodNotAllowed:
		want["Allow"] = []string{"GET"}
	}
	if r.RetryAfter > 0 {
		want["Retry-After"] = []string{strconv.Itoa(r.RetryAfter)}
	}
	res.Header.Del("Connection")
	if r.Status == http.StatusUpgradeRequired {
		res.Header.Set("Connection", "Upgrade, close")
	}
	if got := fmt.Sprint(res.Header); res.StatusCode != r.Status || !res.Close || got != fmt.Sprint(want) {
		t.Errorf("AppendRefusal(%+v) = %d, close %t, %s, want %s", r, res.StatusCode, res.Close, got, want)
	}
	return res
}

func TestAppendRefusal(t *testing.T) {
	for _, r := range []*Refusal{RefuseTimeout, RefuseHeadLong, RefuseLineLong, RefuseFull, RefuseDraining} {
		checkRefusal(t, r)
	}
	const want = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 31\r\n" +
		"Content-Type: text/plain; charset=utf-8\r\nRetry-After: 1\r\n\r\nThis gateway is shutting down.\n"
	if got := AppendRefusal(nil, RefuseDraining); string(got) != want {
		t.Errorf("AppendRefusal(draining) = %q, want %q", got, want)
	}
	const upgrade = "Connection: Upgrade, close\r\n"
	if got := AppendRefusal(nil, &Refusal{Status: http.StatusUpgradeRequired}); !strings.Contains(string(got), upgrade) {
		t.Errorf("AppendRefusal(426) = %q, want %q in it", got, upgrade)
	}
}

// HeadLen finds the end of a head that arrives in parts, with a frame after it, wherever it is cut.
func TestHeadLen(t *testing.T) {
	for _, tc := range []struct {
		name, head, behind string
	}{
		{"article", nodeHead, ""},
		{"first frame behind it", request(), "\x81\x85\x01\x02\x03\x04Hello"},
		{"blank line behind it", request(), "\r\n\r\n"},
		{"blank line at once", "\r\n\r\n", "x"},
		{"CR and LF that end nothing", "a\r\r\nb\n\r\nc\r\n\r\r\n\r\n", "x"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			buf := []byte(tc.head + tc.behind)
			for at := range len(buf) + 1 {
				got := HeadLen(buf[:at], 0)
				want := len(tc.head)
				if at < len(tc.head) {
					want = 0
				}
				if got != want {
					t.Errorf("HeadLen(%q) = %d, want %d", buf[:at], got, want)
				}
				if want == 0 {
					if got := HeadLen(buf, at); got != len(tc.head) {
						t.Errorf("HeadLen after %q = %d, want %d", buf[:at], got, len(tc.head))
					}
				}
			}
		})
	}
}

// A request that is accepted is also one for net/http, with the same meaning.
func FuzzUpgrade(f *testing.F) {
	for _, head := range []string{
		nodeHead, chromeHead, firefoxHead, nginxHead, request("GET /ws?user=Ann+%C3%A9&x HTTP/1.1"),
		request("GET http://gate.example:8080/ws HTTP/1.1"), request("GET http://[::1]:80 HTTP/1.1", "Origin: http://[::1]:80"),
		request("Origin: null"), request("Origin: http://localhost:1", "+X-A: caf\xe9"), request("X-Folded: a\r\n b"),
		request("Content-Length: 0"), request("Transfer-Encoding: chunked"), request("Sec-WebSocket-Protocol: a, carillon.v1"),
		"PRI * HTTP/2.0\r\n\r\n", request("Sec-WebSocket-Extensions: a; b=\"c\\\"\", permessage-deflate; server_max_window_bits=15"),
		request("X-Forwarded-For: 192.0.2.1", "+X-Forwarded-For: 192.0.2.2"),
	} {
		f.Add([]byte(head))
	}
	u := NewUpgrader(Config{Loopback: true, Deflate: true, TrustForwarded: true})
	f.Fuzz(func(t *testing.T, head []byte) {
		before := bytes.Clone(head)
		out, got, refusal := u.Upgrade(nil, head)
		if !bytes.Equal(head, before) {
			t.Errorf("Upgrade(%q) changed it to %q", before, head)
		}
		if n := HeadLen(head, 0); refusal == nil && n != len(head) {
			t.Errorf("Upgrade(%q) accepts a head whose end is at %d", head, n)
		}
		if refusal != nil {
			if len(out) > 0 || got != nil {
				t.Errorf("Upgrade(%q) = %+v and answers %q", head, refusal, out)
			}
			return
		}
		req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
		if err != nil {
			t.Fatalf("Upgrade(%q) accepts, net/http: %v", head, err)
		}
		if req.Method != http.MethodGet || req.URL.Path != "/" && req.URL.Path != "/ws" && req.URL.Path != "" || req.ContentLength != 0 || len(req.TransferEncoding) > 0 {
			t.Errorf("Upgrade(%q) accepts, net/http reads %+v", head, req)
		}
		for name, values := range req.Header {
			switch name {
			case "Origin", "Upgrade", "Sec-Websocket-Key", "Sec-Websocket-Version":
				if len(values) != 1 {
					t.Errorf("Upgrade(%q) accepts, net/http reads %s %q", head, name, values)
				}
			}
		}
		if origin := req.Header.Get("Origin"); origin != "" {
			_, host, _ := strings.Cut(origin, "://")
			name := host
			if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
				name = host[:i]
			}
			if !strings.EqualFold(host, req.Host) && !IsLoopbackHost(name) {
				t.Errorf("Upgrade(%q) accepts origin %q for host %q", head, origin, req.Host)
			}
		}
		if user := req.URL.Query().Get("user"); !strings.Contains(req.URL.RawQuery, ";") && user != got.User {
			t.Errorf("Upgrade(%q) has user %q, net/http %q", head, got.User, user)
		}
		if offered := strings.Contains(strings.Join(req.Header.Values("Sec-WebSocket-Extensions"), ","), "permessage-deflate"); got.Deflate && !offered ||
			got.Deflate != bytes.Contains(out, []byte("\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover")) {
			t.Errorf("Upgrade(%q) has deflate %t, offered %t, and answers %q", head, got.Deflate, offered, out)
		}
		if list := strings.Join(req.Header.Values("X-Forwarded-For"), ", "); strings.TrimLeft(list, ", ") != strings.TrimLeft(got.ForwardedFor, ", ") {
			t.Errorf("Upgrade(%q) has forwarded for %q, net/http %q", head, got.ForwardedFor, list)
		}
		res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(out)), req)
		if err != nil || res.StatusCode != http.StatusSwitchingProtocols ||
			res.Header.Get("Sec-WebSocket-Accept") != accept(req.Header.Get("Sec-WebSocket-Key")) {
			t.Errorf("Upgrade(%q) answers %q, %v", head, out, err)
		}
	})
}

func TestUpgradeAllocs(t *testing.T) {
	var h requestHead
	for _, in := range []string{nodeHead, chromeHead, firefoxHead, request("GET / HTTP/1.1", "-Upgrade")} {
		head := []byte(in)
		if got := testing.AllocsPerRun(100, func() { _ = h.parse(head) }); got != 0 {
			t.Errorf("looking at %q allocates %v times, want 0", in, got)
		}
	}
}

// BenchmarkUpgrade compares with gobwas/ws alone, without the checks of this package.
func BenchmarkUpgrade(b *testing.B) {
	for _, bc := range []struct{ name, in string }{
		{"node", nodeHead},
		{"chrome", chromeHead},
		{"firefox", firefoxHead},
		{"user", request("GET /ws?user=42 HTTP/1.1")},
	} {
		head := []byte(bc.in)
		b.Run(bc.name, func(b *testing.B) {
			u := NewUpgrader(Config{})
			var dst []byte
			b.ReportAllocs()
			for b.Loop() {
				out, _, refusal := u.Upgrade(dst[:0], head)
				if refusal != nil {
					b.Fatal(refusal)
				}
				dst = out
			}
		})
		b.Run(bc.name+"/gobwas", func(b *testing.B) {
			u := ws.Upgrader{Protocol: func(name []byte) bool { return string(name) == protocol.Subprotocol }}
			var conn headConn
			b.ReportAllocs()
			for b.Loop() {
				conn.head, conn.out = head, conn.out[:0]
				if _, err := u.Upgrade(&conn); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("look", func(b *testing.B) { // the checks of this package alone
		var h requestHead
		head := []byte(chromeHead)
		b.ReportAllocs()
		for b.Loop() {
			if err := h.parse(head); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("refused", func(b *testing.B) {
		u := NewUpgrader(Config{})
		head := []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		b.ReportAllocs()
		for b.Loop() {
			if _, _, refusal := u.Upgrade(nil, head); refusal == nil {
				b.Fatal("not refused")
			}
		}
	})
}
