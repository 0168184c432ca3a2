package server

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/protocol"
)

// Over its burst a client is told; over twice as much it is closed.
func TestMessageRate(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.MessageRate, cfg.MessageBurst = 1, 100 })
	p := dial(t, s)
	p.write(strings.Repeat(clientFrame(true, ws.OpText, `{"type":"ping","id":1}`), 220))
	pongs, refused := 0, 0
	for {
		m, err := p.next()
		if err != nil {
			if c, ok := errors.AsType[*closed](err); !ok || c.code != protocol.CloseRateLimit {
				t.Fatalf("ends with %v, want 4102", err)
			}
			break
		}
		switch {
		case m.Type == "pong":
			pongs++
		case m.Type == "error" && m.Code == "rate_limited" && string(m.ID) == "1":
			refused++
		default:
			t.Fatalf("answer %+v", m)
		}
	}
	if pongs < 100 || pongs > 130 || refused < 70 || refused > 101 {
		t.Errorf("%d answered, %d refused, want about 100 each", pongs, refused)
	}
}

func TestPingFlood(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.MessageRate, cfg.MessageBurst = 1, 100 })
	for _, op := range []ws.OpCode{ws.OpPing, ws.OpPong} {
		p := dial(t, s)
		p.write(strings.Repeat(clientFrame(true, op, "x"), 220))
		p.wantClose(protocol.CloseRateLimit)
	}
}

// A program that speaks something else is told, and cut after some twenty times; one that errs now and then is not.
func TestMalformedMessagesAreDear(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.MessageRate, cfg.MessageBurst = 1, 100 })
	p := dial(t, s)
	p.write(strings.Repeat(clientFrame(true, ws.OpText, "GET / HTTP/1.1"), 60))
	told := 0
	for {
		m, err := p.next()
		if err != nil {
			if c, ok := errors.AsType[*closed](err); !ok || c.code != protocol.CloseRateLimit {
				t.Fatalf("ends with %v, want 4102", err)
			}
			break
		}
		if m.Code == "bad_json" {
			told++
		}
	}
	if told < 10 || told > 25 {
		t.Errorf("%d were told to be malformed, want about 20", told)
	}
}

// What was spent comes back with the seconds.
func TestBucketRefills(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.MessageRate, cfg.MessageBurst, cfg.Loops = 10, 100, 1 })
	lp := s.loops[0]
	onLoop(t, lp, func() {
		c := &conn{lastSeen: 100, burstUsed: 90}
		if lp.refill(c, 100); c.burstUsed != 90 {
			t.Errorf("%d spent in the same second, want 90", c.burstUsed)
		}
		if lp.refill(c, 103); c.burstUsed != 60 {
			t.Errorf("%d spent after 3 s, want 60", c.burstUsed)
		}
		if lp.refill(c, 1<<31); c.burstUsed != 0 {
			t.Errorf("%d spent after years, want 0", c.burstUsed)
		}
	})
}

// A client written to the article may subscribe to all the channels it may have, one by one, as soon as it is open.
func TestDefaultBurstHoldsAllChannels(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.MessageRate, cfg.MessageBurst = 100, 2000 })
	p := dial(t, s)
	for i := range 1000 {
		p.send(`{"type":"subscribe","channel":"c` + strings.Repeat("x", i%7) + `"}`)
	}
	for range 1000 {
		p.want("subscribed")
	}
}

// A client that comes back subscribes to all the channels it may have, whatever that number is set to: many in a command,
// as our client does, or one by one. The default burst has room for it, and so has a burst of just as many.
func TestAllChannelsAtOnce(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ channels, burst, step int }{
		{channels: 10_000, step: 100},
		{channels: 10_000, step: 1},
		{channels: 3_000, burst: 3_000, step: 100},
		{channels: 3_000, burst: 3_000, step: 1},
	} {
		s, _ := startServer(t, func(cfg *Config) { cfg.MessageRate, cfg.MessageBurst, cfg.MaxChannels = 1, tc.burst, tc.channels })
		p := dial(t, s)
		for from := 0; from < tc.channels; from += tc.step {
			names := make([]string, tc.step)
			for i := range names {
				names[i] = fmt.Sprintf(`"channel:%d"`, from+i)
			}
			p.send(`{"type":"subscribe","channels":[` + strings.Join(names, ",") + `]}`)
			for range names {
				p.want("subscribed")
			}
		}
	}
}

// Each counter of a connection holds the most that it can be set to.
func TestCountersHoldTheirBounds(t *testing.T) {
	t.Parallel()
	var c conn
	c.count--
	if int(c.count) < MostChannels {
		t.Errorf("a connection counts up to %d channels, MostChannels is %d", c.count, MostChannels)
	}
	s, _ := startServer(t, func(cfg *Config) { cfg.Loops, cfg.MessageRate, cfg.MessageBurst = 1, 1, MostBurst })
	p := dial(t, s)
	onLoop(t, s.loops[0], func() {
		lp := s.loops[0]
		c := lp.conns.at(1)
		if !lp.charge(c, MostBurst) || lp.charge(c, MostBurst) || c.flags&flagEnding != 0 {
			t.Errorf("a burst of %d is taken, and as much again refused: %d spent, flags %b", MostBurst, c.burstUsed, c.flags)
		}
		if lp.charge(c, 1) || c.flags&flagEnding == 0 {
			t.Errorf("what goes beyond twice the burst ends the connection: %d spent, flags %b", c.burstUsed, c.flags)
		}
		lp.settle(1 << 62)
	})
	p.wantClose(protocol.CloseRateLimit)
}

// Compressed data takes the loop's time by the byte received, whatever comes out of it: so it is charged.
func TestCompressedMessagesAreChargedByTheByte(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { compressConfig(cfg); cfg.MessageRate, cfg.MessageBurst = 1, 100 })
	p := dialDeflate(t, s)
	noise := noisy(rand.New(rand.NewPCG(1, 2)), `{"type":"ping","x":"`, 40_000)
	p.write(strings.Repeat(deflatedFrame(t, noise+`"}`), 3))
	p.wantClose(protocol.CloseRateLimit)
	if n := sum(s, func(n LoopStats) uint64 { return n.Commands }); n >= 3 {
		t.Errorf("%d messages of 40 KB each were inflated for a burst of 100", n)
	}
}

// A command that names a thousand channels is a thousand messages' work.
func TestEachChannelIsCharged(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.MessageRate, cfg.MessageBurst = 1, 100 })
	p := dial(t, s)
	channels := func(n int) string { return strings.TrimSuffix(strings.Repeat(`"a",`, n), ",") }
	p.send(`{"type":"subscribe","channels":[` + channels(60) + `]}`)
	for range 60 {
		p.want("subscribed")
	}
	if m := p.say(`{"type":"subscribe","id":1,"channels":[` + channels(60) + `]}`); m.Code != "rate_limited" || string(m.ID) != "1" {
		t.Errorf("%+v, want rate_limited", m)
	}
	p.write(strings.Repeat(clientFrame(true, ws.OpText, `{"type":"ping"}`), 100))
	p.wantClose(protocol.CloseRateLimit)
}

// A refresh is dear, but possible whatever the burst is.
func TestRefreshWithASmallBurst(t *testing.T) {
	t.Parallel()
	is, ask := askForTokens(t)
	s, _ := startServer(t, func(cfg *Config) { ask(cfg); cfg.MessageRate, cfg.MessageBurst = 10, 10 })
	p := dialRaw(t, s)
	p.write(with("Authorization: Bearer " + is.token("ann", 0, time.Minute)))
	p.wantStatus(http.StatusSwitchingProtocols)
	p.want("connected")
	p.send(`{"type":"auth","token":"` + is.token("ann", 0, time.Hour) + `"}`)
	p.want("authenticated")
	p.wantPong()
}
