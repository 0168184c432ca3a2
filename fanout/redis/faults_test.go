package redis

import (
	"strings"
	"testing"
	"time"

	"github.com/carillon-ws/carillon/fanout/fanouttest"
	"github.com/carillon-ws/carillon/fanout/redis/redistest"
)

// Each way in which one Redis or the way to it fails, in both modes: afterwards every client hears every channel, and
// whatever was not delivered was told by a gap.
func TestOneRedisFails(t *testing.T) {
	t.Parallel()
	for _, mode := range []Mode{Pattern, Dynamic} {
		for _, tt := range []struct {
			name string
			args []string
			fail func(t *testing.T, w *world, server *redistest.Server, proxy *redistest.Proxy)
		}{
			{"kill -9", nil, func(_ *testing.T, w *world, server *redistest.Server, _ *redistest.Proxy) {
				server.Kill()
				w.notUp()
				server.Restart()
			}},
			{"SIGSTOP", nil, func(_ *testing.T, w *world, server *redistest.Server, _ *redistest.Proxy) {
				server.Stop()
				w.notUp()
				if *full {
					<-time.After(10 * time.Second)
				}
				server.Continue()
			}},
			{"black hole", nil, func(_ *testing.T, w *world, _ *redistest.Server, proxy *redistest.Proxy) {
				proxy.Set(redistest.Blackhole)
				w.notUp()
				proxy.Set(redistest.Pass)
			}},
			{"output buffer", []string{"--client-output-buffer-limit", "pubsub", "256kb", "0", "0"}, func(t *testing.T, w *world, server *redistest.Server, _ *redistest.Proxy) {
				w.loops[1].subscribe("big")
				w.subscribed()
				client := redisClient(t, server.URL())
				payload := strings.Repeat("x", 64<<10)
				w.loops[1].mu.Lock() // the feeder waits, so that nobody reads what Redis sends
				for receivers := int64(1); receivers > 0; {
					var err error
					if receivers, err = client.Publish(t.Context(), "notifications:big", payload).Result(); err != nil {
						t.Error(err)
						break
					}
				}
				w.loops[1].mu.Unlock()
				fanouttest.Eventually(t, patience, "the link is lost and back", func() bool { return w.Stats().Reconnects == 1 })
			}},
			{"CLIENT KILL", nil, func(t *testing.T, w *world, server *redistest.Server, _ *redistest.Proxy) {
				if n := server.Do("CLIENT", "KILL", "TYPE", "pubsub"); n != "1" {
					t.Errorf("CLIENT KILL = %s, want 1", n)
				}
				fanouttest.Eventually(t, patience, "the link is lost and back", func() bool { return w.Stats().Reconnects == 1 })
			}},
		} {
			t.Run(string(mode)+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				server := redistest.Start(t, tt.args...)
				proxy := redistest.NewProxy(t, server.Addr())
				w := newWorld(t, Config{URL: proxy.URL(), Mode: mode}, 3)
				channels := channelNames(400)
				w.populate(channels[:300])
				w.up()
				w.subscribed()
				stop := w.publishing(channels, 2*time.Millisecond)
				defer stop()
				w.hearsAll(channels)
				_, before := w.verdict()
				tt.fail(t, w, server, proxy)
				w.populate(channels[300:]) // these come while the link is down, or just back
				w.up()
				w.subscribed()
				w.hearsAll(channels)
				stop()
				w.hearsAll(channels)
				missing, gaps := w.verdict()
				t.Logf("%d missing, %d channels told", missing, len(gaps))
				for _, channel := range channels[:300] {
					if gaps[channel] <= before[channel] {
						t.Errorf("channel %s was not told of the loss", channel)
						break
					}
				}
				if st := w.Stats(); st.Reconnects != 1 || st.Unexpected != 0 {
					t.Errorf("Stats = %+v", st)
				}
			})
		}
	}
}

// Without a fault nothing is lost and no gap is told; a client that is subscribed hears the very next publication.
func TestSubscribedMeansHeard(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := newWorld(t, Config{URL: server.URL(), Mode: Dynamic, Grace: 20 * time.Millisecond}, 4)
	w.up()
	channels := channelNames(200)
	stop := w.publishing(channels, time.Millisecond)
	defer stop()
	for round := range 30 { // come and go around the grace
		for i, channel := range channels {
			lp := w.loops[(i+round)%len(w.loops)]
			if round%3 == 2 {
				lp.unsubscribe(channel)
			} else {
				lp.subscribe(channel)
			}
		}
		<-time.After(time.Duration(round%4) * 10 * time.Millisecond)
		if _, gaps := w.verdict(); len(gaps) > 0 {
			t.Fatalf("gaps without a loss: %v", gaps)
		}
	}
	w.subscribed()
	w.hearsAll(channels)
	stop()
	w.hearsAll(channels)
	if missing, gaps := w.verdict(); missing > 0 || len(gaps) > 0 {
		t.Errorf("%d missing, %d gaps, without a loss", missing, len(gaps))
	}
	// What nobody holds is left.
	for _, lp := range w.loops {
		for _, channel := range channels {
			lp.unsubscribe(channel)
		}
	}
	fanouttest.Eventually(t, patience, "Redis has no channel but the canary's", func() bool {
		return strings.TrimSpace(server.Do("PUBSUB", "CHANNELS")) == "carillon:canary:test" && w.Stats().Channels == 0
	})
}

// A client that waits for a confirmation that cannot come does not wait for ever: when the link is lost it is told that it
// is subscribed, and a gap follows when the channel is confirmed.
func TestWaitEndsWithTheLink(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr())
	w := newWorld(t, Config{URL: proxy.URL(), Mode: Dynamic}, 2)
	w.up()
	proxy.Set(redistest.Blackhole)
	channels := channelNames(10)
	w.populate(channels)
	w.subscribed()
	if w.Stats().Up {
		t.Error("subscribed although Redis has not confirmed, and the link is up")
	}
	if _, gaps := w.verdict(); len(gaps) > 0 {
		t.Errorf("gaps before the channels are heard: %v", gaps)
	}
	proxy.Set(redistest.Pass)
	w.up()
	w.hearsAll(channels)
	if _, gaps := w.verdict(); len(gaps) != len(channels) {
		t.Errorf("%d of %d channels were told a gap", len(gaps), len(channels))
	}
}

// A client that leaves while it waits is not told anything, and the channel does not stay in Redis.
func TestLeaveWhileWaiting(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := newWorld(t, Config{URL: server.URL(), Mode: Dynamic, Grace: time.Millisecond}, 2)
	w.up()
	channels := channelNames(200)
	server.Stop() // confirmations wait
	for _, channel := range channels {
		w.loops[0].subscribe(channel)
		w.loops[1].subscribe(channel)
	}
	fanouttest.Eventually(t, patience, "Redis is asked", func() bool { return w.Stats().Waiting > 0 || !w.Stats().Up })
	for _, channel := range channels {
		w.loops[0].unsubscribe(channel)
	}
	for _, channel := range channels[:100] {
		w.loops[1].unsubscribe(channel)
	}
	server.Continue()
	w.up()
	w.subscribed()
	w.hearsAll(channels)
	fanouttest.Eventually(t, patience, "Redis has what is wanted, and the canary", func() bool {
		return len(strings.Fields(server.Do("PUBSUB", "CHANNELS"))) == 101 && w.Stats().Channels == 100
	})
	w.verdict()
}
