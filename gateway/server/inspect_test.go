package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestConnections(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, nil)
	connect := func(user string, channels ...string) (id string) {
		p := dialRaw(t, s)
		p.write(strings.Replace(handshake, "/ws", "/ws?user="+user, 1))
		p.wantStatus(http.StatusSwitchingProtocols)
		id = p.want("connected").ClientID
		if len(channels) > 0 {
			p.subscribe(channels...)
		}
		return id
	}
	ask := func(q ConnectionQuery, matched int64) []ConnectionInfo {
		t.Helper()
		list, err := s.Connections(t.Context(), q)
		if err != nil || list.Matched != matched {
			t.Fatalf("Connections(%+v) = %+v, %v, want %d", q, list, err, matched)
		}
		return list.Connections
	}
	many := make([]string, 3*maxChannelList)
	for i := range many {
		many[i] = fmt.Sprint("c", i)
	}
	ann, ann2 := connect("ann", "news", "ann"), connect("ann")
	bob := connect("bob", append([]string{"news"}, many...)...)
	silent := dialRaw(t, s)
	silent.write("GET /")
	eventually(t, "the silent socket to be accepted", func() bool {
		return s.Stats().Loops[0].Sockets+s.Stats().Loops[1].Sockets == 4
	})

	if got := ask(ConnectionQuery{Limit: 100}, 4); len(got) != 4 {
		t.Errorf("all: %+v", got)
	}
	if got := ask(ConnectionQuery{Limit: 3}, 4); len(got) != 3 {
		t.Errorf("three of all: %+v", got)
	}
	states := map[string]int{}
	for _, c := range ask(ConnectionQuery{Limit: 100}, 4) {
		states[c.State]++
	}
	if states["open"] != 3 || states["opening"] != 1 {
		t.Errorf("states %v", states)
	}
	for _, c := range ask(ConnectionQuery{User: "ann", Limit: 100}, 2) {
		if c.Client != ann && c.Client != ann2 || c.User != "ann" {
			t.Errorf("ann's: %+v, want %s and %s", c, ann, ann2)
		}
	}
	got := ask(ConnectionQuery{User: "ann", Channel: "news", Limit: 100}, 1)
	if c := got[0]; c.Client != ann || strings.Join(c.Channels, " ") != "ann news" || c.ChannelCount != 2 || c.Backlog != 0 {
		t.Errorf("ann's on news: %+v", c)
	}
	got = ask(ConnectionQuery{User: "bob", Limit: 1}, 1)
	if c := got[0]; c.Client != bob || len(c.Channels) != maxChannelList || c.ChannelCount != len(many)+1 {
		t.Errorf("bob's: %+v", c)
	}
	ask(ConnectionQuery{Channel: "nobody's", Limit: 1}, 0)
	ask(ConnectionQuery{Backlogged: true, Limit: 1}, 0)

	gone, cancel := context.WithCancel(t.Context())
	cancel()
	release := blockLoop(t, s.loops[0])
	if _, err := s.Connections(gone, ConnectionQuery{Limit: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("while a loop hangs: %v", err)
	}
	release()
}

func TestConnectionsTellsOfSlowOnes(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, func(cfg *Config) { cfg.SendBuffer = 8 << 10 })
	slow, quick := dialSlow(t, s), dial(t, s)
	slow.subscribe("a")
	quick.subscribe("b")
	for range 40 {
		feeder.Publish("notifications:a", strings.Repeat("x", 8<<10))
	}
	eventually(t, "a backlog", func() bool {
		list, err := s.Connections(t.Context(), ConnectionQuery{Backlogged: true, Limit: 10})
		return err == nil && list.Matched == 1 && list.Connections[0].Backlog > 8<<10 && list.Connections[0].Channels[0] == "a"
	})
}

// A list passes by the records that many connections leave behind.
func TestConnectionsPassesFreeRecords(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.Loops = 1 })
	p := dial(t, s)
	lp := s.loops[0]
	onLoop(t, lp, func() { takeRecords(lp, 10_000) })
	if list, err := s.Connections(t.Context(), ConnectionQuery{Limit: 10}); list.Matched != 1 || err != nil {
		t.Errorf("Connections = %+v, %v", list, err)
	}
	p.wantPong()
}
