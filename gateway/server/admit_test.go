package server

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"github.com/carillon-ws/carillon/fanout"
)

var loopbackNet = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// forwarded is a handshake that a proxy on this host passes on.
func forwarded(list string) string { return with("X-Forwarded-For: " + list) }

func TestLimitPerAddress(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.MaxPerAddress = 3 })
	peers := []*peer{dial(t, s), dial(t, s), dial(t, s)}
	for range 20 { // whatever it says of itself
		p := dialRaw(t, s)
		if r := p.wantStatus(http.StatusTooManyRequests); r.Header.Get("Retry-After") == "" {
			t.Fatal("429 without Retry-After")
		}
		p.wantEOF()
	}
	peers[0].write(closeFrame(ws.StatusNormalClosure, ""))
	peers[0].wantClose(ws.StatusNormalClosure)
	if err := peers[0].nc.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the place is free", func() bool { return sockets(s) < 3 })
	dial(t, s).wantPong()
	if n := refusedAs(s, "address"); n != 20 {
		t.Errorf("%d refusals counted, want 20", n)
	}
}

func TestLimitPerForwardedAddress(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.MaxPerAddress = 2; cfg.TrustedProxies = loopbackNet })
	ask := func(list string, want int) {
		t.Helper()
		p := dialRaw(t, s)
		p.write(forwarded(list))
		p.wantStatus(want)
	}
	ask("203.0.113.9", 101)
	ask("198.51.100.1, 203.0.113.9", 101) // what stands to the left is the client's own word
	ask("203.0.113.9", 429)
	ask("198.51.100.1", 101)
	ask("203.0.113.9, 127.0.0.1", 429) // two proxies of ours
	ask("2001:db8::1", 101)
	ask("2001:db8::2", 101)
	ask("2001:db8::3", 429) // the same 64 bits
	ask("2001:db8:0:1::1", 101)
	for range 2 {
		dial(t, s) // the proxy itself, of its own accord
	}
	ask("nonsense", 429) // vouches for nobody: the proxy counts
}

func TestForwardedAddressOfAStrangerIsNotBelieved(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) {
		cfg.MaxPerAddress = 1
		cfg.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	})
	dial(t, s)
	p := dialRaw(t, s)
	p.write(forwarded("203.0.113.9"))
	p.wantStatus(http.StatusTooManyRequests)
}

func TestProxyProtocol(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) {
		cfg.MaxPerAddress, cfg.TrustedProxies, cfg.ProxyProtocol = 1, loopbackNet, true
		cfg.HandshakeTimeout = time.Second
	})
	from := func(addr string) string { return fmt.Sprintf("PROXY TCP4 %s 127.0.0.1 5000 8080\r\n", addr) }
	binary := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + "\xcb\x00\x71\x07" + "\x7f\x00\x00\x01" + "\x13\x88\x1f\x90" // 203.0.113.7
	t.Run("version 1, frames behind it", func(t *testing.T) {
		t.Parallel()
		p := dialRaw(t, s)
		p.t = t
		p.write(from("203.0.113.1") + handshake + clientFrame(true, ws.OpText, `{"type":"ping"}`))
		p.wantStatus(http.StatusSwitchingProtocols)
		p.want("connected")
		p.want("pong")
		again := dialRaw(t, s)
		again.t = t
		again.write(from("203.0.113.1") + handshake)
		again.wantStatus(http.StatusTooManyRequests)
	})
	t.Run("byte by byte", func(t *testing.T) {
		t.Parallel()
		for _, header := range []string{from("203.0.113.2"), binary} {
			p := dialRaw(t, s)
			p.t = t
			for _, b := range []byte(header + handshake) {
				p.write(string([]byte{b}))
			}
			p.wantStatus(http.StatusSwitchingProtocols)
			p.want("connected")
			p.wantPong()
		}
	})
	t.Run("a proxy before the proxy", func(t *testing.T) {
		t.Parallel()
		for _, want := range []int{101, 429} {
			p := dialRaw(t, s)
			p.t = t
			p.write(from("127.0.0.9") + forwarded("203.0.113.3"))
			p.wantStatus(want)
		}
	})
	t.Run("no header", func(t *testing.T) {
		t.Parallel()
		p := dialRaw(t, s)
		p.t = t
		p.write(handshake)
		p.wantStatus(http.StatusBadRequest)
		p.wantEOF()
	})
	t.Run("half a header", func(t *testing.T) {
		t.Parallel()
		p := dialRaw(t, s)
		p.t = t
		p.write(from("203.0.113.4")[:20])
		p.wantStatus(http.StatusRequestTimeout)
	})
	t.Run("an endless header", func(t *testing.T) {
		t.Parallel()
		p := dialRaw(t, s)
		p.t = t
		p.write("PROXY UNKNOWN " + strings.Repeat("x", 200))
		p.wantStatus(http.StatusBadRequest)
	})
}

// Who is no trusted proxy is a client, and its PROXY header a malformed request.
func TestProxyHeaderOfAStranger(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) {
		cfg.TrustedProxies, cfg.ProxyProtocol = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}, true
	})
	p := dialRaw(t, s)
	p.write("PROXY TCP4 203.0.113.1 127.0.0.1 5000 8080\r\n" + handshake)
	p.wantStatus(http.StatusBadRequest)
	dial(t, s).wantPong()
}

func TestNewcomersASecond(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.MaxAccepts = 5 })
	statuses := map[int]int{}
	for range 20 {
		p := dialRaw(t, s)
		p.write(handshake)
		r, _ := p.response()
		statuses[r.StatusCode]++
		if r.StatusCode == http.StatusServiceUnavailable && r.Header.Get("Retry-After") == "" {
			t.Error("503 without Retry-After")
		}
	}
	if statuses[101] < 5 || statuses[503] == 0 || statuses[101]+statuses[503] != 20 {
		t.Errorf("answers %v, want 5 or a few more 101, all others 503", statuses)
	}
}

func TestPace(t *testing.T) {
	t.Parallel()
	p := newAcceptRate(1000)
	taken := 0
	for range 5000 {
		if p.take() {
			taken++
		}
	}
	if taken < 1000 || taken == 5000 {
		t.Errorf("%d of 5000 at once, want a second's worth and what time passed", taken)
	}
	unbounded := newAcceptRate(0)
	for range 5000 {
		if !unbounded.take() {
			t.Fatal("refused without a bound")
		}
	}
}

// TestRefusalComesAfterTheRequest: a proxy must not find an answer before it has asked, so a socket over the limit
// hears nothing until it has sent something, or has not for lingerFor.
func TestRefusalComesAfterTheRequest(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.MaxConnections = 1 })
	dial(t, s)
	asks, silent := dialRaw(t, s), dialRaw(t, s)
	eventually(t, "both are accepted", func() bool { return sockets(s) == 3 })
	if n := refusedAs(s, "full"); n != 0 {
		t.Fatalf("%d were refused before they asked", n)
	}
	asks.write(handshake[:1]) // any byte: the request is on its way
	asks.wantStatus(http.StatusServiceUnavailable)
	asks.wantEOF()
	silent.wantStatus(http.StatusServiceUnavailable)
	silent.wantEOF()
}

// dialFrom connects from another loopback address.
func dialFrom(t *testing.T, s *Server, ip string) *peer {
	t.Helper()
	p, err := tryDial(t, s.Addr(), func(fd int) error {
		return unix.Bind(fd, &unix.SockaddrInet4{Addr: netip.MustParseAddr(ip).As4()})
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Who is refused must not keep others out, however long it stays to read why.
func TestRefusedSocketsTakeNobodysPlace(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.MaxPerAddress, cfg.MaxConnections = 3, 100 })
	for range 100 {
		dialRaw(t, s) // one address; what is refused neither reads nor closes
	}
	eventually(t, "97 are refused", func() bool { return refusedAs(s, "address") == 97 })
	p := dialFrom(t, s, "127.0.0.2")
	p.write(handshake)
	p.wantStatus(http.StatusSwitchingProtocols)
	eventually(t, "they are gone and forgotten", func() bool { return sockets(s) == 4 && s.refused.Load() == 0 })
}

// When more linger than there is room for, the next ones are cut with their answer.
func TestRefusedSocketsAreBounded(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.MaxPerAddress = 1 })
	dial(t, s)
	more := uint64(s.lingerRoom + 50)
	for range more {
		dialRaw(t, s)
	}
	eventually(t, "all are refused", func() bool { return refusedAs(s, "address") == more })
	eventually(t, "no more linger than there is room for", func() bool { return s.refused.Load() <= int64(s.lingerRoom) })
	if n := s.refused.Load(); n == 0 {
		t.Error("none may linger")
	}
}

// One address over its limit must not use up the pace of all.
func TestRefusedSocketsDoNotSetThePace(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.MaxPerAddress, cfg.MaxAccepts = 1, 20 })
	dial(t, s).wantPong()
	for range 60 {
		dialRaw(t, s).wantStatus(http.StatusTooManyRequests)
	}
	p := dialFrom(t, s, "127.0.0.2")
	p.write(handshake)
	p.wantStatus(http.StatusSwitchingProtocols)
}

// A loop that begins anew gives back what its connections counted for.
func TestAddressesSurviveALoop(t *testing.T) {
	t.Parallel()
	var log logged
	s, _ := startServer(t, func(cfg *Config) { cfg.Loops, cfg.MaxPerAddress, cfg.Log = 1, 3, slog.New(&log) })
	lp := s.loops[0]
	var first *peer
	for range 3 {
		first = dial(t, s)
		first.subscribe("a")
	}
	onLoop(t, lp, func() { lp.index = &fanout.Index[member]{} }) // a connection that leaves will fail
	first.reset()
	eventually(t, "the loop runs again", func() bool { return s.Stats().Restarts == 1 && lp.call(func() {}) })
	dial(t, s).wantPong()
	s.addresses.mu.Lock()
	defer s.addresses.mu.Unlock()
	for _, a := range s.addresses.count {
		if a.n != 1 {
			t.Errorf("%s counts %d, want the one that is there", a.addr, a.n)
		}
	}
}

// A proxy that names nobody vouches for nobody: what stands in X-Forwarded-For is the client's own word.
func TestProxyHeaderWithoutAnAddress(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) {
		cfg.MaxPerAddress, cfg.TrustedProxies, cfg.ProxyProtocol = 1, loopbackNet, true
	})
	for i, want := range []int{101, 429, 429} {
		p := dialRaw(t, s)
		p.write("PROXY UNKNOWN\r\n" + forwarded(fmt.Sprint("203.0.113.", i)))
		p.wantStatus(want)
	}
}
