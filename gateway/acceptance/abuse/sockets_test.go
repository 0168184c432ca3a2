package abuse

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/gateway/gatewaytest"
)

// crowd connects n clients that behave, at most as many at a time as the accept queue holds.
func (g *target) crowd(t *testing.T, n int) []*gatewaytest.Client {
	t.Helper()
	clients := make([]*gatewaytest.Client, n)
	each(t, n, func(i int) (err error) {
		clients[i], err = g.dial()
		return err
	})
	return clients
}

func TestT16DescriptorsHeld(t *testing.T) {
	t.Parallel()
	g := attacked(t)
	before := g.Files()
	half := gatewaytest.Frame(true, ws.OpText, `{"type":"ping"}`)[:9]
	// released runs an attack. All descriptors must be free again within 5 s, and the gateway must not use a processor
	// meanwhile.
	released := func(t *testing.T, attack func()) {
		t.Helper()
		attack()
		began, cpu := time.Now(), g.CPU()
		g.filesBack(t, before+1, 5*time.Second) // and the one of the bystander
		watched := max(time.Since(began), time.Second)
		if used := g.CPU() - cpu; used > watched/2 {
			t.Errorf("%v of processor time in %v", used, watched)
		}
	}
	g.withstands(t, "fr-close-no-fin", 24*mib, func(t *testing.T) {
		clients := g.crowd(t, 200)
		released(t, func() {
			each(t, len(clients), func(i int) error {
				if err := clients[i].Say(gatewaytest.CloseFrame(ws.StatusNormalClosure, "")); err != nil {
					return err
				}
				return endsWith(clients[i], time.Now(), 5*time.Second, ws.StatusNormalClosure)
			})
		})
		for _, c := range clients { // their ends were open all the time
			_ = c.Close()
		}
	})
	g.withstands(t, "fr-rst-mid-frame", 24*mib, func(t *testing.T) {
		clients := g.crowd(t, 500)
		released(t, func() {
			each(t, len(clients), func(i int) error {
				err := clients[i].Say(half)
				clients[i].Reset()
				return err
			})
		})
	})
	g.withstands(t, "fr-fin-mid-frame", 24*mib, func(t *testing.T) {
		clients := g.crowd(t, 200)
		released(t, func() {
			each(t, len(clients), func(i int) error {
				return errors.Join(clients[i].Say(half), clients[i].CloseWrite())
			})
		})
		for _, c := range clients {
			_ = c.Close()
		}
	})
	g.withstands(t, "fr-connect-reset", 24*mib, func(t *testing.T) {
		released(t, func() {
			each(t, scale(500, 2000), func(i int) error {
				c, err := gatewaytest.Connect(g.Addr)
				if err != nil {
					return err
				}
				err = c.Say(gatewaytest.Head()[:i%120])
				c.Reset()
				return err
			})
		})
	})
}

func TestT25ConnectionStorm(t *testing.T) {
	t.Parallel()
	g := attacked(t)
	before := g.Files()
	n := scale(1000, 4000)
	storm := func(t *testing.T, n int, within time.Duration) {
		t.Helper()
		began := time.Now()
		clients := g.crowd(t, n)
		if took := time.Since(began); tooLate(took, within) {
			t.Errorf("%d clients were served after %v", n, took)
		}
		for _, c := range clients { // all at once, as when a network fails
			c.Reset()
		}
	}
	g.withstands(t, "res-storm", 48*mib, func(t *testing.T) { storm(t, n, 20*time.Second) })
	g.withstands(t, "res-storm-twice", 48*mib, func(t *testing.T) {
		storm(t, n, 20*time.Second)
		g.filesBack(t, before+1, 5*time.Second)
	})
	if *full {
		// 10,000 vanish at once and 10,000 new ones come.
		g.withstands(t, "res-herd", 64*mib, func(t *testing.T) {
			clients := g.crowd(t, 10_000)
			for _, c := range clients {
				c.Reset()
			}
			storm(t, 10_000, 5*time.Second)
			g.filesBack(t, before+1, 5*time.Second)
			if n := g.Metric("ws_connections_active"); n > 2 {
				t.Errorf("%v connections are counted that are gone", n)
			}
		})
	}
	g.withstands(t, "hs-http-flood", 24*mib, func(t *testing.T) {
		each(t, scale(500, 2000), func(int) error {
			status, _, err := ask(g.Addr, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
			if err == nil && status != http.StatusUpgradeRequired {
				err = fmt.Errorf("status %d", status)
			}
			return err
		})
		g.filesBack(t, before+1, 5*time.Second)
	})
}

// knocked is the outcome of a client that connected to a gateway that may be full.
type knocked struct {
	c       *gatewaytest.Client // nil if it was not served
	refused *gatewaytest.StatusError
	cut     error // the connection ended without an answer
}

func knock(addr string) (k knocked) {
	c, err := gatewaytest.Dial(addr)
	switch {
	case err == nil:
		k.c = c
	case errors.As(err, &k.refused):
	default:
		k.cut = err
	}
	return k
}

func TestT26FileExhaustion(t *testing.T) {
	t.Parallel()
	const limit, knocks = 1000, 2000
	// Without pings: the clients here do not read, and on a busy machine would be closed for that before the end.
	g := &target{Process: gatewaytest.StartCommand(t, "sh", "-c", `ulimit -n 1000; exec "$0" "$@"`, binary,
		"-addr", "127.0.0.1:0", "-admin", "127.0.0.1:0", "-loops", "2", "-drain", "0", "-ping-interval", "0")}
	g.withstands(t, "res-fd-exhaustion", 48*mib, func(t *testing.T) {
		var mu sync.Mutex
		var served []*gatewaytest.Client
		var refused, cut int
		each(t, knocks, func(int) error {
			k := knock(g.Addr)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case k.c != nil:
				served = append(served, k.c)
			case k.refused != nil:
				refused++
				if k.refused.Status != http.StatusServiceUnavailable || k.refused.RetryAfter == "" {
					return k.refused
				}
			default:
				cut++
			}
			return nil
		})
		t.Logf("of %d: %d served, %d refused with 503, %d cut", knocks, len(served), refused, cut)
		if len(served) < limit/2 || len(served) >= limit || refused == 0 {
			t.Errorf("%d served, %d refused with 503, %d cut", len(served), refused, cut)
		}
		// Clients that are connected are still served, new ones are refused, and a full gateway does not use a processor.
		began, cpu := time.Now(), g.CPU()
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for range 20 {
			<-tick.C
			for _, c := range served[:50] {
				if err := c.Ping(); err != nil {
					t.Fatalf("one who was served before: %v", err)
				}
			}
			if k := knock(g.Addr); k.refused == nil {
				t.Fatalf("one who knocks when it is full: %+v", k)
			}
		}
		if used, watched := g.CPU()-cpu, time.Since(began); used > watched*6/10 {
			t.Errorf("%v of processor time in %v", used, watched)
		}
		for _, c := range served[:100] {
			_ = c.Close()
		}
		room := make([]*gatewaytest.Client, 0, 100)
		gatewaytest.Eventually(t, scale(gatewaytest.Patience, 5*time.Second), "those who come when others have left are not let in", func() bool {
			for len(room) < 100-1 { // one place is for a new client later
				k := knock(g.Addr)
				if k.c == nil {
					return false
				}
				room = append(room, k.c)
			}
			return true
		})
		for _, c := range append(room, served[100:]...) {
			_ = c.Close()
		}
	})
	if !g.Alive() {
		t.Error("the gateway has ended")
	}
	if n := strings.Count(g.Log(), "\n"); n > 100 {
		t.Errorf("%d lines were logged about it", n)
	}
}
