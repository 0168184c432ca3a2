package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-ws/carillon/fanout/redis/redistest"
	"github.com/carillon-ws/carillon/gateway/server"
)

// manager stands in for a service manager. NOTIFY_SOCKET belongs to the whole process, so tests that use it are not
// parallel.
func manager(t *testing.T) <-chan string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	said := make(chan string, 1000)
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := socket.Read(buf)
			if err != nil {
				return
			}
			said <- string(buf[:n])
		}
	}()
	return said
}

// await reads messages until one contains all the words.
func await(t *testing.T, said <-chan string, words ...string) {
	t.Helper()
	deadline := time.After(patience)
	var heard []string
next:
	for {
		select {
		case s := <-said:
			heard = append(heard, s)
			for _, w := range words {
				if !strings.Contains(s, w) {
					continue next
				}
			}
			return
		case <-deadline:
			t.Fatalf("nothing with %q; heard %q", words, heard)
		}
	}
}

// TestServiceManager runs the whole program under a service manager with a watchdog. It reports that it is ready when
// Redis is subscribed, that it is alive, and that it stops and how long its drain takes.
func TestServiceManager(t *testing.T) {
	said := manager(t)
	t.Setenv("WATCHDOG_USEC", "300000")
	redis := redistest.Start(t)
	gw := start(t, "-redis", redis.URL(), "-drain", "2s", "-drain-delay", "500ms")
	await(t, said, "READY=1", "0 connections", "subscribed at redis://")
	join(t, gw.ws, "room")
	await(t, said, "WATCHDOG=1")
	await(t, said, "STATUS=1 connections")

	redis.Kill()
	await(t, said, "Redis DOWN at")
	await(t, said, "WATCHDOG=1") // a restart would not bring Redis back

	// The client does not answer the close, so its socket stays open for a while, and the drain can be seen.
	if status := gw.stop(); status != exitOK {
		t.Errorf("exit status %d", status)
	}
	await(t, said, "STOPPING=1", "EXTEND_TIMEOUT_USEC=12500000", "the drain begins after")
	await(t, said, "draining, ")
}

// TestReadyWithoutRedis: a unit must not fail because Redis is down.
func TestReadyWithoutRedis(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n, said := fakeNotifier()
		began := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- n.run(ctx) }()
		if got := <-said; !strings.HasPrefix(got, "READY=1\nSTATUS=3 connections; Redis DOWN at here") {
			t.Errorf("first message %q", got)
		}
		if took := time.Since(began); took != redisGrace {
			t.Errorf("ready after %s, want %s", took, redisGrace)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestWatchdogIsSilentWhenALoopHangs: the service manager restarts a gateway that sends no sign of life.
func TestWatchdogIsSilentWhenALoopHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n, said := fakeNotifier()
		n.redis = func() (bool, string) { return true, "here" }
		n.watchdog = 3 * time.Second
		var hangs atomic.Bool
		n.live = func() error {
			if hangs.Load() {
				return errors.New("loop 1 has done nothing for 11 s")
			}
			return nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = n.run(ctx) }()
		count := func(during time.Duration) (pets int, last string) {
			over := time.After(during)
			for {
				select {
				case s := <-said:
					if s == "WATCHDOG=1" {
						pets++
					} else {
						last = s
					}
				case <-over:
					return pets, last
				}
			}
		}
		if pets, _ := count(3500 * time.Millisecond); pets < 3 {
			t.Errorf("alive: %d signs of life in 3.5 s, want one a second", pets)
		}
		hangs.Store(true)
		if _, last := count(2 * time.Second); !strings.Contains(last, "loop 1 has done nothing") {
			t.Errorf("status %q does not name the loop", last)
		}
		if pets, _ := count(10 * time.Second); pets != 0 {
			t.Errorf("a loop hangs: %d signs of life", pets)
		}
		cancel()
		synctest.Wait()
	})
}

// fakeNotifier returns a notifier of a gateway with three connections, no sockets left, and no Redis.
func fakeNotifier() (*notifier, chan string) {
	said := make(chan string, 1000)
	ready := make(chan struct{})
	close(ready)
	return &notifier{
		ready: ready,
		stats: func() server.Stats {
			return server.Stats{Draining: true, Loops: []server.LoopStats{{Connections: 1}, {Connections: 2}}}
		},
		redis: func() (bool, string) { return false, "here" },
		live:  func() error { return nil },
		send:  func(s string) { said <- fmt.Sprint(s) },
	}, said
}
