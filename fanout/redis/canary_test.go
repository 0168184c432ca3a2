package redis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/carillon-ws/carillon/fanout/fanouttest"
	"github.com/carillon-ws/carillon/fanout/redis/redistest"
)

// muting makes a source dial connections that, once muted, swallow what brings messages; answers to PING pass.
func muting(muted *atomic.Bool) func(*world) {
	return func(w *world) {
		dial := w.dial
		w.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &mutedConn{conn, muted}, nil
		}
	}
}

type mutedConn struct {
	net.Conn
	muted *atomic.Bool
}

func (c *mutedConn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if n == 0 || !c.muted.Load() || !bytes.Contains(p[:n], []byte("message")) {
			return n, err
		}
	}
}

// A link that answers PING and brings nothing is red, and replaced; while the next ones are no better, ever more rarely.
func TestCanaryFindsMuteLink(t *testing.T) {
	t.Parallel()
	for _, mode := range []Mode{Pattern, Dynamic} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			var muted atomic.Bool
			w := newWorld(t, Config{URL: server.URL(), Mode: mode, CanaryEvery: 100 * time.Millisecond}, 1, muting(&muted))
			channels := channelNames(10)
			w.populate(channels)
			w.up()
			w.subscribed()
			w.canaryHeard()
			muted.Store(true)
			w.notUp()
			if st := w.Stats(); st.LastError != errMute.Error() && !strings.Contains(w.log.String(), errMute.Error()) {
				t.Errorf("Stats = %+v", st)
			}
			began := time.Now()
			fanouttest.Eventually(t, 2*patience, "five links were mute", func() bool {
				return strings.Count(w.log.String(), "redis link up") >= 6 // the first was well
			})
			if d := time.Since(began); d < 2*time.Second {
				t.Errorf("five mute links in %v: too fast", d)
			} else if age := w.Links()[0].CanaryAge; age < d {
				t.Errorf("the canary's age is %v after %v of mute links: it began anew with a link", age, d)
			}
			if w.Stats().Up {
				t.Error("up although no canary is heard")
			}
			muted.Store(false)
			w.up()
			w.hearsAll(channels)
			w.verdict()
		})
	}
}

// canaryHeard waits for a canary on each link.
func (w *world) canaryHeard() {
	w.tb.Helper()
	fanouttest.Eventually(w.tb, patience, "each link has heard a canary", func() bool {
		w.Source.mu.Lock()
		defer w.Source.mu.Unlock()
		for _, k := range w.keepers {
			if lk := k.current.Load(); lk == nil || lk.canary == nil || lk.canary.heard.Load() == 0 {
				return false
			}
		}
		return len(w.keepers) > 0
	})
}

// With the defaults, a mute link is red within 3 s.
func TestCanaryIsSoonMissed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	var muted atomic.Bool
	w := newWorld(t, Config{URL: server.URL()}, 1, muting(&muted))
	w.up()
	w.canaryHeard()
	muted.Store(true)
	began := time.Now()
	w.notUp()
	wantWithin(t, "a mute link is red", began, 3*time.Second)
	muted.Store(false)
	began = time.Now()
	w.up()
	wantWithin(t, "green again", began, 2*time.Second)
}

// A canary that cannot be published says nothing about hearing.
func TestCanaryThatIsNotPublished(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	var dials, refused atomic.Int64
	w := newWorld(t, Config{URL: server.URL(), CanaryEvery: 20 * time.Millisecond}, 1, func(w *world) {
		dial := w.dial
		w.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if dials.Add(1) > 1 { // the link was first
				refused.Add(1)
				return nil, errors.New("no way to publish")
			}
			return dial(ctx, network, addr)
		}
	})
	w.up()
	fanouttest.Eventually(t, patience, "canaries are tried", func() bool { return refused.Load() > 5*muteTicks })
	if st := w.Stats(); !st.Up || st.Reconnects > 0 {
		t.Errorf("Stats = %+v, want it up: the link hears", st)
	}
}

// The users of the documentation have the permissions that they need, and no others; each that is taken away is missed.
func TestPermissions(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		mode Mode
		acl  string
		bad  string // in the log; empty: all is well
	}{
		{"pattern", Pattern, ACLPattern, ""},
		{"dynamic", Dynamic, ACLDynamic, ""},
		{"no canary", Pattern, strings.Replace(ACLPattern, "&carillon:canary:*", "", 1), "redis refuses the canary"},
		{"no publishing", Dynamic, strings.Replace(ACLDynamic, "+publish", "", 1), "redis refuses the canary"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			server.Do(append([]string{"ACL", "SETUSER", "bell", "on", ">hunter2"}, strings.Fields(tt.acl)...)...)
			w := newWorld(t, Config{URL: "redis://bell:hunter2@" + server.Addr(), Mode: tt.mode, Quiet: 20 * time.Millisecond, CanaryEvery: 100 * time.Millisecond}, 1)
			channels := channelNames(10)
			w.populate(channels)
			w.up()
			w.subscribed()
			if tt.bad == "" {
				w.canaryHeard()
				w.hearsAll(channels)
			} else {
				fanouttest.Eventually(t, patience, "it is told", func() bool { return strings.Contains(w.log.String(), tt.bad) })
			}
			<-time.After(30 * 20 * time.Millisecond)
			if st := w.Stats(); !st.Up || st.Reconnects > 0 || st.Unexpected > 0 {
				t.Errorf("Stats = %+v", st)
			}
			if n := strings.Count(w.log.String(), "redis refuses"); n > 1 {
				t.Errorf("%d warnings, want one", n)
			}
			if tt.bad == "" {
				return
			}
			server.Do("ACL", "SETUSER", "bell", "&carillon:canary:*", "+publish")
			server.Do("CLIENT", "KILL", "TYPE", "pubsub")
			w.canaryHeard() // the next link has one
		})
	}
}

// The documentation says what the tests use.
func TestReadmePermissions(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"pattern  " + ACLPattern + "\n", "dynamic  " + ACLDynamic + "\n", "sharded  " + ACLSharded + "\n", ACLCluster} {
		if !strings.Contains(string(readme), want) {
			t.Errorf("the README lacks %q", want)
		}
	}
}

// Each gateway hears its own canary only: N gateways do not cost N² deliveries. And with names, a publication goes to the
// gateway that holds the channel, and to no other.
func TestCostOfManyGateways(t *testing.T) {
	t.Parallel()
	const gateways = 16
	for mode, want := range map[Mode]string{Pattern: "16", Dynamic: "1"} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			var all []*world
			for i := range gateways {
				w := newWorld(t, Config{URL: server.URL(), Mode: mode, Gateway: fmt.Sprint("g", i)}, 1)
				w.loops[0].subscribe(fmt.Sprint("user:", i))
				all = append(all, w)
			}
			for _, w := range all {
				w.up()
				w.subscribed()
				w.canaryHeard()
			}
			if n := server.Do("PUBLISH", "carillon:canary:g3", "x"); n != "1" {
				t.Errorf("a canary goes to %s gateways", n)
			}
			before := all[5].Stats().Messages
			if n := server.Do("PUBLISH", "notifications:user:4", "1"); n != want {
				t.Errorf("a publication goes to %s gateways, want %s", n, want)
			}
			server.Do("PUBLISH", "notifications:user:5", "1") // behind it
			fanouttest.Eventually(t, patience, "it has come", func() bool { return all[5].Stats().Messages > before })
			if got := all[5].Stats().Messages - before; mode == Dynamic && got != 1 {
				t.Errorf("a gateway without the channel got %d publications", got-1)
			}
		})
	}
}
