package proxies

import (
	"errors"
	"net"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/redis/go-redis/v9"

	"github.com/carillon-ws/carillon/fanout/fanouttest"
	"github.com/carillon-ws/carillon/fanout/redis/redistest"
)

// clients is how many clients a proxy has. It needs two files for each, and on small machines has 20,000 at most.
func clients(t *testing.T) int {
	t.Helper()
	text := os.Getenv("CARILLON_PROXY_CLIENTS")
	if text == "" {
		return 5000
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// prompt is how long the last of the clients may wait for a publication. On two free CPUs it takes a tenth of that, with
// encryption and decryption. The test proves that no client waits for a time-out.
const prompt = 5 * time.Second

// publisher publishes numbered payloads.
type publisher struct {
	t      *testing.T
	redis  *redis.Client
	number int
}

func newPublisher(t *testing.T, url string) *publisher {
	t.Helper()
	opt, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(opt)
	t.Cleanup(func() { _ = c.Close() })
	return &publisher{t: t, redis: c}
}

// reachesAll publishes once. Every client of the fleets must get it once, within prompt.
func (p *publisher) reachesAll(when string, sizes map[*fleet]int) {
	p.t.Helper()
	p.number++
	began := time.Now()
	if err := p.redis.Publish(p.t.Context(), "notifications:"+channel, p.number).Err(); err != nil {
		p.t.Fatal(err)
	}
	all := 0
	for f, n := range sizes {
		f.awaitHeard(p.t, p.number, n)
		all += n
	}
	took := time.Since(began)
	p.t.Logf("%s: %d clients heard it, the last after %s", when, all, took.Round(time.Millisecond))
	if took > prompt {
		p.t.Errorf("%s: the last client waited %s", when, took)
	}
}

// TestManyThroughTLS has many clients behind one proxy with two gateways. They must survive silence and a reload of the
// proxy, and come back after the end of a gateway.
func TestManyThroughTLS(t *testing.T) {
	for _, px := range proxies {
		t.Run(px.name, func(t *testing.T) {
			n := clients(t)
			store := redistest.Start(t)
			flags := append([]string{"-redis", store.URL(), "-ping-interval", pingInterval.String()}, px.gatewayFlags...)
			gateways := []*gatewayProcess{startGateway(t, flags...), startGateway(t, flags...)}
			front := px.start(t, gateways)
			publish := newPublisher(t, store.URL())

			began := time.Now()
			f := launch(t, front.addr, n)
			t.Logf("%d clients connected and subscribed in %s", n, time.Since(began).Round(time.Millisecond))
			one, two := gateways[0].connections(t), gateways[1].connections(t)
			t.Logf("gateways hold %d and %d", one, two)
			if one+two != n || min(one, two) < n*2/5 {
				t.Errorf("the gateways hold %d and %d of %d clients, want about half each", one, two, n)
			}
			publish.reachesAll("wherever they landed", map[*fleet]int{f: n})

			// Silence for longer than the proxy allows: only pings of the gateways keep the connections open.
			<-time.After(idle + 2*time.Second)
			publish.reachesAll("after "+(idle+2*time.Second).String()+" of silence", map[*fleet]int{f: n})
			if drops := f.drops.Load(); drops != 0 {
				t.Fatalf("silence cost %d connections: %s", drops, f.reason())
			}

			front.reloadAndAwait(t)
			const late = 50
			newcomers := launch(t, front.addr, late)
			publish.reachesAll("after a reload", map[*fleet]int{f: n, newcomers: late})
			if drops := f.drops.Load(); drops != 0 {
				t.Fatalf("the reload cost %d connections: %s", drops, f.reason())
			}

			lost := gateways[1].connections(t)
			gateways[1].stop(syscall.SIGKILL)
			died := time.Now()
			fanouttest.Eventually(t, patience, "those of the dead gateway are cut off", func() bool {
				return int(f.drops.Load()+newcomers.drops.Load()) >= lost
			})
			f.awaitSubscribed(t, n)
			newcomers.awaitSubscribed(t, late)
			t.Logf("%d clients of the dead gateway are back after %s", lost, time.Since(died).Round(time.Millisecond))
			if got := gateways[0].connections(t); got != n+late {
				t.Errorf("the other gateway holds %d, want all %d", got, n+late)
			}
			publish.reachesAll("after a gateway died", map[*fleet]int{f: n, newcomers: late})
			if drops := int(f.drops.Load() + newcomers.drops.Load()); drops != lost {
				t.Errorf("%d connections ended, want the %d of the dead gateway", drops, lost)
			}
		})
	}
}

// TestAddressOfTheClient: -max-connections-per-address counts connections of the client and not of the proxy, also if a
// client sends a false X-Forwarded-For. And the proxy's time-out has an effect: it closes the connection of a client if the
// gateway sends no pings.
func TestAddressOfTheClient(t *testing.T) {
	for _, px := range proxies {
		t.Run(px.name, func(t *testing.T) {
			t.Parallel()
			store := redistest.Start(t)
			gw := startGateway(t, append([]string{"-redis", store.URL(), "-ping-interval", "0", "-max-connections-per-address", "2"}, px.gatewayFlags...)...)
			front := px.start(t, []*gatewayProcess{gw})
			ann, bob := net.IPv4(127, 0, 0, 5), net.IPv4(127, 0, 0, 6)
			join := func(source net.IP) *wsConn {
				t.Helper()
				c, err := dial(t.Context(), front.addr, source, nil)
				if err != nil {
					t.Fatalf("from %s: %v", source, err)
				}
				t.Cleanup(func() { _ = c.Close() })
				if m, err := c.read(); err != nil || m.Type != "connected" {
					t.Fatalf("from %s: %+v, %v", source, m, err)
				}
				return c
			}
			first := join(ann)
			join(ann)
			for name, header := range map[string]http.Header{"as it is": nil, "with a claim": {"X-Forwarded-For": {"192.0.2.9"}}} {
				_, err := dial(t.Context(), front.addr, ann, header)
				if status := ws.StatusError(0); !errors.As(err, &status) || status != http.StatusTooManyRequests {
					t.Errorf("a third connection of one address, %s: %v, want 429", name, err)
				}
			}
			join(bob)

			// first has been silent since then, without pings.
			began := time.Now()
			if err := first.SetReadDeadline(began.Add(patience)); err != nil {
				t.Fatal(err)
			}
			_, err := first.read()
			if took := time.Since(began); err == nil || errors.Is(err, os.ErrDeadlineExceeded) || took < idle/2 {
				t.Errorf("without pings the proxy ends a silent connection after %s (%v), want about %s", took, err, idle)
			}
		})
	}
}

// TestRoll drains one of two gateways. Its clients are told to come back, and connect to the other one. New clients are not
// refused: the proxy sends them to the other gateway.
func TestRoll(t *testing.T) {
	for _, px := range proxies {
		t.Run(px.name, func(t *testing.T) {
			t.Parallel()
			const early, late = 60, 60
			store := redistest.Start(t)
			flags := append([]string{"-redis", store.URL(), "-drain", "3s"}, px.gatewayFlags...)
			gateways := []*gatewayProcess{startGateway(t, flags...), startGateway(t, flags...)}
			front := px.start(t, gateways)
			publish := newPublisher(t, store.URL())
			f := launch(t, front.addr, early)
			if err := gateways[1].cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			// The gateway that drains has the fewest connections, so the proxy sends new clients to it first.
			fanouttest.Eventually(t, patience, "the drain begins", func() bool { return f.drops.Load() > 0 })
			newcomers := launch(t, front.addr, late)
			<-gateways[1].exited
			f.awaitSubscribed(t, early)
			publish.reachesAll("after a roll", map[*fleet]int{f: early, newcomers: late})
			if got := gateways[0].connections(t); got != early+late {
				t.Errorf("the gateway that stays holds %d, want all %d", got, early+late)
			}
			for name, fl := range map[string]*fleet{"early": f, "late": newcomers} {
				if n := fl.refused.Load(); n != 0 {
					t.Errorf("%s clients were refused %d times: %s", name, n, fl.reason())
				}
			}
			if n := newcomers.drops.Load(); n != 0 {
				t.Errorf("%d newcomers came to lie on the gateway that drains", n)
			}
		})
	}
}
