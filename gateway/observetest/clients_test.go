package observetest

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sys/unix"
)

const handshake = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

// crowd is connections that were opened together and are closed together.
type crowd struct {
	conns []net.Conn
	done  sync.WaitGroup
}

// gather connects n clients that are subscribed to a channel. Readers read whatever comes; the others take nothing
// beyond what a small window holds.
func gather(t *testing.T, addr, channel string, n int, readers bool) *crowd {
	t.Helper()
	dialer := net.Dialer{Timeout: 10 * time.Second}
	if !readers {
		dialer.Control = func(_, _ string, rc syscall.RawConn) (err error) {
			failed := rc.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<10) })
			return errors.Join(failed, err)
		}
	}
	subscribe := ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte(`{"type":"subscribe","channel":"` + channel + `"}`))))
	c := &crowd{}
	for range n {
		conn, err := dialer.DialContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatalf("client %d of %d: %v", len(c.conns)+1, n, err)
		}
		c.conns = append(c.conns, conn)
		if _, err := conn.Write(append([]byte(handshake), subscribe...)); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(c.leave)
	for _, conn := range c.conns {
		awaitSubscribed(t, conn)
		if readers {
			c.done.Go(func() { _, _ = io.Copy(io.Discard, conn) }) // until it is closed, by whoever
		}
	}
	return c
}

func awaitSubscribed(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	buf := make([]byte, 512)
	for !strings.Contains(got.String(), `"subscribed"`) {
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("after %q: %v", got.String(), err)
		}
		got.Write(buf[:n])
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
}

func (c *crowd) leave() {
	for _, conn := range c.conns {
		_ = conn.Close() // the gateway may have been first
	}
	c.done.Wait()
}

// publisher publishes to a channel at a steady rate until it is stopped. Errors are expected: Redis comes and goes.
func publisher(t *testing.T, url, channel string, size int, every time.Duration) (stop func()) {
	t.Helper()
	opts, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(opts)
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for payload := strings.Repeat("x", size); ; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				_ = client.Publish(ctx, "notifications:"+channel, payload).Err() // said above
			}
		}
	})
	stop = sync.OnceFunc(func() {
		cancel()
		done.Wait()
		_ = client.Close() // nothing depends on a clean goodbye
	})
	t.Cleanup(stop)
	return stop
}
