package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/carillon-ws/carillon/fanout/fanouttest"
	"github.com/carillon-ws/carillon/fanout/redis/redistest"
)

// TestRedisAwayAndBackDynamic is TestRedisAwayAndBack where Redis is asked for each channel: `subscribed` waits for Redis while it is there
// and does not while it is away, and afterwards all channels are heard, after a gap.
func TestRedisAwayAndBackDynamic(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	gw := start(t, "-redis", server.URL(), "-interest", "dynamic")
	redis := redisClient(t, server.URL())
	clients := make(map[string]*client)
	for i := range 10 {
		channel := fmt.Sprint("room", i)
		clients[channel] = join(t, gw.ws, channel)
		// Subscribed means heard: nothing is tried again here.
		if n, err := redis.Publish(t.Context(), "notifications:"+channel, "first").Result(); n != 1 || err != nil {
			t.Errorf("PUBLISH = %d, %v", n, err)
		}
		clients[channel].expect(map[string]any{"type": "notification", "channel": channel, "data": "first"})
	}
	if n, err := redis.Publish(t.Context(), "notifications:elsewhere", "x").Result(); n != 0 || err != nil {
		t.Errorf("PUBLISH to a channel that nobody holds = %d, %v", n, err)
	}
	server.Kill()
	gw.awaitReady(t, http.StatusServiceUnavailable)
	clients["late"] = join(t, gw.ws, "late") // it is told at once
	left := clients["room0"]
	left.send(`{"type":"unsubscribe","channel":"room0"}`)
	left.expect(map[string]any{"type": "unsubscribed", "channel": "room0"})
	delete(clients, "room0")

	server.Restart()
	gw.awaitReady(t, http.StatusOK)
	for channel, c := range clients {
		c.expect(map[string]any{"type": "gap", "reason": "redis"})
		if n, err := redis.Publish(t.Context(), "notifications:"+channel, "back").Result(); n != 1 || err != nil {
			t.Errorf("PUBLISH = %d, %v", n, err)
		}
		c.expect(map[string]any{"type": "notification", "channel": channel, "data": "back"})
	}
	left.send(`{"type":"ping"}`)
	left.expect(map[string]any{"type": "pong"}) // and no gap

	var stats struct {
		RedisInterest         string
		Waiting, Resubscribed int
		Links                 []struct {
			Up         bool
			CanaryAge  *float64
			Channels   int
			Reconnects int
		}
	}
	fanouttest.Eventually(t, patience, "/stats tells of the link", func() bool {
		getJSON(t, gw.admin+"/stats", &stats)
		return len(stats.Links) == 1 && stats.Links[0].Channels == len(clients)
	})
	if l := stats.Links[0]; stats.RedisInterest != "dynamic" || stats.Waiting != 0 || stats.Resubscribed != len(clients) || !l.Up || l.CanaryAge == nil || l.Reconnects != 1 {
		t.Errorf("/stats = %+v", stats)
	}
}

func getJSON(t *testing.T, url string, into any) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	text, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatalf("%s: %v: %s", url, err, text)
	}
}

// Readiness is red when Redis is dead, stalled, cut off, or does not bring publications, and green again by itself. The
// promise is 3 s and 2 s; a machine with other work is given more.
func TestReadinessFollowsRedis(t *testing.T) {
	t.Parallel()
	for _, interest := range []string{"pattern", "dynamic"} {
		for _, tt := range []struct {
			name       string
			fail, heal func(server *redistest.Server, proxy *redistest.Proxy)
		}{
			{
				"dead",
				func(server *redistest.Server, _ *redistest.Proxy) { server.Kill() },
				func(server *redistest.Server, _ *redistest.Proxy) { server.Restart() },
			},
			{
				"stalled",
				func(server *redistest.Server, _ *redistest.Proxy) { server.Stop() },
				func(server *redistest.Server, _ *redistest.Proxy) { server.Continue() },
			},
			{
				"cut off",
				func(_ *redistest.Server, proxy *redistest.Proxy) { proxy.Set(redistest.Blackhole) },
				func(_ *redistest.Server, proxy *redistest.Proxy) { proxy.Set(redistest.Pass) },
			},
			{
				"mute",
				func(_ *redistest.Server, proxy *redistest.Proxy) { proxy.Set(redistest.Mute) },
				func(_ *redistest.Server, proxy *redistest.Proxy) { proxy.Set(redistest.Pass) },
			},
		} {
			t.Run(interest+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				server := redistest.Start(t)
				proxy := redistest.NewProxy(t, server.Addr())
				gw := start(t, "-redis", proxy.URL(), "-interest", interest)
				c := join(t, gw.ws, "room")
				began := time.Now()
				tt.fail(server, proxy)
				gw.awaitReady(t, http.StatusServiceUnavailable)
				within(t, "red", began, 3*time.Second)
				began = time.Now()
				tt.heal(server, proxy)
				gw.awaitReady(t, http.StatusOK)
				within(t, "green", began, 2*time.Second)
				for told := false; !told; {
					m := c.read()
					told = m["type"] == "gap"
					if !told {
						t.Errorf("%v, want a gap", m)
					}
				}
			})
		}
	}
}

// within reports how long it took; it fails when that is far beyond the promise.
func within(t *testing.T, what string, began time.Time, promise time.Duration) {
	t.Helper()
	took := time.Since(began)
	t.Logf("%s after %v", what, took.Round(time.Millisecond))
	if took > 4*promise {
		t.Errorf("%s after %v, the promise is %v", what, took, promise)
	}
}
