package abuse

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/redis/go-redis/v9"

	"github.com/carillon-ws/carillon/fanout/redis/redistest"
	"github.com/carillon-ws/carillon/gateway/gatewaytest"
	"github.com/carillon-ws/carillon/protocol"
)

// stalled connects a slow client. It reads only the answers to its upgrade and its subscription.
func (g *target) stalled(channel string) (*gatewaytest.Client, error) {
	c, err := gatewaytest.Connect(g.Addr, gatewaytest.Slow())
	if err != nil {
		return nil, err
	}
	if err := c.SetDeadline(time.Now().Add(5 * time.Minute)); err != nil {
		return nil, err
	}
	err = c.Upgrade(gatewaytest.Head())
	if err == nil {
		err = c.Subscribe(channel)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// withRedis starts a Redis and a gateway that subscribes to it.
func withRedis(t *testing.T, args ...string) (*target, *redis.Client) {
	t.Helper()
	server := redistest.Start(t)
	options, err := redis.ParseURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	publisher := redis.NewClient(options)
	t.Cleanup(func() { _ = publisher.Close() })
	return attacked(t, append([]string{"-redis", server.URL()}, args...)...), publisher
}

// streams publishes n numbered payloads of a size. One client must get all of them in order. It returns the longest time
// that the client waited for one. At most 50 are on their way at a time, which a backlog can hold: so a client that reads
// is no slow consumer, also on a busy machine.
func streams(ctx context.Context, publisher *redis.Client, c *gatewaytest.Client, channel string, n, size int) (longest time.Duration, err error) {
	const together = 50
	pad := strings.Repeat(".", size)
	for i := 0; i < n; i += together {
		if _, err := publisher.Pipelined(ctx, func(p redis.Pipeliner) error {
			for j := i; j < min(n, i+together); j++ {
				p.Publish(ctx, protocol.RedisPrefix+channel, fmt.Sprintf("%d %s", j, pad))
			}
			return nil
		}); err != nil {
			return 0, err
		}
		for j := i; j < min(n, i+together); j++ {
			began := time.Now()
			m, err := c.Message()
			if err != nil {
				return 0, fmt.Errorf("before number %d: %w", j, err)
			}
			longest = max(longest, time.Since(began))
			if number, _, _ := strings.Cut(m.Data, " "); m.Type != "notification" || number != fmt.Sprint(j) {
				return 0, fmt.Errorf("got %.80v, want number %d", m, j)
			}
		}
	}
	return longest, nil
}

// backlogAge is the value of -max-backlog-age. Without -full a client that reads may have to wait for a processor, and must
// not be closed for that. Clients that do not read are over -max-backlog long before.
func backlogAge() string { return scale(15*time.Second, 2*time.Second).String() }

func TestT23ZeroWindowReaders(t *testing.T) {
	t.Parallel()
	g, publisher := withRedis(t, "-max-backlog", "256KiB", "-max-backlog-age", backlogAge(), "-max-message-rate", "0")
	before := g.Files()

	g.withstands(t, "slow-own-acks", 24*mib, func(t *testing.T) {
		each(t, 4, func(int) error {
			c, err := g.stalled("acks")
			if err != nil {
				return err
			}
			defer c.Close() //nolint:errcheck // it is of no more use
			return unread(c, strings.Repeat(gatewaytest.Frame(true, ws.OpText, `{"type":"subscribe","channel":"acks"}`), 100), scale(300, 3000))
		})
	})

	n, size := scale(4000, 16_000), 4<<10
	g.withstands(t, "slow-subscribers", 64*mib, func(t *testing.T) {
		healthy := gatewaytest.MustDial(t, g.Addr)
		if err := healthy.Subscribe("busy"); err != nil {
			t.Fatal(err)
		}
		slow := make([]*gatewaytest.Client, 20)
		each(t, len(slow), func(i int) (err error) {
			slow[i], err = g.stalled("busy")
			return err
		})
		closed := g.Metric("ws_connections_closed_total", `reason="slow_consumer"`)
		longest, err := streams(t.Context(), publisher, healthy, "busy", n, size)
		if err != nil {
			t.Fatalf("one who reads: %v", err)
		}
		if tooLate(longest, answerWithin) {
			t.Errorf("one who reads waited %v for the next", longest)
		}
		gatewaytest.Eventually(t, gatewaytest.Patience, "those who do not read are not ended", func() bool {
			return g.Metric("ws_connections_closed_total", `reason="slow_consumer"`)-closed >= float64(len(slow))
		})
		for _, c := range slow {
			_ = c.Close()
		}
	})
	g.filesBack(t, before, 10*time.Second)
}

// With -slow-consumer drop, a client that stalls and reads again gets every notification, or a gap with the number that it
// did not get.
func TestT23ZeroWindowReadersDropped(t *testing.T) {
	t.Parallel()
	g, publisher := withRedis(t, "-max-backlog", "256KiB", "-slow-consumer", "drop")
	n, size := scale(1000, 16_000), 4<<10
	g.withstands(t, "slow-subscribers-dropped", 64*mib, func(t *testing.T) {
		healthy := gatewaytest.MustDial(t, g.Addr)
		if err := healthy.Subscribe("busy"); err != nil {
			t.Fatal(err)
		}
		slow, err := g.stalled("busy")
		if err != nil {
			t.Fatal(err)
		}
		defer slow.Close() //nolint:errcheck // it has been read
		if _, err := streams(t.Context(), publisher, healthy, "busy", n, size); err != nil {
			t.Fatalf("one who reads: %v", err)
		}
		heard, told, next := 0, 0, 0
		for heard+told < n {
			m, err := slow.Message()
			if err != nil {
				t.Fatalf("%d heard, %d told: %v", heard, told, err)
			}
			switch m.Type {
			case "gap":
				told += m.Dropped
				next += m.Dropped
			case "notification":
				if number, _, _ := strings.Cut(m.Data, " "); number != fmt.Sprint(next) {
					t.Fatalf("number %s, want %d: %d heard, %d told", number, next, heard, told)
				}
				heard++
				next++
			default:
				t.Fatalf("got %+v", m)
			}
		}
		if told == 0 {
			t.Error("nothing was dropped: the case proves nothing")
		}
		t.Logf("%d heard, %d told as dropped", heard, told)
	})
}

// slow-fanout-latency: clients that do not read must not delay notifications to one that reads.
func TestT23ZeroWindowReadersLatency(t *testing.T) {
	t.Parallel()
	g, publisher := withRedis(t, "-max-backlog", "256KiB", "-max-backlog-age", backlogAge())
	healthy := gatewaytest.MustDial(t, g.Addr)
	if err := healthy.Subscribe("steady"); err != nil {
		t.Fatal(err)
	}
	pad := strings.Repeat(".", 4<<10)
	// worst returns the longest time of a notification, of n that are sent one after the other.
	worst := func(n int) (longest time.Duration) {
		t.Helper()
		for i := range n {
			began := time.Now()
			payload := fmt.Sprintf("%d %s", i, pad)
			if err := errors.Join(publisher.Publish(t.Context(), protocol.RedisPrefix+"steady", payload).Err(), hears(healthy, "steady", payload)); err != nil {
				t.Fatal(err)
			}
			longest = max(longest, time.Since(began))
		}
		return longest
	}
	alone := worst(scale(200, 2000))
	g.withstands(t, "slow-fanout-latency", 64*mib, func(t *testing.T) {
		slow := make([]*gatewaytest.Client, scale(50, 500))
		each(t, len(slow), func(i int) (err error) {
			slow[i], err = g.stalled("steady")
			return err
		})
		beside := worst(scale(200, 2000))
		t.Logf("worst way alone %v, beside %d who do not read %v", alone, len(slow), beside)
		if tooLate(beside, answerWithin+2*alone) {
			t.Errorf("worst way %v, alone it was %v", beside, alone)
		}
		for _, c := range slow {
			c.Reset()
		}
	})
}

// slow-shared: one large publication to many clients that begin to read a moment later is held once. No client is closed.
func TestT23SharedBacklogs(t *testing.T) {
	t.Parallel()
	readers := scale(40, 600)
	g, publisher := withRedis(t, "-loops", "1", "-max-backlog-total", scale("8MiB", "256MiB"))
	g.withstands(t, "slow-shared", 48*mib, func(t *testing.T) {
		clients := make([]*gatewaytest.Client, readers)
		each(t, readers, func(i int) (err error) {
			clients[i], err = g.stalled("shared")
			return err
		})
		data := strings.Repeat("x", mib)
		if err := publisher.Publish(t.Context(), protocol.RedisPrefix+"shared", data).Err(); err != nil {
			t.Fatal(err)
		}
		gatewaytest.Eventually(t, gatewaytest.Patience, "it does not wait for all", func() bool {
			return g.Metric("ws_backlogged_connections") == float64(readers)
		})
		each(t, readers, func(i int) error {
			defer clients[i].Close() //nolint:errcheck // it is not needed any more
			return hears(clients[i], "shared", data)
		})
		if n := g.Metric("ws_connections_closed_total", `reason="slow_consumer"`); n != 0 {
			t.Errorf("%v of %d who read were closed as slow", n, readers)
		}
	})
}

// slow-lever: clients that fill -max-backlog-total and read a little now and then must not cause the close of others with a
// short backlog.
func TestT23BacklogsAsALever(t *testing.T) {
	t.Parallel()
	levers := scale(24, 304) // each has a backlog of 1 MiB of its own
	g, publisher := withRedis(t, "-loops", "1", "-max-backlog-age", "1h", "-max-backlog-total", scale("16MiB", "256MiB"))
	g.withstands(t, "slow-lever", scale(160, 768)*mib, func(t *testing.T) {
		publish := func(channel, data string) {
			t.Helper()
			if err := publisher.Publish(t.Context(), protocol.RedisPrefix+channel, data).Err(); err != nil {
				t.Fatal(err)
			}
		}
		closed := func() float64 { return g.Metric("ws_connections_closed_total", `reason="slow_consumer"`) }
		full := strings.Repeat("x", mib)
		for i := range levers {
			channel := fmt.Sprint("lever:", i)
			c, err := g.stalled(channel)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close() //nolint:errcheck // nothing depends on how it goes
			publish(channel, full)
			go func() {
				for b := make([]byte, 1000); ; {
					if _, err := c.Read(b); err != nil {
						return
					}
					<-time.After(time.Second)
				}
			}()
			if i%8 == 7 { // Redis disconnects a gateway that is 32 MiB behind
				gatewaytest.Eventually(t, gatewaytest.Patience, "not all wait", func() bool {
					return g.Metric("ws_backlogged_connections")+closed() > float64(i)
				})
			}
		}
		if closed() == 0 {
			t.Fatal("the room is not full: the case proves nothing")
		}
		behind, err := g.stalled("behind")
		if err != nil {
			t.Fatal(err)
		}
		defer behind.Close() //nolint:errcheck // it is not needed any more
		const n = 90
		data := strings.Repeat(".", 10<<10)
		for i := range n { // less than -max-backlog
			publish("behind", fmt.Sprint(i, data))
		}
		for i := range n {
			if err := hears(behind, "behind", fmt.Sprint(i, data)); err != nil {
				t.Fatalf("one who is a moment behind: number %d: %v", i, err)
			}
		}
	})
}

// slow-steady: a client that reads slowly but without pause is alive. A ping to it would wait behind its backlog.
func TestT27SlowButSteady(t *testing.T) {
	t.Parallel()
	g, publisher := withRedis(t, "-ping-interval", "1s", "-max-backlog", "8MiB")
	g.withstands(t, "slow-steady", 48*mib, func(t *testing.T) {
		c, err := g.stalled("steady")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close() //nolint:errcheck // it is not needed any more
		n, data := scale(500, 2000), strings.Repeat(".", 4<<10)
		if _, err := publisher.Pipelined(t.Context(), func(p redis.Pipeliner) error {
			for range n {
				p.Publish(t.Context(), protocol.RedisPrefix+"steady", data)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for heard := 0; heard < n; { // 5 s and more: several times what a pong may take
			h, _, err := readControl(c)
			switch {
			case err != nil:
				t.Fatalf("one who reads without pause, after %d of %d: %v", heard, n, err)
			case h.OpCode == ws.OpPing:
				if err := c.Say(gatewaytest.Frame(true, ws.OpPong, "")); err != nil {
					t.Fatal(err)
				}
			default:
				if heard++; heard%10 == 0 {
					<-tick.C
				}
			}
		}
	})
}

func TestT27DeadPeers(t *testing.T) {
	t.Parallel()
	interval := scale(3*time.Second, time.Second) // a client that answers must be in time also on a busy machine
	g := attacked(t, "-ping-interval", interval.String())
	before := g.Files()
	g.withstands(t, "slow-dead-peer", 16*mib, func(t *testing.T) {
		lively := gatewaytest.MustDial(t, g.Addr)
		alive := make(chan error, 1)
		go func() { // this client answers pings, and sends nothing else
			_, err := lively.Message()
			alive <- err
		}()
		each(t, scale(100, 1000), func(int) error {
			c, err := g.dial()
			if err != nil {
				return err
			}
			defer c.Close() //nolint:errcheck // it has ended
			began := time.Now()
			pinged := false
			for { // this client reads, and answers nothing
				h, payload, err := c.ReadFrame()
				switch {
				case err != nil:
					return err
				case h.OpCode == ws.OpPing:
					pinged = true
				case h.OpCode == ws.OpClose:
					code, reason := ws.ParseCloseFrameData(payload)
					if took := time.Since(began); code != protocol.CloseHeartbeatMissed && code != ws.StatusGoingAway || !pinged || tooLate(took, 2*interval+timerSlack) {
						return fmt.Errorf("closed with %d %q after %v, pinged %t", code, reason, took, pinged)
					}
					_, err := c.AwaitEnd()
					return err
				}
			}
		})
		select {
		case err := <-alive:
			t.Errorf("one who answers pings was ended: %v", err)
		default:
		}
		_ = lively.Close()
	})
	g.filesBack(t, before, 5*time.Second)
}
