package redis

import (
	"bufio"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/carillon-ws/carillon/fanout/fanouttest"
)

func TestEmbeddedTakesTheAddress(t *testing.T) {
	t.Parallel()
	addr := fanouttest.Addr(t)
	e, err := StartEmbedded(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if e.Addr() != addr || e.URL() != "redis://"+addr {
		t.Errorf("Addr, URL = %s, %s, want those of %s", e.Addr(), e.URL(), addr)
	}
}

func TestEmbeddedMovesOffATakenPort(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ignore(l.Close)
	e, err := StartEmbedded(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	host, _, err := net.SplitHostPort(e.Addr())
	if err != nil || host != "127.0.0.1" || e.Addr() == l.Addr().String() {
		t.Errorf("Addr = %s, %v, want another port of 127.0.0.1", e.Addr(), err)
	}

	rs := runRedis(t, Config{URL: e.URL()})
	rs.waitUp(t)
	rs.wantLost(t)
	rs.publish(t, "notifications:a", "hi")
	rs.wantNext(t, "notifications:a", "hi")
}

// Without ClockTTL a miniredis never lets a key expire.
func TestEmbeddedExpiresKeys(t *testing.T) {
	t.Parallel()
	e, err := StartEmbedded("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	client := redisClient(t, e.URL())
	if err := client.Set(t.Context(), "k", "v", 20*time.Millisecond).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the key expires", func() bool { return client.Exists(t.Context(), "k").Val() == 0 })
}

// TestEmbeddedIsBounded: the descriptors of a gateway are counted beforehand, so it takes no more than was counted.
func TestEmbeddedIsBounded(t *testing.T) {
	t.Parallel()
	e, err := StartEmbedded("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	ask := func() (net.Conn, string) {
		t.Helper()
		conn, err := net.Dial("tcp", e.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write([]byte("*1\r\n$4\r\nPING\r\n")) // one that is refused may be closed already
		answer, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil {
			return conn, err.Error()
		}
		return conn, strings.TrimSpace(answer)
	}
	var last net.Conn
	for i := range maxEmbeddedClients {
		conn, answer := ask()
		if answer != "+PONG" {
			t.Fatalf("connection %d is answered %q", i, answer)
		}
		last = conn
	}
	for range 2 * maxEmbeddedClients {
		if _, answer := ask(); answer == "+PONG" {
			t.Fatal("a connection too many is served")
		}
	}
	_ = last.Close()
	eventually(t, "there is room again", func() bool {
		conn, answer := ask()
		if answer != "+PONG" {
			_ = conn.Close()
		}
		return answer == "+PONG"
	})
}

func TestEmbeddedPauses(t *testing.T) {
	t.Parallel()
	e, err := StartEmbedded(fanouttest.Addr(t)) // nobody takes the port during the pause
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	client := redisClient(t, e.URL())
	if err := client.Set(t.Context(), "kept", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	rs := runRedis(t, Config{URL: e.URL()})
	rs.waitUp(t)
	rs.wantLost(t)

	if err := e.Pause(200 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if err := e.Pause(time.Hour); !errors.Is(err, ErrPaused) {
		t.Errorf("Pause during a pause = %v, want ErrPaused", err)
	}
	if c, err := net.Dial("tcp", e.Addr()); err == nil {
		_ = c.Close()
		t.Error("a paused one takes connections")
	}
	eventually(t, "the source sees the loss", func() bool { return !rs.Stats().Up })
	rs.waitUp(t)
	rs.wantLost(t)
	rs.publish(t, "notifications:a", "back")
	rs.wantNext(t, "notifications:a", "back")
	if v := client.Get(t.Context(), "kept").Val(); v != "v" {
		t.Errorf("after the pause the key is %q, want v", v)
	}
}

func TestEmbeddedClosesDuringAPause(t *testing.T) {
	t.Parallel()
	e, err := StartEmbedded(fanouttest.Addr(t)) // nobody else answers there during the pause
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Pause(time.Nanosecond); err != nil {
		t.Fatal(err)
	}
	e.Close()
	e.endPause() // as if its timer had been running already
	if c, err := net.Dial("tcp", e.Addr()); err == nil {
		_ = c.Close()
		t.Error("it is back after Close")
	}
	if err := e.Pause(time.Hour); !errors.Is(err, ErrPaused) {
		t.Errorf("Pause after Close = %v, want ErrPaused", err)
	}
}

func TestEmbeddedRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ addr, want string }{
		{"0.0.0.0:6379", "loopback only"},
		{":6379", "loopback only"},
		{"example.com:6379", "loopback only"},
		{"127.0.0.1", "missing port"},
		{"127.0.0.1:99999", "invalid port"},
	} {
		e, err := StartEmbedded(tt.addr)
		if err == nil {
			e.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("StartEmbedded(%q) = %v, want an error with %q", tt.addr, err, tt.want)
		}
	}
}
