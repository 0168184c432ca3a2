package abuse

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/gateway/gatewaytest"
)

// TestT13UnfinishedMessagesInAll: many unfinished messages of one address do not affect another address, and hold no more
// memory than -max-inbound-total.
func TestT13UnfinishedMessagesInAll(t *testing.T) {
	t.Parallel()
	g := attacked(t, "-max-inbound-total", "4MiB")
	g.options = []gatewaytest.Option{gatewaytest.From("127.0.0.9")}
	frame := gatewaytest.Frame(true, ws.OpText, `{"type":"ping"`+strings.Repeat(" ", 50_000)+`}`)
	half, rest := frame[:len(frame)-1], frame[len(frame)-1:]
	g.withstands(t, "fr-unfinished-in-all", scale(24, 64)*mib, func(t *testing.T) {
		single, err := g.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer single.Close() //nolint:errcheck // nothing depends on how it goes
		if err := single.Say(half); err != nil {
			t.Fatal(err)
		}
		gatewaytest.Eventually(t, gatewaytest.Patience, "the single half message is not counted", func() bool {
			return g.Metric("ws_inbound_unfinished_bytes") > 50_000
		})
		attackers := make([]*gatewaytest.Client, scale(400, 2000))
		each(t, len(attackers), func(i int) (err error) {
			if attackers[i], err = gatewaytest.Dial(g.Addr); err == nil {
				err = attackers[i].Say(half)
			}
			return err
		})
		gatewaytest.Eventually(t, gatewaytest.Patience, "those over the bound stay", func() bool {
			return g.Metric("ws_connections_closed_total", `reason="inbound_full"`) > float64(len(attackers)/2)
		})
		gatewaytest.Eventually(t, gatewaytest.Patience, "more is held than may be", func() bool {
			return g.Metric("ws_inbound_unfinished_bytes") <= 4*mib
		})
		if err := errors.Join(single.Say(rest), pongs(single)); err != nil {
			t.Errorf("the single half message of another address: %v", err)
		}
		for _, c := range attackers {
			c.Reset()
		}
		gatewaytest.Eventually(t, gatewaytest.Patience, "bytes are held of connections that are gone", func() bool {
			return g.Metric("ws_inbound_unfinished_bytes") == 0
		})
	})
}

// pongs reads a frame, which must be a pong.
func pongs(c *gatewaytest.Client) error {
	m, err := c.Message()
	if err == nil && m.Type != "pong" {
		err = fmt.Errorf("message %+v, want pong", m)
	}
	return err
}

// TestT31ProbesStarved: a client of the admin listener, with the same address as the probe, cannot keep probes out.
func TestT31ProbesStarved(t *testing.T) {
	t.Parallel()
	g := attacked(t)
	admin := strings.TrimPrefix(g.Admin, "http://")
	probed := func(t *testing.T) {
		t.Helper()
		for _, path := range []string{"/livez", "/readyz"} {
			began := time.Now()
			client := http.Client{Timeout: gatewaytest.Patience, Transport: &http.Transport{DisableKeepAlives: true}}
			resp, err := client.Get(g.Admin + path)
			if err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			_ = resp.Body.Close()
			if took := time.Since(began); resp.StatusCode != http.StatusOK || tooLate(took, answerWithin) {
				t.Errorf("%s: status %d after %v", path, resp.StatusCode, took)
			}
		}
	}
	for _, tc := range []struct{ name, says string }{
		{"ad-silent", ""},
		{"ad-half-request", "GET /metrics HTTP/1.1\r\nHost: localhost\r\n"},
		{"ad-idle-keep-alive", "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"},
		{"ad-half-body", "POST /publish/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nx"},
		{"ad-slow-reader", strings.Repeat("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 50)},
	} {
		g.withstands(t, tc.name, 64*mib, func(t *testing.T) {
			conns := make([]net.Conn, scale(200, 1000))
			each(t, len(conns), func(i int) (err error) {
				if conns[i], err = net.Dial("tcp", admin); err == nil {
					_, _ = conns[i].Write([]byte(tc.says)) // it may be closed already
				}
				return err
			})
			for range 3 {
				probed(t)
			}
			for _, conn := range conns {
				_ = conn.Close()
			}
		})
	}
}

// TestT26EveryDescriptor fills everything that takes descriptors at the same time. An accept that fails because none is left
// would end a loop and all its connections.
func TestT26EveryDescriptor(t *testing.T) {
	t.Parallel()
	const limit = 600
	for _, tc := range []struct{ name, redis string }{
		{"res-fd-embedded-redis", ""},
		{"res-fd-silent-redis", silentRedis(t)},
	} {
		args := []string{
			"-c", fmt.Sprintf(`ulimit -n %d; exec "$0" "$@"`, limit), binary,
			"-addr", "127.0.0.1:0", "-admin", "127.0.0.1:0", "-loops", "1", "-drain", "0",
		}
		if tc.redis != "" {
			args = append(args, "-redis", "redis://"+tc.redis)
		}
		g := &target{Process: gatewaytest.StartCommand(t, "sh", args...)}
		t.Run(tc.name, func(t *testing.T) {
			var hold holder
			defer hold.close()
			if tc.redis == "" {
				embedded := g.redisAddr(t)
				for range 150 {
					hold.dial(embedded, "")
				}
			}
			for range 200 {
				hold.dial(strings.TrimPrefix(g.Admin, "http://"), "POST /publish/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx")
			}
			served, refused := 0, 0
			var mu sync.Mutex
			most := 0
			each(t, 2*limit, func(int) error {
				k := knock(g.Addr)
				files := g.Files()
				mu.Lock()
				defer mu.Unlock()
				most = max(most, files)
				switch {
				case k.c != nil:
					served++
					hold.conns = append(hold.conns, k.c)
				case k.refused != nil:
					refused++
				}
				return nil
			})
			t.Logf("%d served, %d refused with 503, at most %d of %d descriptors", served, refused, most, limit)
			if served == 0 || refused == 0 || most >= limit {
				t.Errorf("%d served, %d refused with 503, at most %d of %d descriptors", served, refused, most, limit)
			}
			if n := g.Metric("loop_restarts_total") + g.Metric("loop_panics_total"); n != 0 {
				t.Errorf("%v loops ended or handlers failed", n)
			}
			if n := g.Metric("ws_connections_active"); int(n) != served {
				t.Errorf("%v connections are open, and %d were served", n, served)
			}
			if strings.Contains(g.Log(), "too many open files") {
				t.Error("descriptors ran out")
			}
		})
	}
}

// holder keeps connections open.
type holder struct{ conns []interface{ Close() error } }

// dial opens a connection and sends something, if there is room for it.
func (h *holder) dial(addr, says string) {
	if conn, err := gatewaytest.Connect(addr, gatewaytest.From("127.0.0.2")); err == nil { // the metrics are read from 127.0.0.1
		h.conns = append(h.conns, conn)
		_, _ = conn.Write([]byte(says))
	}
}

func (h *holder) close() {
	for _, conn := range h.conns {
		_ = conn.Close()
	}
}

// redisAddr returns the address of the gateway's embedded Redis.
func (g *target) redisAddr(t *testing.T) string {
	t.Helper()
	_, body, err := gatewaytest.Get(g.Admin + "/info")
	if err != nil {
		t.Fatal(err)
	}
	var info struct{ Redis string }
	if err := json.Unmarshal([]byte(body), &info); err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(info.Redis, "redis://")
}

// silentRedis is a Redis that confirms a subscription and answers pings, but never answers a PUBLISH.
func silentRedis(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var h holder
	var serving sync.WaitGroup
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			h.conns = append(h.conns, conn)
			serving.Go(func() { answerSubscriber(conn) })
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-accepted
		h.close()
		serving.Wait()
	})
	return l.Addr().String()
}

// answerSubscriber confirms subscriptions and answers pings. To a publication it says nothing.
func answerSubscriber(conn net.Conn) {
	in := bufio.NewReader(conn)
	for {
		command, err := readCommand(in)
		if err != nil {
			return
		}
		switch name := strings.ToLower(command[0]); name {
		case "psubscribe", "subscribe":
			for i, channel := range command[1:] {
				_, err = fmt.Fprintf(conn, "*3\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n:%d\r\n", len(name), name, len(channel), channel, i+1)
			}
		case "ping":
			_, err = conn.Write([]byte("*2\r\n$4\r\npong\r\n$0\r\n\r\n"))
		case "hello":
			_, err = conn.Write([]byte("-ERR unknown command\r\n"))
		}
		if err != nil {
			return
		}
	}
}

// readCommand reads a command of Redis: an array of strings.
func readCommand(in *bufio.Reader) (words []string, err error) {
	length := func(kind string) (n int, err error) {
		line, err := in.ReadString('\n')
		if err != nil {
			return 0, err
		}
		_, err = fmt.Sscanf(line, kind+"%d", &n)
		return n, err
	}
	n, err := length("*")
	if err != nil || n < 1 {
		return nil, fmt.Errorf("a command of %d words: %w", n, err)
	}
	for range n {
		size, err := length("$")
		if err != nil {
			return nil, err
		}
		word := make([]byte, size+2)
		if _, err := io.ReadFull(in, word); err != nil {
			return nil, err
		}
		words = append(words, string(word[:size]))
	}
	return words, nil
}
