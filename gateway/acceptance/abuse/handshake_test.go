package abuse

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carillon-ws/carillon/gateway/gatewaytest"
)

// ask sends a request head, and returns the status and the text of the answer, which must come within a second.
func ask(addr, head string) (status int, answer string, err error) {
	c, err := gatewaytest.Connect(addr)
	if err != nil {
		return 0, "", err
	}
	defer c.Close() //nolint:errcheck // it has been read
	began := time.Now()
	if err := c.Say(head); err != nil {
		return 0, "", err
	}
	header, err := c.Response()
	if took := time.Since(began); tooLate(took, 2*answerWithin) {
		return 0, "", fmt.Errorf("answered after %v", took)
	}
	var refused *gatewaytest.StatusError
	switch {
	case err == nil:
		return http.StatusSwitchingProtocols, fmt.Sprint(header), nil
	case errors.As(err, &refused):
		_, err = c.AwaitEnd()
		return refused.Status, fmt.Sprint(header, refused.Body), err
	default:
		return 0, "", err
	}
}

// wantStatus sends a request head. The answer must have one of some statuses.
func wantStatus(t *testing.T, addr, name, head string, want ...int) (answer string) {
	t.Helper()
	status, answer, err := ask(addr, head)
	if err != nil || !slices.Contains(want, status) {
		t.Errorf("%s: status %d, %v, want %v", name, status, err, want)
	}
	return answer
}

func TestT01CrossSiteHandshake(t *testing.T) {
	t.Parallel()
	g := attacked(t)
	listed := attacked(t, "-allow-origin", "https://app.example", "-allow-origin", "http://shop.example:8000")
	own := "http://" + g.Addr
	g.withstands(t, "hs-origin-evil", 8*mib, func(t *testing.T) {
		for _, origin := range []string{
			"http://evil.example", "https://evil.example", "null", "", "file://", "http://",
			"http://127.0.0.1.evil.example", "http://localhost.evil.example", "http://evillocalhost", "http://localhost:1.evil.example",
			"http://localhost@evil.example", "http://evil.example@localhost", "http://evil.example#.localhost", "http://evil.example/.localhost",
			"http://evil.example?.localhost", "http://evil.example\\.localhost", "http://evil.example%00.localhost", "http://2130706433",
			"http://localhost evil.example", "//localhost", own + ".evil.example",
		} {
			wantStatus(t, g.Addr, origin, gatewaytest.Head("Origin: "+origin), http.StatusForbidden)
		}
		for _, origin := range []string{own, "http://localhost:3000", "https://127.0.0.1", "http://[::1]:5173"} {
			wantStatus(t, g.Addr, origin, gatewaytest.Head("Origin: "+origin), http.StatusSwitchingProtocols)
		}
		for _, origin := range []string{
			"http://app.example", "https://app.example:8443", "https://app.example.evil.example", "https://evilapp.example", "https://app.example@evil.example",
			"https://sub.app.example", "http://shop.example", "http://shop.example:80", "http://localhost", "https://app.example/", "null",
		} {
			wantStatus(t, listed.Addr, origin, gatewaytest.Head("Origin: "+origin), http.StatusForbidden)
		}
		for _, origin := range []string{"https://app.example", "http://shop.example:8000"} {
			wantStatus(t, listed.Addr, origin, gatewaytest.Head("Origin: "+origin), http.StatusSwitchingProtocols)
		}
	})
	// With DNS rebinding, the name of a page is made to point at loopback, so the page's origin equals Host.
	at := func(origin string) string {
		_, host, _ := strings.Cut(origin, "://")
		return strings.Replace(gatewaytest.Head("Origin: "+origin), "Host: 127.0.0.1", "Host: "+host, 1)
	}
	_, port, _ := net.SplitHostPort(g.Addr)
	rebound := "http://evil.example:" + port
	proxied := attacked(t, "-trusted-proxy", "127.0.0.1")
	g.withstands(t, "hs-rebinding", 8*mib, func(t *testing.T) {
		for _, origin := range []string{
			rebound, "http://evil.example", "https://evil.example", "http://localhost.evil.example:" + port, "http://127.0.0.1.evil.example:" + port,
			"http://evil.example.:" + port, "http://192.0.2.1:" + port, "http://2130706433:" + port,
		} {
			answer := wantStatus(t, g.Addr, origin, at(origin), http.StatusForbidden)
			for _, flag := range []string{"-allow-origin", "-trusted-proxy"} {
				if !strings.Contains(answer, flag) {
					t.Errorf("%s: %q does not say that %s helps", origin, answer, flag)
				}
			}
			absolute := strings.Replace(at(origin), "/ws", origin+"/ws", 1)
			wantStatus(t, g.Addr, origin+" in the request line", absolute, http.StatusForbidden)
		}
		for _, origin := range []string{own, "http://localhost:" + port, "http://[::1]:" + port} {
			wantStatus(t, g.Addr, origin, at(origin), http.StatusSwitchingProtocols)
		}
		// With a trusted proxy, or with the origin in -allow-origin, the page may connect.
		wantStatus(t, proxied.Addr, "a proxy's name", at("https://bell.example"), http.StatusSwitchingProtocols)
		wantStatus(t, proxied.Addr, "another origin at it", gatewaytest.Head("Origin: https://evil.example"), http.StatusForbidden)
		wantStatus(t, listed.Addr, "an origin in the list", at("https://app.example"), http.StatusSwitchingProtocols)
		wantStatus(t, listed.Addr, "a rebound name", at(rebound), http.StatusForbidden)
	})
	g.withstands(t, "hs-two-origins", 8*mib, func(t *testing.T) {
		for _, second := range []string{"http://evil.example", own} {
			head := gatewaytest.Head("Origin: "+own, "Origin: "+second)
			wantStatus(t, g.Addr, second, head, http.StatusBadRequest, http.StatusForbidden)
		}
		wantStatus(t, g.Addr, "a list", gatewaytest.Head("Origin: "+own+", http://evil.example"), http.StatusBadRequest, http.StatusForbidden)
	})
}

// handshakeTimeout is short in the tests that wait for it.
const handshakeTimeout = 2 * time.Second

func TestT02Slowloris(t *testing.T) {
	t.Parallel()
	g := attacked(t, "-handshake-timeout", handshakeTimeout.String())
	before := g.Files()
	// ends waits until the gateway ends a connection, with a 408 or without an answer.
	ends := func(c *gatewaytest.Client, began time.Time) error {
		answer, err := io.ReadAll(c)
		if err != nil {
			return err
		}
		if took := time.Since(began); tooLate(took, handshakeTimeout+timerSlack) {
			return fmt.Errorf("ended after %v", took)
		}
		if len(answer) > 0 && !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") {
			return fmt.Errorf("answered %.60q", answer)
		}
		return nil
	}
	g.withstands(t, "slow-silent", 8*mib, func(t *testing.T) {
		each(t, 100, func(int) error {
			c, err := gatewaytest.Connect(g.Addr)
			if err != nil {
				return err
			}
			defer c.Close() //nolint:errcheck // it has ended
			return ends(c, time.Now())
		})
	})
	g.withstands(t, "slow-loris", 8*mib, func(t *testing.T) {
		each(t, 100, func(int) error {
			c, err := gatewaytest.Connect(g.Addr)
			if err != nil {
				return err
			}
			defer c.Close() //nolint:errcheck // it has ended
			began := time.Now()
			over := make(chan struct{})
			defer close(over)
			go func() { // one octet after the other, as long as the gateway takes them
				tick := time.NewTicker(100 * time.Millisecond)
				defer tick.Stop()
				for _, b := range []byte(strings.Repeat(gatewaytest.Head(), 10)[len("GET /ws HTTP/1.1\r\n"):]) {
					if c.Say(string(b)) != nil {
						return
					}
					select {
					case <-tick.C:
					case <-over:
						return
					}
				}
			}()
			return ends(c, began)
		})
	})
	// A client that is slow, but in time, is served, at whatever part of a second it connects. If the busy machine makes it
	// late, that is not judged.
	g.withstands(t, "slow-in-time", 8*mib, func(t *testing.T) {
		each(t, 50, func(i int) error {
			<-time.After(time.Duration(i) * 20 * time.Millisecond)
			began := time.Now()
			c, err := gatewaytest.Connect(g.Addr)
			if err != nil {
				return err
			}
			defer c.Close() //nolint:errcheck // nothing depends on how it goes
			<-time.After(handshakeTimeout * 6 / 10)
			err = c.Say(gatewaytest.Head())
			if time.Since(began) > handshakeTimeout {
				return nil
			}
			return errors.Join(err, c.Upgrade(""))
		})
	})
	g.filesBack(t, before, 5*time.Second)
}

// pour writes text, again and again if endless, until it is written or the gateway takes no more. It reads at the same time
// and returns the status of the answer.
func pour(addr, begin, more string, total int) (status int, err error) {
	c, err := gatewaytest.Connect(addr)
	if err != nil {
		return 0, err
	}
	defer c.Close() //nolint:errcheck // it is of no more use
	go func() {
		if c.Say(begin) != nil {
			return
		}
		for n := len(begin); n < total; n += len(more) {
			if c.Say(more) != nil {
				return
			}
		}
	}()
	_, err = c.Response()
	if refused, ok := errors.AsType[*gatewaytest.StatusError](err); ok {
		return refused.Status, nil
	}
	return 0, fmt.Errorf("no refusal: %w", err)
}

func TestT03HeaderBombs(t *testing.T) {
	t.Parallel()
	g := attacked(t)
	start, _ := strings.CutSuffix(gatewaytest.Head(), "\r\n")
	for _, tc := range []struct {
		name        string
		begin, more string
		total       int
		want        []int
	}{
		{"hs-header-1MiB", start + "X-Bomb: ", strings.Repeat("a", 4096), mib, []int{431, 400}},
		{"hs-headers-100k", start, strings.Repeat("X-Bomb: a\r\n", 100), 100_000 * len("X-Bomb: a\r\n"), []int{431, 400}},
		{"hs-endless-line", "GET /", strings.Repeat("a", 4096), 64 * mib, []int{414, 431, 400}},
		{"hs-long-url", "GET /" + strings.Repeat("a", 100<<10) + " HTTP/1.1\r\n", "", 0, []int{414, 431, 400, 404}},
	} {
		g.withstands(t, tc.name, 8*mib, func(t *testing.T) {
			each(t, scale(20, 100), func(int) error {
				status, err := pour(g.Addr, tc.begin, tc.more, tc.total)
				if err == nil && !slices.Contains(tc.want, status) {
					err = fmt.Errorf("status %d, want %v", status, tc.want)
				}
				return err
			})
		})
	}
}

func TestT04ParserBacktracking(t *testing.T) {
	t.Parallel()
	g := attacked(t, "-compress") // without it the gateway does not look at extensions
	const room = 7000
	fill := func(unit string) string { return strings.Repeat(unit, room/len(unit)) }
	g.withstands(t, "hs-token-bombs", 8*mib, func(t *testing.T) {
		for _, line := range []string{
			"Sec-WebSocket-Extensions: " + fill("a;b=c,"),
			"Sec-WebSocket-Extensions: permessage-deflate" + fill(";a"),
			"Sec-WebSocket-Extensions: permessage-deflate" + fill("; client_max_window_bits=15"),
			"Sec-WebSocket-Extensions: permessage-deflate; a=\"" + fill("\\"),
			"Sec-WebSocket-Extensions: x=\"" + fill("\\\"") + "\"",
			"Sec-WebSocket-Extensions: " + fill(" "),
			"Sec-WebSocket-Extensions: " + fill(","),
			"Sec-WebSocket-Protocol: " + fill(","),
			"Sec-WebSocket-Protocol: " + fill("a,"),
			"Sec-WebSocket-Protocol: caf\xc3\xa9, \xff\xfe",
			"Sec-WebSocket-Protocol: " + fill("\xf0\x9f\x94\x94,"),
			"Connection: " + fill("upgrade,"),
			"Connection: " + fill(", \t"),
			"Connection: " + fill("a "),
			"Cookie: " + fill("a=b; "),
			"X-Forwarded-For: " + fill("1,"),
			"Authorization: Bearer " + fill("."),
		} {
			if status, _, err := ask(g.Addr, gatewaytest.Head(line)); err != nil || status != 101 && status/100 != 4 {
				t.Errorf("%.60q: status %d, %v, want an answer at once", line, status, err)
			}
		}
		for _, query := range []string{fill("&"), fill("a=b&"), "user=" + fill("%41"), fill("user=%"), "token=" + fill(".")} {
			head := strings.Replace(gatewaytest.Head(), "/ws", "/ws?"+query, 1)
			if status, _, err := ask(g.Addr, head); err != nil || status != 101 && status/100 != 4 {
				t.Errorf("%.60q: status %d, %v, want an answer at once", query, status, err)
			}
		}
	})
}

func TestT05RequestSmuggling(t *testing.T) {
	t.Parallel()
	g := attacked(t)
	inner := "GET /ws HTTP/1.1\r\nHost: inner\r\n\r\n"
	g.withstands(t, "hs-body", 8*mib, func(t *testing.T) {
		for _, lines := range [][]string{
			{fmt.Sprintf("Content-Length: %d", len(inner))},
			{"Transfer-Encoding: chunked"},
			{"Transfer-Encoding: identity"},
			{"Transfer-Encoding: xchunked", "Content-Length: 5"},
			{"Content-Length: 5", "Content-Length: 6"},
			{"Content-Length: 0", "Content-Length: 5"},
			{"Content-Length: +5"},
			{"Content-Length: 0x5"},
			{"Content-Length: -1"},
		} {
			answer := wantStatus(t, g.Addr, fmt.Sprint(lines), gatewaytest.Head(lines...)+inner, http.StatusBadRequest)
			if strings.Contains(answer, "inner") {
				t.Errorf("%v: the answer repeats what was smuggled: %s", lines, answer)
			}
		}
	})
	g.withstands(t, "hs-obsfold-space", 8*mib, func(t *testing.T) {
		for _, line := range []string{
			"X-Folded: a\r\n b", "X-Folded: a\r\n\tb", " Leading: a", "X-Space : a", "Content-Length : 5", "X-Tab\t: a", ": no name", "no colon",
			"X-Bad\x00Name: a", "X Y: a", "Transfer-Encoding\x0b: chunked",
		} {
			wantStatus(t, g.Addr, line, gatewaytest.Head(line)+inner, http.StatusBadRequest)
		}
	})
}

func TestT06HeaderInjection(t *testing.T) {
	t.Parallel()
	g := attacked(t)
	const mark = "Injected"
	g.withstands(t, "hs-crlf", 8*mib, func(t *testing.T) {
		for _, bad := range []string{"\r", "\n", "\x00", "\n\n", "\r\r\n"} {
			for _, line := range []string{
				"X-Value: a" + bad + mark + ": yes",
				"Sec-WebSocket-Protocol: carillon.v1" + bad + mark + ": yes",
				"Origin: http://localhost" + bad + mark + ": yes",
			} {
				if answer := wantStatus(t, g.Addr, fmt.Sprintf("%q", line), gatewaytest.Head(line), 400, 403); strings.Contains(answer, mark) {
					t.Errorf("%q is reflected: %s", line, answer)
				}
			}
			path := strings.Replace(gatewaytest.Head(), "/ws", "/ws"+bad+mark+":yes", 1)
			if answer := wantStatus(t, g.Addr, fmt.Sprintf("path with %q", bad), path, 400, 404); strings.Contains(answer, mark) {
				t.Errorf("the path is reflected: %s", answer)
			}
		}
		for _, target := range []string{"/ws?user=a%0d%0a" + mark + ":%20yes", "/ws?user=a%00" + mark, "/%0d%0a" + mark, "/" + mark} {
			head := strings.Replace(gatewaytest.Head(), "/ws", target, 1)
			if answer := wantStatus(t, g.Addr, target, head, 400, 404); strings.Contains(answer, mark) {
				t.Errorf("%s is reflected: %s", target, answer)
			}
		}
	})
}

func TestT07WrongProtocol(t *testing.T) {
	t.Parallel()
	g := attacked(t, "-handshake-timeout", handshakeTimeout.String())
	noise := make([]byte, 2048)
	rnd := rand.New(rand.NewPCG(7, 7))
	for i := range noise {
		noise[i] = byte(rnd.Uint32())
	}
	g.withstands(t, "hs-not-http", 8*mib, func(t *testing.T) {
		said := [][2]string{
			{"TLS hello", clientHello(t)},
			{"h2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"},
			{"PROXY line", "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n" + gatewaytest.Head()},
			{"PROXY v2", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + strings.Repeat("\x01", 12)},
			{"noise", string(noise)},
			{"SSH", "SSH-2.0-OpenSSH_9.2\r\n"},
			{"Redis", "*1\r\n$4\r\nPING\r\n"},
			{"HTTP/1.0", strings.Replace(gatewaytest.Head(), "1.1", "1.0", 1)},
			{"a WebSocket frame", gatewaytest.Frame(true, 1, `{"type":"ping"}`)},
			{"blank lines", "\r\n\r\n\r\n\r\n"},
			{"line feeds", strings.ReplaceAll(gatewaytest.Head(), "\r\n", "\n")},
		}
		each(t, len(said), func(i int) error {
			name := said[i][0]
			c, err := gatewaytest.Connect(g.Addr)
			if err != nil {
				return err
			}
			defer c.Close() //nolint:errcheck // it has ended
			began := time.Now()
			if err := c.Say(said[i][1]); err != nil {
				return err
			}
			answer, err := io.ReadAll(c)
			if took := time.Since(began); tooLate(took, handshakeTimeout+timerSlack) {
				return fmt.Errorf("%s: ended after %v", name, took)
			}
			if strings.HasPrefix(string(answer), "HTTP/1.1 101") {
				return fmt.Errorf("%s was upgraded", name)
			}
			if err == nil && len(answer) > 0 {
				if r, parse := http.ReadResponse(bufio.NewReader(strings.NewReader(string(answer))), nil); parse != nil || r.StatusCode/100 < 4 {
					return fmt.Errorf("%s: answered %.60q", name, answer)
				}
			}
			return err
		})
	})
}

// clientHello returns the first bytes of a TLS client.
func clientHello(t *testing.T) string {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close() //nolint:errcheck // a pipe
	go func() {
		_ = tls.Client(theirs, &tls.Config{ServerName: "localhost", MinVersion: tls.VersionTLS12}).Handshake() // nobody answers
		_ = theirs.Close()
	}()
	hello := make([]byte, 4096)
	n, err := ours.Read(hello)
	if err != nil {
		t.Fatal(err)
	}
	return string(hello[:n])
}
