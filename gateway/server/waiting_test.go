package server

import (
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/gateway/identity"
	"github.com/carillon-ws/carillon/protocol"
)

// asking has the interest of a server be one of a source that asks for each channel. The test is the source.
func asking(cfg *Config) { cfg.Interest.Follow(func() {}) }

// wantWaiting waits until so many subscriptions wait on all loops.
func wantWaiting(t testing.TB, s *Server, n int64) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d subscriptions wait", n), func() bool { return sum(s, func(n LoopStats) int64 { return n.Waiting }) == n })
}

func TestSubscribedWaitsForTheSource(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, func(cfg *Config) { asking(cfg); cfg.Loops = 2 })
	a, b := dial(t, s), dial(t, s)
	a.send(`{"type":"subscribe","channel":"x","id":1}`)
	a.send(`{"type":"subscribe","channel":"x","id":2}`)
	b.send(`{"type":"subscribe","channel":"x"}`)
	wantWaiting(t, s, 3)
	a.wantPong() // nothing else came
	feeder.Settled("notifications:x")
	feeder.Publish("notifications:x", "heard")
	feeder.Flush()
	for _, id := range []string{"1", "2"} {
		if m := a.want("subscribed"); m.Channel != "x" || string(m.ID) != id {
			t.Errorf("%+v, want subscribed to x, id %s", m, id)
		}
	}
	b.want("subscribed")
	for _, p := range []*peer{a, b} {
		p.wantNotification("x", "heard")
	}
	// Whoever comes now does not wait.
	if m := dial(t, s).say(`{"type":"subscribe","channel":"x"}`); m.Type != "subscribed" {
		t.Errorf("%+v", m)
	}
	wantWaiting(t, s, 0)
}

func TestUnsubscribeWhileWaiting(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, asking)
	p := dial(t, s)
	p.send(`{"type":"subscribe","channel":"x","id":7}`)
	wantWaiting(t, s, 1)
	p.send(`{"type":"unsubscribe","channel":"x","id":8}`)
	if m := p.want("subscribed"); string(m.ID) != "7" {
		t.Errorf("%+v", m)
	}
	if m := p.want("unsubscribed"); string(m.ID) != "8" {
		t.Errorf("%+v", m)
	}
	if n := s.cfg.Interest.Channels(); n != 0 {
		t.Errorf("the interest has %d channels", n)
	}
	feeder.Settled("notifications:x") // it comes late, and concerns nobody
	feeder.Publish("notifications:x", "nobody")
	feeder.Flush()
	p.wantPong()
	// Asked for again, it is settled already.
	p.subscribe("x")
}

// Whoever leaves while it waits, in whatever way, leaves nothing behind.
func TestLeaveWhileWaiting(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, asking)
	stay := dial(t, s)
	leave := map[string]func(p *peer){
		"close frame": func(p *peer) { p.write(closeFrame(ws.StatusNormalClosure, "")); p.wantClose(ws.StatusNormalClosure) },
		"reset":       func(p *peer) { p.reset() },
		"kick": func(p *peer) {
			list, err := s.Connections(t.Context(), ConnectionQuery{Limit: 10})
			if err != nil {
				t.Error(err)
			}
			for _, info := range list.Connections {
				if info.ChannelCount == 2 {
					if n, err := s.Kick(t.Context(), Kick{Client: info.Client}); n != 1 || err != nil {
						t.Errorf("%d are kicked, %v", n, err)
					}
				}
			}
			p.wantClose(protocol.CloseKicked)
		},
	}
	for name, f := range leave {
		p := dial(t, s)
		p.send(`{"type":"subscribe","channels":["x","y"]}`)
		wantWaiting(t, s, 2)
		f(p)
		wantWaiting(t, s, 0)
		if n := s.cfg.Interest.Channels(); n != 0 {
			t.Errorf("%s: the interest has %d channels", name, n)
		}
		_ = p.nc.Close()
		eventually(t, "its socket is given back", func() bool { return sockets(s) == 1 })
	}
	feeder.Settled("notifications:x")
	feeder.Flush()
	stay.wantPong()
}

// The right to a channel is checked when it is confirmed: the token may be another one by then.
func TestRightsAreCheckedAtTheConfirmation(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, func(cfg *Config) { asking(cfg); cfg.Loops = 1 })
	p := dial(t, s)
	p.send(`{"type":"subscribe","channel":"x"}`)
	wantWaiting(t, s, 1)
	lp := s.loops[0]
	onLoop(t, lp, func() { // as if it had authenticated anew meanwhile
		lp.cfg.Verifier = new(identity.Verifier)
		lp.conns.at(1).identity = &identity.Identity{User: "ann", Expires: time.Now().Add(time.Hour)}
	})
	feeder.Settled("notifications:x")
	feeder.Flush()
	if m := p.want("error"); m.Code != "forbidden" || m.Channel != "x" {
		t.Errorf("%+v", m)
	}
	eventually(t, "the interest ends", func() bool { return s.cfg.Interest.Channels() == 0 })
	onLoop(t, lp, func() { lp.cfg.Verifier = nil })
}

// A subscription that waits counts against the connection's limit, once.
func TestWaitingCounts(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, func(cfg *Config) { asking(cfg); cfg.MaxChannels = 2 })
	p := dial(t, s)
	for _, channel := range []string{"x", "y", "x"} {
		p.send(`{"type":"subscribe","channel":"` + channel + `"}`)
	}
	wantWaiting(t, s, 3)
	if m := p.say(`{"type":"subscribe","channel":"z"}`); m.Code != "too_many_channels" {
		t.Errorf("%+v", m)
	}
	feeder.Settled("notifications:x")
	feeder.Flush()
	p.want("subscribed")
	p.want("subscribed")
	if m := p.say(`{"type":"subscribe","channel":"z"}`); m.Code != "too_many_channels" {
		t.Errorf("%+v", m)
	}
	p.send(`{"type":"unsubscribe","channel":"y"}`)
	p.want("subscribed")
	p.want("unsubscribed")
	p.send(`{"type":"subscribe","channel":"z"}`)
	wantWaiting(t, s, 1)
}

// Many channels that are confirmed at once are answered in slices, and a turn that panics leaves nobody waiting.
func TestManyChannelsSettle(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, func(cfg *Config) { asking(cfg); cfg.Loops, cfg.MaxChannels, cfg.MessageRate = 1, 5000, 0 })
	p := dial(t, s)
	const n = 2000
	for i := range n {
		p.send(fmt.Sprintf(`{"type":"subscribe","channel":"c%d"}`, i))
	}
	wantWaiting(t, s, n)
	var all sync.WaitGroup
	all.Go(func() {
		for i := range n {
			feeder.Settled(fmt.Sprintf("notifications:c%d", i))
		}
		feeder.Flush()
	})
	seen := make(map[string]bool)
	for len(seen) < n {
		seen[p.want("subscribed").Channel] = true
	}
	all.Wait()
	wantWaiting(t, s, 0)
}

// A connection that waits can be moved.
func TestMoveWaiting(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, func(cfg *Config) { asking(cfg); cfg.Loops = 1 })
	p := dial(t, s)
	p.send(`{"type":"subscribe","channel":"x","id":"a"}`)
	wantWaiting(t, s, 1)
	moveOnce(t, s)
	wantWaiting(t, s, 1)
	feeder.Settled("notifications:x")
	feeder.Publish("notifications:x", "heard")
	feeder.Flush()
	if m := p.want("subscribed"); string(m.ID) != `"a"` {
		t.Errorf("%+v", m)
	}
	p.wantNotification("x", "heard")
}

// settleOnLoop has what the feeder has said of channels be taken by the loop, and calls f while nobody is answered yet.
func settleOnLoop(t *testing.T, lp *loop, f func()) {
	t.Helper()
	onLoop(t, lp, func() {
		if !lp.sending || lp.loaded || len(lp.batch.Settled) == 0 {
			t.Error("the loop has not begun with the batch")
		}
		f()
	})
}

// Many who wait for one channel are answered in slices, and whoever waits still keeps the interest.
func TestManyWaitersAreAnsweredInSlices(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, func(cfg *Config) { asking(cfg); cfg.Loops, cfg.MessageRate = 1, 0 })
	lp := s.loops[0]
	a, b := dial(t, s), dial(t, s)
	const n = walkStep + 8
	for i := range n {
		a.send(fmt.Sprintf(`{"type":"subscribe","channel":"x","id":%d}`, i))
	}
	wantWaiting(t, s, n)
	b.send(`{"type":"subscribe","channel":"x"}`)
	wantWaiting(t, s, n+1)
	feeder.Settled("notifications:x")
	settleOnLoop(t, lp, func() {
		if lp.settleChannels(0) || lp.n.waiting.Load() != n+1-walkStep {
			t.Errorf("%d wait after a slice, want %d", lp.n.waiting.Load(), n+1-walkStep)
		}
		lp.unsubscribe(lp.conns.at(1), nil, "x")
		if lp.index.Subscribers("x") != 0 || s.cfg.Interest.Loops("x") == 0 {
			t.Errorf("%d subscribers, and the loops with an interest are %b", lp.index.Subscribers("x"), s.cfg.Interest.Loops("x"))
		}
	})
	for i := range n {
		if m := a.want("subscribed"); string(m.ID) != fmt.Sprint(i) {
			t.Errorf("%+v, want id %d", m, i)
		}
	}
	a.want("unsubscribed")
	b.want("subscribed")
	feeder.Publish("notifications:x", "heard")
	feeder.Flush()
	b.wantNotification("x", "heard")
	a.wantPong()
	onLoop(t, lp, func() {
		if n := lp.conns.at(1).count; n != 0 {
			t.Errorf("%d channels are counted for one that has none", n)
		}
	})
}

// An answer that panics costs the connection that it is for, and the others are answered.
func TestPanicInAnAnswerCostsTheConnection(t *testing.T) {
	t.Parallel()
	var log logged
	s, feeder := startServer(t, func(cfg *Config) { asking(cfg); cfg.Loops, cfg.Log = 1, slog.New(&log) })
	lp := s.loops[0]
	peers := []*peer{dial(t, s), dial(t, s), dial(t, s)}
	for i, p := range peers {
		p.send(`{"type":"subscribe","channel":"x"}`)
		wantWaiting(t, s, int64(i+1))
	}
	onLoop(t, lp, func() { lp.conns.at(2).ext = nil }) // which says that it does not wait
	feeder.Settled("notifications:x")
	feeder.Publish("notifications:x", "heard")
	feeder.Flush()
	peers[1].wantEOF()
	for _, p := range []*peer{peers[0], peers[2]} {
		p.want("subscribed")
		p.wantNotification("x", "heard")
	}
	wantWaiting(t, s, 0)
	if st := s.Stats(); st.Loops[0].Panics != 1 || st.Restarts != 0 {
		t.Errorf("%d panics, want 1, and %d restarts", st.Loops[0].Panics, st.Restarts)
	}
}

// A loop that begins anew while connections wait has nobody waiting, and its interest is given back.
func TestRestartWhileWaiting(t *testing.T) {
	t.Parallel()
	var log logged
	s, feeder := startServer(t, func(cfg *Config) { asking(cfg); cfg.Loops, cfg.Log = 1, slog.New(&log) })
	lp := s.loops[0]
	p := dial(t, s)
	p.send(`{"type":"subscribe","channel":"y"}`)
	wantWaiting(t, s, 1)
	feeder.Settled("notifications:y")
	feeder.Flush()
	p.want("subscribed")
	p.send(`{"type":"subscribe","channel":"x"}`)
	wantWaiting(t, s, 1)
	onLoop(t, lp, func() {
		lp.index = &fanout.Index[member]{} // which knows nothing of it
		lp.end(lp.conns.at(1), protocol.ErrKicked)
	})
	eventually(t, "the loop runs again", func() bool { return s.Stats().Restarts == 1 && lp.call(func() {}) })
	wantWaiting(t, s, 0)
	eventually(t, "the interest ends", func() bool { return s.cfg.Interest.Channels() == 0 })
	p = dial(t, s)
	p.send(`{"type":"subscribe","channel":"x"}`)
	wantWaiting(t, s, 1)
	feeder.Settled("notifications:x")
	feeder.Flush()
	p.want("subscribed")
}
