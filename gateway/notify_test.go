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

// manager is a service manager's socket. The environment variable that names it is the process's, so the tests that
// use it do not run beside others.
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

// await reads messages until one has all the words.
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

// TestServiceManager runs the whole program under a service manager with a watchdog: ready once it hears Redis,
// alive, and stopping with the time that its drain needs.
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
	await(t, said, "Redis AWAY at")
	await(t, said, "WATCHDOG=1") // a restart would not bring Redis back

	// The client does not answer the close, so its socket is left for a while, and the drain can be seen.
	if status := gw.stop(); status != exitOK {
		t.Errorf("exit status %d", status)
	}
	await(t, said, "STOPPING=1", "EXTEND_TIMEOUT_USEC=12500000", "about to drain")
	await(t, said, "draining, ")
}

// TestReadyWithoutRedis: a unit must not fail because Redis is away.
func TestReadyWithoutRedis(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n, said := fakeNotifier()
		began := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- n.run(ctx) }()
		if got := <-said; !strings.HasPrefix(got, "READY=1\nSTATUS=3 connections; Redis AWAY at here") {
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

// TestWatchdogIsSilentWhenALoopHangs: silence is what makes the service manager act.
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

// fakeNotifier has three connections, no sockets that would have to be waited for, and no Redis.
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
