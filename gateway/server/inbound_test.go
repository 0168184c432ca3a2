package server

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// halfMessage is a ping, of which the last byte is missing, and that byte.
func halfMessage(n int) (most, last string) {
	frame := clientFrame(true, ws.OpText, `{"type":"ping"`+strings.Repeat(" ", n)+`}`)
	return frame[:len(frame)-1], frame[len(frame)-1:]
}

// holds waits until unfinished messages hold so many bytes at least.
func holds(t *testing.T, s *Server, least int64) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d bytes are held", least), func() bool { return s.Stats().InboundBytes >= least })
}

// TestUnfinishedMessagesAreBoundedInAll: over the bound, the oldest of the address that holds most goes; whoever holds
// little loses nothing, whenever it began.
func TestUnfinishedMessagesAreBoundedInAll(t *testing.T) {
	t.Parallel()
	for _, loops := range []int{1, 2} {
		t.Run(fmt.Sprint(loops, " loops"), func(t *testing.T) {
			t.Parallel()
			const limit, size, attackers = 1 << 20, 40_000, 100
			s, _ := startServer(t, func(cfg *Config) { cfg.Loops, cfg.MaxInboundTotal = loops, limit })
			most, last := halfMessage(size)
			bystander := dial(t, s)
			bystander.write(most)
			holds(t, s, size)

			var all []*peer
			for range attackers {
				p := dialFrom(t, s, "127.0.0.2")
				p.upgrade()
				p.write(most)
				all = append(all, p)
			}
			const fit = limit / (2 * size) // their buffers have up to twice the size
			eventually(t, "the oldest were closed", func() bool { return closedAs(s, "inbound_full") > attackers/2 })
			eventually(t, "no more is held than may be", func() bool { return s.Stats().InboundBytes <= limit })
			if n := closedAs(s, "inbound_full"); n > attackers-fit/2 {
				t.Errorf("%d of %d were closed, and there is room for %d", n, attackers, fit)
			}
			if c := all[0].wantClose(1013); !strings.HasPrefix(c.reason, "retry=") {
				t.Errorf("closed with %v, want when to return", c)
			}
			newest := all[attackers-1]
			newest.write(last)
			newest.want("pong")
			bystander.write(last)
			bystander.want("pong")
			for _, p := range all {
				_ = p.nc.Close()
			}
			eventually(t, "nothing is held", func() bool { return s.Stats().InboundBytes == 0 })
			bystander.write(most + last) // as if nothing had been
			bystander.want("pong")
		})
	}
}

// TestManySmallHalvesHoldLittleRoom: a message of which only the first byte has come costs the records around it.
func TestManySmallHalvesHoldLittleRoom(t *testing.T) {
	t.Parallel()
	const room = 50
	s, _ := startServer(t, func(cfg *Config) { cfg.MaxMessage, cfg.MaxInboundTotal = 1024, (room+1)*unfinishedCost-1 })
	for range 2 * room {
		p := dialFrom(t, s, "127.0.0.2")
		p.upgrade()
		p.write("\x81")
	}
	eventually(t, "those over the bound are closed", func() bool { return closedAs(s, "inbound_full") == room })
}

// TestUnfinishedRequestsAreBoundedInAll: the same for request heads, which are answered 503.
func TestUnfinishedRequestsAreBoundedInAll(t *testing.T) {
	t.Parallel()
	const limit, attackers = 256 << 10, 200
	s, _ := startServer(t, func(cfg *Config) { cfg.MaxInboundTotal = limit })
	head, rest := handshake[:len(handshake)-2]+"X-Long: "+strings.Repeat("a", 4000), "\r\n\r\n"
	bystander := dialRaw(t, s)
	bystander.write(head)
	holds(t, s, 4000)
	var all []*peer
	attack := func() {
		p := dialFrom(t, s, "127.0.0.3")
		p.write(head)
		all = append(all, p)
	}
	for range attackers - 1 {
		attack()
	}
	eventually(t, "all heads are read", func() bool { // one loop can be slower than the other
		unread := 0
		for _, lp := range s.loops {
			onLoop(t, lp, func() {
				for slot := uint32(1); slot <= lp.conns.used; slot++ {
					if c := lp.conns.at(slot); c.state == stateOpening && c.flags&flagAsked == 0 {
						unread++
					}
				}
			})
		}
		return unread == 0 && s.Stats().Loops[0].Accepted+s.Stats().Loops[1].Accepted == attackers
	})
	attack() // the newest
	eventually(t, "the oldest are refused", func() bool { return refusedAs(s, "inbound_full") > attackers/2 })
	eventually(t, "no more is held than may be", func() bool { return s.Stats().InboundBytes <= limit })
	if r := all[0].wantStatus(http.StatusServiceUnavailable); r.Header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	for _, p := range []*peer{all[attackers-1], bystander} {
		p.write(rest)
		p.wantStatus(http.StatusSwitchingProtocols)
		p.want("connected")
	}
	for _, p := range all {
		_ = p.nc.Close()
	}
	eventually(t, "nothing is held", func() bool { return s.Stats().InboundBytes == 0 })
}

// TestUnfinishedMessagesBehindAProxy: behind a trusted proxy the addresses that it names are told apart, whether there
// is a limit of connections for them or not.
func TestUnfinishedMessagesBehindAProxy(t *testing.T) {
	t.Parallel()
	line := func(client string) string { return "PROXY TCP4 " + client + " 192.0.2.1 5000 8080\r\n" + handshake }
	for name, tt := range map[string]struct {
		change func(*Config)
		head   func(client string) string
	}{
		"X-Forwarded-For":        {func(*Config) {}, forwarded},
		"X-Forwarded-For, limit": {func(cfg *Config) { cfg.MaxPerAddress = 1000 }, forwarded},
		"PROXY protocol":         {func(cfg *Config) { cfg.ProxyProtocol = true }, line},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const size, attackers = 40_000, 60
			s, _ := startServer(t, func(cfg *Config) {
				cfg.TrustedProxies, cfg.MaxInboundTotal = loopbackNet, 1<<20
				tt.change(cfg)
			})
			from := func(client string) *peer {
				p := dialRaw(t, s)
				p.write(tt.head(client))
				p.wantStatus(http.StatusSwitchingProtocols)
				p.want("connected")
				return p
			}
			most, last := halfMessage(size)
			bystander := from("203.0.113.1")
			bystander.write(most)
			holds(t, s, size)
			first := from("203.0.113.2")
			first.write(most)
			for range attackers {
				from("203.0.113.2").write(most)
			}
			first.wantClose(1013)
			bystander.write(last)
			bystander.want("pong")
		})
	}
}

// TestInboundCountsWhatIsHeld: whatever begins, grows and ends, in whatever order, the sums are those of what is there,
// and who is given up is the oldest of the largest.
func TestInboundCountsWhatIsHeld(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(4, 4))
	in := inbound{limit: 50_000}
	var live []*unfinished // oldest first
	for step := range 20_000 {
		switch n := rnd.IntN(10); {
		case n < 4 || len(live) == 0:
			addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(rnd.IntN(8))})
			live = append(live, in.begin(nil, &conn{}, addr, 1+rnd.Int64N(1000)))
		case n < 7:
			in.resize(live[rnd.IntN(len(live))], 1+rnd.Int64N(2000))
		default:
			at := rnd.IntN(len(live))
			in.end(live[at])
			live = append(live[:at], live[at+1:]...)
		}
		bytes, held := map[*holder]int64{}, int64(0)
		oldest := map[*holder]*unfinished{}
		counted := int64(0)
		for _, u := range live {
			held += u.bytes
			if u.holder == nil {
				continue
			}
			counted += u.bytes
			bytes[u.holder] += u.bytes
			if oldest[u.holder] == nil {
				oldest[u.holder] = u
			}
		}
		if in.held.Load() != held || in.counted.Load() != counted || len(in.largest) != len(bytes) || len(in.holders) != len(bytes) {
			t.Fatalf("step %d: held %d, counted %d, %d holders; want %d, %d, %d", step, in.held.Load(), in.counted.Load(), len(in.largest), held, counted, len(bytes))
		}
		for i, h := range in.largest {
			if h.at != i || h.bytes != bytes[h] || h.oldest != oldest[h] || in.holders[h.addr] != h || h.bytes > in.largest[0].bytes {
				t.Fatalf("step %d: holder %d is %+v; it holds %d", step, i, h, bytes[h])
			}
		}
		if in.over() {
			want := in.largest[0].oldest
			if victims := in.shed(); len(victims) == 0 || victims[0] != want || in.over() {
				t.Fatalf("step %d: given up: %d, still over: %v", step, len(victims), in.over())
			}
		}
	}
	for _, u := range live {
		in.end(u)
	}
	if in.held.Load() != 0 || in.counted.Load() != 0 || len(in.holders) != 0 {
		t.Errorf("at the end: held %d, counted %d, %d holders", in.held.Load(), in.counted.Load(), len(in.holders))
	}
}
