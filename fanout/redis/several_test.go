package redis

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/fanout/fanouttest"
	"github.com/carillon-ws/carillon/fanout/redis/redistest"
)

// linkTo waits for the one link to be up on a server.
func (w *world) linkTo(server *redistest.Server) {
	w.tb.Helper()
	fanouttest.Eventually(w.tb, 4*patience, "the link is up on the other server", func() bool {
		links := w.Links()
		return len(links) == 1 && links[0].Up && links[0].Node == server.Addr()
	})
}

// The master fails, or is replaced by command: the link and the publications follow.
func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		mode Mode
		fail func(s *redistest.Watched)
	}{
		{"killed", Dynamic, func(s *redistest.Watched) { s.Master.Kill() }},
		{"by command", Pattern, func(s *redistest.Watched) { s.Sentinels[1].Do("SENTINEL", "FAILOVER", redistest.MasterName) }},
		{"stopped, and back later", Dynamic, func(s *redistest.Watched) { s.Master.Stop() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name != "killed" && !*full {
				t.Skip("slow: with -full")
			}
			t.Parallel()
			servers := redistest.StartSentinel(t)
			w := newWorld(t, Config{URL: servers.URL(), Mode: tt.mode}, 3)
			channels := channelNames(200)
			w.populate(channels)
			w.linkTo(servers.Master)
			w.subscribed()
			stop := w.publishing(channels, 2*time.Millisecond)
			defer stop()
			w.hearsAll(channels)
			tt.fail(servers)
			servers.WaitMaster(servers.Replica)
			began := time.Now()
			w.linkTo(servers.Replica)
			wantWithin(t, "link on the new master after the Sentinels know it", began, 2*time.Second)
			if tt.name == "stopped, and back later" {
				servers.Master.Continue()
			}
			w.hearsAll(channels)
			stop()
			w.hearsAll(channels)
			missing, gaps := w.verdict()
			t.Logf("%d missing, %d channels told", missing, len(gaps))
			if len(gaps) != len(channels) {
				t.Errorf("%d of %d channels were told of the failover", len(gaps), len(channels))
			}
		})
	}
}

// An old master that nobody stops, and that still answers, is left: here the Sentinels are told of another one, as after a
// partition that the old master has not noticed.
func TestOldMasterIsLeft(t *testing.T) {
	t.Parallel()
	servers := redistest.StartSentinel(t)
	other := redistest.Start(t)
	w := newWorld(t, Config{URL: servers.URL()}, 1)
	channels := channelNames(20)
	w.populate(channels)
	w.linkTo(servers.Master)
	w.subscribed()
	w.hearsAll(channels)
	host, port := splitAddr(other.Addr())
	for _, s := range servers.Sentinels {
		s.Do("SENTINEL", "REMOVE", redistest.MasterName)
		s.Do("SENTINEL", "MONITOR", redistest.MasterName, host, port, "2")
	}
	w.linkTo(other)
	w.hearsAll(channels) // what is published goes there too
	if role := servers.Master.Do("PUBSUB", "NUMPAT"); role != "0" {
		t.Errorf("the old master still has %s patterns", role)
	}
	w.verdict()
}

// The user and password in the URL are for the Sentinels, those in the parameters for the master.
func TestSentinelPasswords(t *testing.T) {
	t.Parallel()
	servers := redistest.StartSentinelWithPasswords(t, "hunter2m", "hunter2s")
	url := strings.Replace(servers.URL(), "://", "://:hunter2s@", 1)
	channels := channelNames(5)
	w := newWorld(t, Config{URL: url + "&password=hunter2m"}, 1)
	w.populate(channels)
	w.linkTo(servers.Master)
	w.hearsAll(channels)
	for _, tt := range []struct{ url, want string }{
		{servers.URL() + "&password=hunter2m", "NOAUTH"},
		{url, "NOAUTH"},
		{url + "&password=hunter2wrong", "WRONGPASS"},
	} {
		bad := newWorld(t, Config{URL: tt.url}, 1)
		eventually(t, "it is told why", func() bool { return strings.Contains(bad.Stats().LastError, tt.want) })
		if strings.Contains(bad.log.String()+bad.Stats().LastError+bad.String(), "hunter2") {
			t.Errorf("a password is told:\n%s", bad.log)
		}
	}
}

// One server of a Cluster fails, or slots move: only the channels concerned are told.
func TestClusterFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		mode      Mode
		fail      func(w *world, c *redistest.Sharing)
		concerned func(slot int) bool // nil: all
		slow      bool                // with -full only
	}{
		{"master killed", Sharded, func(_ *world, c *redistest.Sharing) {
			c.Masters[1].Kill()
			c.WaitOwner(c.Replicas[1])
		}, func(slot int) bool { return slot >= 5461 && slot <= 10922 }, true},
		{"failover by command", Sharded, func(_ *world, c *redistest.Sharing) {
			c.Replicas[2].Do("CLUSTER", "FAILOVER")
			c.WaitOwner(c.Replicas[2])
		}, func(slot int) bool { return slot >= 10923 }, false},
		{"slots move", Sharded, func(_ *world, c *redistest.Sharing) {
			for slot := range 100 {
				c.MoveSlots(c.Masters[0], c.Masters[1], slot*3)
			}
		}, func(slot int) bool { return slot < 300 && slot%3 == 0 }, false},
		{"one link is killed", Sharded, func(w *world, c *redistest.Sharing) {
			c.Masters[0].Do("CLIENT", "KILL", "TYPE", "pubsub")
			fanouttest.Eventually(w.tb, patience, "a link is lost and back", func() bool { return w.Stats().Reconnects == 1 })
		}, func(slot int) bool { return slot < 5461 }, true},
		{"master stopped", Sharded, func(_ *world, c *redistest.Sharing) {
			c.Masters[1].Stop()
			c.WaitOwner(c.Replicas[1])
			c.Masters[1].Continue()
		}, func(slot int) bool { return slot >= 5461 && slot <= 10922 }, true},
		{"node killed", Dynamic, killLinked, nil, true},
		{"node killed", Pattern, killLinked, nil, true},
		{"another node killed", Dynamic, killAnother, nil, true},
		{"another node killed", Pattern, killAnother, nil, true},
	} {
		t.Run(string(tt.mode)+"/"+tt.name, func(t *testing.T) {
			if tt.slow && !*full {
				t.Skip("slow: with -full")
			}
			t.Parallel()
			servers := redistest.StartCluster(t)
			w := newWorld(t, Config{URL: servers.URL(), Mode: tt.mode}, 3)
			channels := channelNames(2000)
			if tt.name == "slots move" {
				for i := range 40 { // some in the slots that move, for certain
					channels[i] = tagIn(i*3) + "x"
				}
			}
			w.populate(channels)
			w.up()
			w.subscribed()
			if tt.mode == Sharded {
				if n := len(w.Links()); n != 3 {
					t.Fatalf("%d links, want one for each master", n)
				}
			}
			stop := w.publishing(channels, time.Millisecond)
			defer stop()
			w.hearsAll(channels)
			_, before := w.verdict()
			tt.fail(w, servers)
			w.up()
			w.subscribed()
			w.hearsAll(channels)
			stop()
			w.hearsAll(channels)
			w.up()
			missing, gaps := w.verdict()
			t.Logf("%d missing, %d channels told, %+v", missing, len(gaps)-len(before), w.Stats())
			for _, channel := range channels {
				told := gaps[channel] > before[channel]
				want := tt.concerned == nil || tt.concerned(slotOf("notifications:"+channel))
				if told != want {
					t.Errorf("channel %s in slot %d was told: %v, want %v", channel, slotOf("notifications:"+channel), told, want)
					break
				}
			}
		})
	}
}

// The canary of a sharded link follows when its slot moves, and the user needs no more than the documentation says.
func TestShardedCanaryAndPermissions(t *testing.T) {
	t.Parallel()
	servers := redistest.StartCluster(t)
	for _, s := range slices.Concat(servers.Masters, servers.Replicas) {
		s.Do(append([]string{"ACL", "SETUSER", "bell", "on", ">hunter2"}, strings.Fields(ACLSharded)...)...)
	}
	url := strings.Replace(servers.URL(), "://", "://bell:hunter2@", 1)
	w := newWorld(t, Config{URL: url, Mode: Sharded, CanaryEvery: 100 * time.Millisecond}, 2)
	if err := w.Check(t.Context()); err != nil {
		t.Errorf("Check = %v", err)
	}
	channels := channelNames(300)
	w.populate(channels)
	w.up()
	w.subscribed()
	w.canaryHeard()
	for round := range 3 {
		k := w.keeperOf(servers.Masters[0])
		channel := k.current.Load().canary.channel()
		servers.MoveSlots(servers.Masters[0], servers.Masters[1+round%2], slotOf(channel))
		fanouttest.Eventually(t, patience, "the canary has another slot, and is heard", func() bool {
			c := k.current.Load().canary
			return c.channel() != channel && k.stats().CanaryAge < 100*time.Millisecond
		})
	}
	w.hearsAll(channels)
	w.verdict()
	if st := w.Stats(); !st.Up || st.Reconnects > 0 || st.Refused > 0 || st.Unexpected > 0 {
		t.Errorf("Stats = %+v", st)
	}
	if strings.Contains(w.log.String(), "refuses") {
		t.Errorf("something is not allowed:\n%s", w.log)
	}
}

func (w *world) keeperOf(s *redistest.Server) *keeper {
	w.Source.mu.Lock()
	defer w.Source.mu.Unlock()
	for _, k := range w.keepers {
		if k.node == s.Addr() {
			return k
		}
	}
	w.tb.Fatalf("no link to %s", s.Addr())
	return nil
}

// What cannot work together is refused, once it can be known.
func TestCheck(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for _, tt := range []struct {
		url  string
		mode Mode
		want string
	}{
		{server.URL(), Pattern, ""},
		{"redis+cluster://" + server.Addr(), Pattern, "is no Cluster"},
		{"redis+cluster://" + redistest.Reserve(t).Addr(), Sharded, ""}, // Run waits for it
	} {
		source, err := NewSource(Config{URL: tt.url, Pattern: "notifications:*", Mode: tt.mode, Interest: fanout.NewInterest()})
		if err != nil {
			t.Fatal(err)
		}
		if err := source.Check(t.Context()); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Check of %s = %v, want %q", tt.url, err, tt.want)
		}
		_ = source.Close()
	}
}

// killAnother kills a master that the one link is not on: what was published there and is under way to the others is lost.
func killAnother(w *world, c *redistest.Sharing) {
	gaps := w.feeder.Stats().Gaps
	at := slices.IndexFunc(c.Masters, func(s *redistest.Server) bool { return s.Addr() != w.Links()[0].Node })
	c.Masters[at].Kill()
	fanouttest.Eventually(w.tb, patience, "the loss is told", func() bool { return w.feeder.Stats().Gaps > gaps })
	c.WaitOwner(c.Replicas[at])
}

// killLinked kills the node that the one link is on.
func killLinked(w *world, c *redistest.Sharing) {
	node := w.Links()[0].Node
	at := slices.IndexFunc(c.Masters, func(s *redistest.Server) bool { return s.Addr() == node })
	if at < 0 {
		w.tb.Fatalf("the link is on %s, which is no master", node)
	}
	c.Masters[at].Kill()
	w.notUp()
}
