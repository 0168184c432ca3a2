package server

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
	"golang.org/x/sys/unix"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/protocol"
)

// deflateHandshake offers what browsers do.
var deflateHandshake = offering("permessage-deflate; client_max_window_bits")

func offering(extensions string) string {
	return strings.TrimSuffix(handshake, "\r\n") + "Sec-WebSocket-Extensions: " + extensions + "\r\n\r\n"
}

// compressConfig is a server with one loop that takes permessage-deflate.
func compressConfig(cfg *Config) {
	cfg.Loops = 1
	cfg.Upgrade.Deflate = true
}

func slowCompressConfig(policy SlowPolicy) func(*Config) {
	return func(cfg *Config) {
		slowConfig(policy)(cfg)
		cfg.Upgrade.Deflate = true
	}
}

// dialDeflate is dial with permessage-deflate.
func dialDeflate(t testing.TB, s *Server) *peer {
	t.Helper()
	p := dialRaw(t, s)
	p.upgradeDeflate()
	return p
}

func (p *peer) upgradeDeflate() {
	p.t.Helper()
	p.write(deflateHandshake)
	r := p.wantStatus(http.StatusSwitchingProtocols)
	const want = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	if got := r.Header.Get("Sec-WebSocket-Extensions"); got != want {
		p.t.Fatalf("extensions %q, want %q", got, want)
	}
	p.deflate = true
	p.want("connected")
}

// deflatedText is a client's compressed payload.
func deflatedText(t testing.TB, text string) string {
	t.Helper()
	payload, err := wsflate.DefaultHelper.Compress([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return string(payload)
}

// flagged sets reserved bits of a client's frame.
func flagged(frame string, bits byte) string { return string([]byte{frame[0] | bits}) + frame[1:] }

const rsv1, rsv2 = 0x40, 0x20

// deflatedFrame is a client's compressed message.
func deflatedFrame(t testing.TB, text string) string {
	t.Helper()
	return flagged(clientFrame(true, ws.OpText, deflatedText(t, text)), rsv1)
}

// typicalJSON is a notification of about 500 bytes such as applications send.
func typicalJSON(n int) string {
	return fmt.Sprintf(`{"id":"6f1c2a3e-8f0b-4c5d-9a7e-%012x","type":"comment.created","createdAt":"2026-11-24T09:%02d:41.%03dZ",`+
		`"actor":{"id":%d,"name":"Ana Lindqvist","avatar":"https://cdn.example.com/avatars/%08x.jpg"},`+
		`"target":{"type":"post","id":%d,"title":"What we learned from moving the search index","url":"https://www.example.com/posts/%d"},`+
		`"title":"Ana Lindqvist commented on your post","body":"Did you measure it with the index cold as well? I would expect the first minute to look different.",`+
		`"read":false,"priority":"normal"}`, n*7919, n%60, n%1000, 1000+n, uint32(n)*2654435761, 5000+n, 5000+n)
}

// noisy is a payload that begins with text and whose n bytes shrink little: bytes that only look like base64.
func noisy(rng *rand.Rand, text string, n int) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-"
	b := []byte(text + " ")
	for len(b) < n {
		b = append(b, alphabet[rng.IntN(len(alphabet))])
	}
	return string(b)
}

// wantBacklogSums checks that the books of all backlogs agree with what lies in them.
func wantBacklogSums(t testing.TB, lp *loop) {
	t.Helper()
	onLoop(t, lp, func() {
		all, refs, backlogs := 0, make(map[*held]int), 0
		for slot := uint32(1); slot <= lp.conns.used; slot++ {
			c := lp.conns.at(slot)
			if c.ext == nil {
				continue
			}
			b := &c.ext.backlog
			size := -b.off
			for _, h := range b.frames {
				size += h.Len()
				refs[h]++
			}
			if size != b.bytes {
				t.Errorf("a backlog of %d bytes says it has %d", size, b.bytes)
			}
			if b.empty() {
				continue
			}
			backlogs++
			age, _ := b.oldest(lp.cfg.SlowConsumer)
			if entry := lp.ages[b.place]; entry.c != c || entry.age != age {
				t.Errorf("connection %d of age %d is %+v in the queue by age", slot, age, entry)
			}
			if b.place > 0 && lp.ages.Less(int(b.place), int(b.place-1)/2) {
				t.Errorf("connection %d stands behind a younger one", slot)
			}
		}
		for h, n := range refs {
			if h.refs != n {
				t.Errorf("a frame has %d references and says it has %d", n, h.refs)
			}
			all += h.cost() + (n-1)*refCost
		}
		if len(lp.ages) != backlogs {
			t.Errorf("%d backlogs in the queue by age, there are %d", len(lp.ages), backlogs)
		}
		if n := lp.n.backlogBytes.Load(); n != int64(all) {
			t.Errorf("BacklogBytes = %d, the backlogs cost %d", n, all)
		}
	})
}

// A publication is compressed for those who negotiated it and goes as it is to all others, on whatever loop they are.
func TestCompressedBesidePlain(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, func(cfg *Config) { cfg.Upgrade.Deflate = true })
	var plain, compressing []*peer
	const each = 4
	for range each {
		plain = append(plain, dial(t, s))
		compressing = append(compressing, dialDeflate(t, s))
	}
	all := append(append([]*peer(nil), plain...), compressing...)
	for _, p := range all {
		p.subscribe("a")
	}
	if n := sum(s, func(n LoopStats) int64 { return n.Compressing }); n != each {
		t.Errorf("Compressing = %d, want %d", n, each)
	}
	saved := 0
	for _, data := range []string{
		"short", typicalJSON(1), strings.Repeat("κόσμε 🔔", 100), typicalJSON(2), strings.Repeat("x", 200_000), strings.Repeat("too long", 300_000/8),
	} {
		feeder.Publish("notifications:a", data)
		for _, p := range all {
			p.wantNotification("a", data)
		}
		f, _ := protocol.NewNotification("a", data, 1_767_225_600_000) // the time has the same length
		whole := data == "short" || strings.HasPrefix(data, "too long")
		if small := f.In(protocol.Deflated); whole != (small.Len() < f.Len()*3/4) {
			saved += each * (f.Len() - small.Len())
		} else {
			t.Errorf("%.20q goes from %d to %d bytes", data, f.Len(), small.Len())
		}
	}
	for _, p := range all {
		if want := map[bool]int{true: 4}[p.deflate]; p.deflated != want {
			t.Errorf("deflate agreed on: %t; %d compressed frames, want %d", p.deflate, p.deflated, want)
		}
	}
	eventually(t, "what was compressed is counted", func() bool {
		return sum(s, func(n LoopStats) uint64 { return n.Compressed }) == 4*each
	})
	if got := sum(s, func(n LoopStats) uint64 { return n.SavedBytes }); got < uint64(saved)*98/100 || got > uint64(saved)*102/100 {
		t.Errorf("SavedBytes = %d, want about %d", got, saved) // the digits of the time compress one way or another
	}
	feeder.Lost()
	for _, p := range all {
		if m := p.want("gap"); m.Reason != "redis" {
			t.Errorf("gap %+v", m)
		}
		p.wantPong()
		_ = p.nc.Close()
	}
	eventually(t, "nobody is left", func() bool { return sockets(s) == 0 })
	if n := sum(s, func(n LoopStats) int64 { return n.Compressing }); n != 0 {
		t.Errorf("Compressing = %d without a connection", n)
	}
	for _, lp := range s.loops {
		onLoop(t, lp, func() {
			for _, word := range lp.takes[protocol.Deflated] {
				if word != 0 {
					t.Errorf("loop %d: a slot without a connection is marked: %x", lp.id, lp.takes[protocol.Deflated])
				}
			}
			if lp.forms[protocol.Deflated].scratch != nil {
				t.Errorf("loop %d: a run of one frame was copied", lp.id)
			}
		})
	}
}

// A slot that a compressing connection leaves says nothing of the next one.
func TestSlotAfterACompressingConnection(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, compressConfig)
	for i := range 6 {
		var p *peer
		if p = dial(t, s); i%2 == 0 {
			_ = p.nc.Close()
			eventually(t, "it is gone", func() bool { return sockets(s) == 0 })
			p = dialDeflate(t, s)
		}
		p.subscribe("a")
		feeder.Publish("notifications:a", typicalJSON(i))
		p.wantNotification("a", typicalJSON(i))
		if want := (i + 1) % 2; p.deflated != want {
			t.Errorf("connection %d: %d compressed frames, want %d", i, p.deflated, want)
		}
		if i < 4 {
			p.reset()
		} else {
			p.write(closeFrame(ws.StatusNormalClosure, ""))
			p.wantClose(ws.StatusNormalClosure)
			_ = p.nc.Close()
		}
		eventually(t, "it is gone", func() bool { return sockets(s) == 0 })
	}
}

// What piles up leaves in one write, whichever form it has.
func TestPiledUpCompressedFramesLeaveInOneWrite(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, compressConfig)
	peers := []*peer{dialDeflate(t, s), dial(t, s), dialDeflate(t, s)}
	for _, p := range peers {
		p.subscribe("a", "b")
	}
	data := func(i int) string {
		if i%3 == 0 {
			return fmt.Sprint("short ", i)
		}
		return typicalJSON(i)
	}
	release := blockLoop(t, s.loops[0])
	before := s.Stats().Loops[0]
	for i := range 90 {
		feeder.Publish("notifications:"+string("ab"[i%2]), data(i))
	}
	release()
	for _, p := range peers {
		for _, channel := range []int{0, 1} {
			for i := channel; i < 90; i += 2 {
				p.wantNotification(string("ab"[channel]), data(i))
			}
		}
		if want := map[bool]int{true: 60}[p.deflate]; p.deflated != want {
			t.Errorf("%d compressed frames, want %d", p.deflated, want)
		}
	}
	eventually(t, "what was compressed is counted", func() bool { return s.Stats().Loops[0].Compressed == 2*60 })
	if n := s.Stats().Loops[0].Writes - before.Writes; n != 2*3 {
		t.Errorf("%d writes for 2 channels to 3 connections, want 6", n)
	}
}

// A compressed frame of which the socket took a part is finished, byte for byte, before a gap or a close frame; what
// waits behind it are references to the compressed frames, counted as such.
func TestHalfSentCompressedFrameIsFinished(t *testing.T) {
	t.Parallel()
	for _, policy := range []SlowPolicy{SlowDrop, SlowClose} {
		s, feeder := startServer(t, slowCompressConfig(policy))
		lp := s.loops[0]
		p := dialSlowRaw(t, s)
		p.upgradeDeflate()
		p.subscribe("a")
		rng := rand.New(rand.NewPCG(1, 2))
		data := []string{""} // numbered from 1
		for i := 1; i <= 200; i++ {
			data = append(data, noisy(rng, fmt.Sprint(i), 1500))
		}
		release := blockLoop(t, lp)
		for _, d := range data[1:41] { // one run, too long for the socket
			feeder.Publish("notifications:a", d)
		}
		release()
		eventually(t, "there is a backlog", func() bool { return s.Stats().Loops[0].Backlogged == 1 })
		onLoop(t, lp, func() {
			b := &lp.conns.at(1).ext.backlog
			if b.off == 0 || len(b.frames) < 5 {
				t.Errorf("%d frames wait, %d bytes of the first are sent: nothing is tried here", len(b.frames), b.off)
			}
			for _, f := range b.frames {
				if plain := 1500 + len(`{"type":"notification","channel":"a","data":"","timestamp":1767225600000}`); f.Len() > plain*85/100 || f.Channel() != "a" {
					t.Errorf("a frame of %d bytes for channel %q waits, uncompressed it has %d", f.Len(), f.Channel(), plain)
				}
			}
		})
		wantBacklogSums(t, lp)
		for _, d := range data[41:] {
			feeder.Publish("notifications:a", d)
		}
		eventually(t, "the policy acts", func() bool {
			return closedAs(s, "slow_consumer") > 0 ||
				s.Stats().Loops[0].Deliveries == 200 && labelCount(s, func(n LoopStats) map[string]uint64 { return n.Dropped }, "slow") > 0
		})
		wantBacklogSums(t, lp)
		seen := 0
		for seen < 200 {
			m, err := p.next()
			if c, ok := errors.AsType[*closed](err); ok && policy == SlowClose && c.code == protocol.CloseSlowConsumer {
				break
			}
			if err != nil {
				t.Fatalf("policy %s: %v after %d", policy, err, seen)
			}
			if m.Type == "gap" {
				seen += m.Dropped
			} else if seen++; m.Data != data[seen] {
				t.Fatalf("policy %s: %.10q, want number %d", policy, m.Data, seen)
			}
		}
		if policy == SlowDrop {
			p.wantPong()
		}
		if p.deflated < 3 {
			t.Errorf("policy %s: %d compressed frames", policy, p.deflated)
		}
		_ = p.nc.Close()
		wantNoBacklog(t, s)
	}
}

// Slow clients of both kinds, under traffic that can be dropped and traffic that cannot: whatever happens the stream
// parses, is in order, and every gap is told where it is and with the right number.
func TestSlowCompressingConsumersDropAtRandom(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, func(cfg *Config) {
		slowCompressConfig(SlowDrop)(cfg)
		cfg.Loops = 2
		cfg.MaxBacklog = 20_000
	})
	const clients, n = 8, 2000
	channels := []string{"a", "b", "c"}
	rng := rand.New(rand.NewPCG(7, 11))
	last := make(map[string]int)
	peers := make([]*peer, clients)
	for i := range peers {
		if peers[i] = dialSlowRaw(t, s); i%4 == 0 {
			peers[i].upgrade()
		} else {
			peers[i].upgradeDeflate()
		}
		peers[i].subscribe(channels...)
	}
	dropped := func() uint64 { return labelCount(s, func(n LoopStats) map[string]uint64 { return n.Dropped }, "slow") }
	type publication struct{ channel, data string }
	var plan []publication
	for range n {
		channel := channels[rng.IntN(len(channels))]
		last[channel]++
		plan = append(plan, publication{"notifications:" + channel, noisy(rng, fmt.Sprint(last[channel]), 10+rng.IntN(2000))})
	}
	var wg sync.WaitGroup
	for i, pub := range plan {
		if rng.IntN(20) == 0 { // draws an answer, which is not compressed, into a backlog, between the notifications
			peers[rng.IntN(clients)].send(`{"type":"ping"}`)
		}
		feeder.Publish(pub.channel, pub.data)
		if i%100 == 99 {
			for _, lp := range s.loops {
				wantBacklogSums(t, lp)
			}
		}
		if i == n/4 {
			eventually(t, "some are dropped", func() bool { return dropped() > 0 })
			for _, p := range peers {
				wg.Go(func() { p.readWithGaps(last) })
			}
		}
	}
	wg.Wait()
	wantNoBacklog(t, s)
	if n := sum(s, func(n LoopStats) uint64 { return n.Panics }); n != 0 {
		t.Errorf("%d panics", n)
	}
	for i, p := range peers {
		if p.deflate == (p.deflated == 0) {
			t.Errorf("client %d: deflate agreed on: %t; %d compressed frames", i, p.deflate, p.deflated)
		}
	}
}

// What the offers are answered on the wire, and what is then allowed. protocol has the whole of RFC 7692 section 7.1.
func TestCompressionNegotiated(t *testing.T) {
	t.Parallel()
	on, _ := startServer(t, compressConfig)
	off, _ := startServer(t, func(cfg *Config) { cfg.Loops = 1 })
	const answer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	for _, tc := range []struct {
		name, head string
		s          *Server
		status     int
		want       string
	}{
		{"not offered", handshake, on, 101, ""},
		{"offered, turned off", deflateHandshake, off, 101, ""},
		{"as browsers do", deflateHandshake, on, 101, answer},
		{"server_max_window_bits=15", offering("permessage-deflate; server_max_window_bits=15"), on, 101, answer + "; server_max_window_bits=15"},
		{"server_max_window_bits=10", offering("permessage-deflate; server_max_window_bits=10"), on, 101, ""},
		{"second offer", offering("permessage-deflate; server_max_window_bits=10, permessage-deflate"), on, 101, answer},
		{"unknown parameter", offering("permessage-deflate; level=9"), on, 101, ""},
		{"doubled parameter", offering("permessage-deflate; client_no_context_takeover; client_no_context_takeover"), on, 101, ""},
		{"another extension", offering("permessage-bzip2"), on, 101, ""},
		{"no list", offering("permessage-deflate;"), on, 400, ""},
		{"no list, turned off", offering("permessage-deflate;"), off, 101, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := dialRaw(t, tc.s)
			p.write(tc.head)
			r := p.wantStatus(tc.status)
			if got := r.Header.Get("Sec-WebSocket-Extensions"); got != tc.want {
				t.Fatalf("extensions %q, want %q", got, tc.want)
			}
			if tc.status != 101 {
				return
			}
			p.want("connected")
			p.write(deflatedFrame(t, `{"type":"ping"}`))
			if tc.want == "" {
				p.wantClose(ws.StatusProtocolError)
				return
			}
			p.want("pong")
		})
	}
}

// A compressed message may come in the segment of the handshake, as any other.
func TestCompressedFrameInTheSegmentOfTheHandshake(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, compressConfig)
	p := dialRaw(t, s)
	p.write(deflateHandshake + deflatedFrame(t, `{"type":"subscribe","channel":"a"}`))
	p.wantStatus(http.StatusSwitchingProtocols)
	p.want("connected")
	p.want("subscribed")
}

// bomb is a message of n MiB in about n KB.
func bomb(t testing.TB, n int) string {
	t.Helper()
	const tail = "\x00\x00\xff\xff"
	one := deflatedText(t, strings.Repeat("x", 1<<20)) + tail
	return flagged(clientFrame(true, ws.OpText, strings.TrimSuffix(strings.Repeat(one, n), tail)), rsv1)
}

// T15, T17: what a client may compress, and how it ends if it does so wrongly. protocol has the rest.
func TestCompressedFrames(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, compressConfig)
	const ping = `{"type":"ping","id":7}`
	small := deflatedText(t, ping)
	for _, tc := range []struct {
		name, in string
		pongs    int // answers to messages
		control  string
		code     ws.StatusCode
	}{
		{name: "one frame", in: deflatedFrame(t, ping), pongs: 1},
		{name: "not compressed", in: clientFrame(true, ws.OpText, ping), pongs: 1},
		{name: "both in turn", in: deflatedFrame(t, ping) + clientFrame(true, ws.OpText, ping) + deflatedFrame(t, ping), pongs: 3},
		{name: "each of its own window", in: deflatedFrame(t, ping) + deflatedFrame(t, ping), pongs: 2},
		{name: "fragments", in: flagged(clientFrame(false, ws.OpText, small[:3]), rsv1) + clientFrame(false, 0, small[3:5]) + clientFrame(true, 0, small[5:]), pongs: 1},
		{name: "ping between fragments", in: flagged(clientFrame(false, ws.OpText, small[:3]), rsv1) + clientFrame(true, ws.OpPing, "p") + clientFrame(true, 0, small[3:]), control: "p", pongs: 1},
		{name: "as large as may be", in: deflatedFrame(t, pad(ping, 64<<10)[:64<<10-1]+" "), pongs: -1},
		{name: "T15 RSV1 of a continuation", in: flagged(clientFrame(false, ws.OpText, small[:3]), rsv1) + flagged(clientFrame(true, 0, small[3:]), rsv1), code: 1002},
		{name: "T15 RSV1 of a ping", in: flagged(clientFrame(true, ws.OpPing, "p"), rsv1), code: 1002},
		{name: "T15 RSV1 of a close", in: flagged(closeFrame(1000, ""), rsv1), code: 1002},
		{name: "T15 RSV2", in: flagged(deflatedFrame(t, ping), rsv2), code: 1002},
		{name: "T15 corrupt", in: flagged(clientFrame(true, ws.OpText, ping), rsv1), code: 1007},
		{name: "T15 corrupt in fragments", in: flagged(clientFrame(false, ws.OpText, "\x07"), rsv1) + clientFrame(true, 0, "\x07"), code: 1007},
		{name: "T15 cut", in: flagged(clientFrame(true, ws.OpText, small[:len(small)/2]), rsv1), code: 1007},
		{name: "T15 not UTF-8", in: deflatedFrame(t, "\"\xff\""), code: 1007},
		{name: "T15 good, then corrupt", in: deflatedFrame(t, ping) + flagged(clientFrame(true, ws.OpText, "\x07"), rsv1), pongs: 1, code: 1007},
		{name: "T17 one byte too many", in: deflatedFrame(t, strings.Repeat(" ", 64<<10+1)), code: 1009},
		{name: "T17 bomb", in: bomb(t, 60), code: 1009},
		{name: "T17 too many on the wire", in: flagged(header64(64<<10+1), rsv1), code: 1009},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for _, step := range []int{len(tc.in), 1} { // at once, and a byte at a time
				if step == 1 && len(tc.in) > 200 {
					break
				}
				p := dialDeflate(t, s)
				for rest := tc.in; rest != ""; rest = rest[min(step, len(rest)):] {
					if _, err := p.nc.Write([]byte(rest[:min(step, len(rest))])); err != nil {
						break // it was closed at a byte before the last
					}
				}
				if tc.control != "" {
					p.wantOp(ws.OpPong, tc.control)
				}
				if tc.pongs < 0 {
					p.want("error")
				}
				for range tc.pongs {
					p.want("pong")
				}
				if tc.code != 0 {
					p.wantClose(tc.code)
					continue
				}
				p.wantPong()
			}
		})
	}
}

// T17: a bomb costs no memory, for however many connections it comes from. Not parallel: it counts allocations.
func TestBombsCostNoMemory(t *testing.T) {
	s, _ := startServer(t, compressConfig)
	bomb := bomb(t, 60)
	if len(bomb) > 64<<10 {
		t.Fatalf("the bomb has %d bytes: its header would be refused", len(bomb))
	}
	throw := func() {
		p := dialDeflate(t, s)
		p.write(bomb)
		p.wantClose(ws.StatusMessageTooBig)
		p.reset()
	}
	throw() // the inflater and its buffer are made
	heap := heapAfterGC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const n = 30
	for range n {
		throw()
	}
	runtime.ReadMemStats(&after)
	// The message is kept until it is whole, 60 KB that append doubles up to; what it inflates to goes where the one
	// before it went. The test's own client is in the figure.
	if took := (after.TotalAlloc - before.TotalAlloc) / n; took > 512<<10 {
		t.Errorf("a bomb of 60 MiB takes %d bytes of memory", took)
	}
	eventually(t, "they are gone", func() bool { return sockets(s) == 0 })
	if now := heapAfterGC(); now > heap+256<<10 {
		t.Errorf("%d bytes of heap before %d bombs, %d behind them", heap, n, now)
	}
}

// T18: a connection that negotiated it costs what any other does. Not parallel: it measures the heap.
func TestCompressingConnectionCostsNoMemory(t *testing.T) {
	const n = 2000
	s, feeder := startServer(t, compressConfig)
	measure := func(head string) float64 {
		fds := make([]int, 0, n+1)
		defer func() {
			for _, fd := range fds {
				_ = unix.Close(fd)
			}
			eventually(t, "they are gone", func() bool { return sockets(s) == 0 })
		}()
		hear := func() { // what a first delivery makes belongs to the loop
			feeder.Publish("notifications:all", typicalJSON(1))
			onLoop(t, s.loops[0], func() {})
		}
		fds = append(fds, rawClientWith(t, s.Addr(), "all", head))
		hear()
		before := heapAfterGC()
		for range n {
			fds = append(fds, rawClientWith(t, s.Addr(), "all", head))
		}
		hear()
		return (float64(heapAfterGC()) - float64(before)) / n
	}
	measure(deflateHandshake) // grows what is grown once: the arena's chunks, gnet's maps
	plain, compressing := measure(handshake), measure(deflateHandshake)
	if ratio := compressing / plain; ratio > 1.1 {
		t.Errorf("%.0f bytes of heap a compressing connection, %.0f a plain one", compressing, plain)
	}
	t.Logf("%.0f bytes of heap a compressing connection, %.0f a plain one", compressing, plain)
}

// Not parallel: it counts all allocations.
func TestAllocationsCompressed(t *testing.T) {
	s, _ := startServer(t, compressConfig)
	lp := s.loops[0]
	const subscribers, runs = 60, 5 // their sockets have room for all of it
	for i := range subscribers {
		if i%2 == 0 {
			dialDeflate(t, s).subscribe("a")
		} else {
			dial(t, s).subscribe("a")
		}
	}
	eventually(t, "all are subscribed", func() bool {
		n := 0
		onLoop(t, lp, func() { n = lp.index.Subscribers("a") })
		return n == subscribers
	})
	one, _ := protocol.NewNotification("a", typicalJSON(1), 1)
	two, _ := protocol.NewNotification("a", typicalJSON(2), 1)
	items := []fanout.Item{{Channel: "a", Frame: one}, {Channel: "a", Frame: two}}
	frame := []byte(deflatedFrame(t, `{"type":"ping","id":"x"}`))
	data := make([]byte, len(frame))
	for name, f := range map[string]func(){
		"fan-out of one frame":     func() { sendAll(lp, items[:1]) },
		"fan-out of joined frames": func() { sendAll(lp, items) },
		"compressed command": func() {
			copy(data, frame) // read changes it
			lp.current = lp.conns.at(1)
			lp.read(lp.current, data)
			lp.settleSince(0)
			lp.current = nil
		},
	} {
		var allocs float64
		onLoop(t, lp, func() { allocs = testing.AllocsPerRun(runs, f) }) // the first run, which compresses, is not counted
		if allocs > 0 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
	const want = (1 + runs) * 3 * subscribers / 2
	if n := s.Stats().Loops[0]; n.Compressed != want || n.SavedBytes < 100*want {
		t.Errorf("Compressed = %d, SavedBytes = %d, want %d of them", n.Compressed, n.SavedBytes, want)
	}
}

// sendAll sends items as a turn of their own.
func sendAll(lp *loop, items []fanout.Item) {
	lp.turn.Load(items)
	lp.loaded = true
	lp.sending = true
	if !lp.sendTurn(1<<62) || lp.n.backlogged.Load() != 0 {
		panic("the sockets are full")
	}
}

// A second implementation, with its own idea of when to compress, in both modes that it can ask for.
func TestCoderWebsocketCompressed(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, func(cfg *Config) { cfg.Upgrade.Deflate = true })
	for i, mode := range []websocket.CompressionMode{websocket.CompressionNoContextTakeover, websocket.CompressionContextTakeover} {
		ctx := t.Context()
		c, r, err := websocket.Dial(ctx, "ws://"+s.Addr()+"/ws", &websocket.DialOptions{CompressionMode: mode, CompressionThreshold: 1})
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Header.Get("Sec-WebSocket-Extensions"); !strings.HasPrefix(got, "permessage-deflate;") {
			t.Errorf("extensions %q", got)
		}
		read := func(want string) {
			t.Helper()
			_, b, err := c.Read(ctx)
			if err != nil || !strings.Contains(string(b), want) {
				t.Fatalf("Read = %.100q, %v; want %q in it", b, err, want)
			}
		}
		c.SetReadLimit(1 << 20)
		read(`"type":"connected"`)
		channel := fmt.Sprint("user:", i)
		for range 3 {
			if err := c.Write(ctx, websocket.MessageText, []byte(`{"type":"subscribe","channel":"`+channel+`","id":"s1"}`)); err != nil {
				t.Fatal(err)
			}
			read(`"type":"subscribed"`)
		}
		for _, data := range []string{"short", strings.Repeat("hello", 100), strings.Repeat("hello", 20_000), strings.Repeat("hello", 100)} {
			feeder.Publish("notifications:"+channel, data)
			read(`"data":"` + data + `"`)
		}
		if err := c.Close(websocket.StatusNormalClosure, "bye"); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
	eventually(t, "both are counted", func() bool { return sum(s, func(n LoopStats) uint64 { return n.Compressed }) == 6 })
}
