package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/protocol"
	"github.com/carillon-ws/carillon/protocol/websocket"
)

// TestBacklogAgainstAModel does at random what a connection does to its backlog, and plays the client: what is sent
// must be whole frames, each channel in order, and what is missing told where it is missing.
func TestBacklogAgainstAModel(t *testing.T) {
	t.Parallel()
	channels := []string{"a", "b", "c"}
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 4))
		var b backlog
		var wire []byte // all that was sent
		next := make(map[string]int)
		dropped := make(map[string]uint64)
		controls := 0
		cost := 0 // as the loop counts it
		check := func(op string) {
			t.Helper()
			size, firm, all := -b.off, 0, 0
			for _, h := range b.frames {
				size += h.Len()
				all += h.cost()
				if h.Channel() == "" {
					firm += h.cost()
				}
				if h.refs != 1 {
					t.Fatalf("seed %d: after %s: %d references, want 1", seed, op, h.refs)
				}
			}
			if firm != b.firm || all != cost {
				t.Fatalf("seed %d: after %s: cost %d, of it firm %d; want %d, %d", seed, op, cost, b.firm, all, firm)
			}
			for _, policy := range []SlowPolicy{SlowClose, SlowDrop} {
				if age, at := b.oldest(policy); (age == ageNone) != (len(b.frames) == 0) || age != ageNone && age&^ageLast != b.frames[at].born {
					t.Fatalf("seed %d: after %s: oldest(%s) = %d, %d", seed, op, policy, age, at)
				}
			}
			if size != b.bytes || b.off < 0 || len(b.frames) > 0 && b.off >= b.frames[0].Len() || len(b.frames) == 0 && b.off != 0 {
				t.Fatalf("seed %d: after %s: bytes %d, want %d; off %d", seed, op, b.bytes, size, b.off)
			}
		}
		for range 300 {
			switch rng.IntN(6) {
			case 0, 1, 2:
				var f *protocol.Frame
				if rng.IntN(5) == 0 {
					controls++
					f = protocol.FrameOf(websocket.AppendControl(nil, ws.OpPong, []byte(fmt.Sprint(controls))), "")
				} else {
					channel := channels[rng.IntN(len(channels))]
					next[channel]++
					f, _ = protocol.NewNotification(channel, pad(fmt.Sprint(next[channel]), rng.IntN(300)), 1)
				}
				off := 0
				if b.empty() { // the socket took some of it
					off = rng.IntN(f.Len())
					wire = append(wire, f.Bytes()[:off]...)
				}
				cost += b.push(&held{Frame: f}, off)
				check("push")
			case 3:
				cost += b.tellLost(1)
				check("tellLost")
				most := 1 + rng.IntN(2000)
				part := b.peek(nil, most)
				if len(part) != min(most, b.bytes) {
					t.Fatalf("seed %d: peek(%d) gives %d of %d bytes", seed, most, len(part), b.bytes)
				}
				part = part[:rng.IntN(len(part)+1)]
				wire = append(wire, part...)
				cost -= b.advance(len(part))
				check("advance")
			case 4, 5:
				if len(b.frames) == 0 {
					break
				}
				if at := rng.IntN(len(b.frames)); rng.IntN(3) == 0 && oldestOf(&b, b.frames[at].Channel()) == at {
					dropped[b.frames[at].Channel()]++
					cost -= b.drop(at)
					check("drop")
					break
				}
				limit := rng.IntN(3000)
				before := slices.Clone(b.frames)
				bytesBefore := b.bytes
				n, freed := b.dropOldest(limit)
				cost -= freed
				check("dropOldest")
				if int(n) != len(before)-len(b.frames) {
					t.Fatalf("seed %d: dropOldest says %d frames", seed, n)
				}
				// Kept are: a half-sent one, the newest, what is no notification, and of the rest no more and no
				// fewer of the newest than fit.
				size := bytesBefore
				var want []*held
				for i, f := range before {
					if size > limit && f.Channel() != "" && i != len(before)-1 && (i > 0 || b.off == 0) {
						size -= f.Len()
						dropped[f.Channel()]++
						continue
					}
					want = append(want, f)
				}
				if !slices.Equal(b.frames, want) {
					t.Fatalf("seed %d: dropOldest(%d) keeps %d frames, want %d", seed, limit, len(b.frames), len(want))
				}
			}
		}
		if rng.IntN(3) == 0 { // the end of a slow consumer: what is half sent is finished, no more
			half := b.off > 0
			cost -= b.keepHalfSent()
			check("keepHalfSent")
			if half != (len(b.frames) == 1) || b.empty() == half {
				t.Fatalf("seed %d: keepHalfSent leaves %d frames", seed, len(b.frames))
			}
			wire = append(wire, b.peek(nil, 1<<30)...)
			readWire(t, seed, wire)
			continue
		}
		cost += b.tellLost(1)
		for b.bytes > 0 {
			part := b.peek(nil, 500)
			wire = append(wire, part...)
			cost -= b.advance(len(part))
		}
		check("the end")
		if !b.empty() || b.frames != nil {
			t.Fatalf("seed %d: something is left: %+v", seed, b)
		}
		seen, told, pongs := readWire(t, seed, wire)
		for _, channel := range channels {
			if seen[channel] != next[channel] || told[channel] != dropped[channel] {
				t.Fatalf("seed %d: %s: %d of %d came or are told, %d of %d dropped are told", seed, channel,
					seen[channel], next[channel], told[channel], dropped[channel])
			}
		}
		if pongs != controls {
			t.Fatalf("seed %d: %d of %d pongs", seed, pongs, controls)
		}
	}
}

// oldestOf is where the oldest notification of a channel stands that can be dropped; -1 if there is none.
func oldestOf(b *backlog, channel string) int {
	return slices.IndexFunc(b.frames, func(h *held) bool {
		return channel != "" && h.Channel() == channel && (b.off == 0 || h != b.frames[0])
	})
}

// readWire plays the client. seen is the number up to which all came or are told as missing.
func readWire(t *testing.T, seed uint64, wire []byte) (seen map[string]int, told map[string]uint64, pongs int) {
	t.Helper()
	seen, told = make(map[string]int), make(map[string]uint64)
	for r := bytes.NewReader(wire); r.Len() > 0; {
		f, err := ws.ReadFrame(r) //nolint:staticcheck // deprecated for what peers can do with it; these bytes are our own
		if err != nil {
			t.Fatalf("seed %d: torn stream: %v", seed, err)
		}
		if f.Header.OpCode == ws.OpPong {
			if pongs++; string(f.Payload) != fmt.Sprint(pongs) {
				t.Fatalf("seed %d: pong %q, want %d", seed, f.Payload, pongs)
			}
			continue
		}
		var m message
		if err := json.Unmarshal(f.Payload, &m); err != nil {
			t.Fatalf("seed %d: %q: %v", seed, f.Payload, err)
		}
		if m.Type == "gap" {
			seen[m.Channel] += m.Dropped
			told[m.Channel] += uint64(m.Dropped)
			continue
		}
		if seen[m.Channel]++; number(t, m.Data) != seen[m.Channel] {
			t.Fatalf("seed %d: %s: %.10q, want %d", seed, m.Channel, m.Data, seen[m.Channel])
		}
	}
	return seen, told, pongs
}

func TestBacklogOfOneFrameIsNeverOverItsCap(t *testing.T) {
	t.Parallel()
	f, _ := protocol.NewNotification("a", "x", 1)
	var b backlog
	b.push(&held{Frame: f}, 0)
	if n, freed := b.dropOldest(0); n != 0 || freed != 0 || len(b.frames) != 1 {
		t.Errorf("dropOldest drops %d frames, %d bytes of the only one", n, freed)
	}
}

// A stalled connection whose backlog is full drops with every delivery: what that costs must not grow with the backlog.
func TestDroppingTheOldestLeavesTheRestWhereItIs(t *testing.T) {
	t.Parallel()
	var b backlog
	push := func(channel string, off int) {
		f, _ := protocol.NewNotification(channel, "x", 1)
		if channel == "" {
			f = protocol.NewFrame(&protocol.Message{Type: protocol.MessagePong})
		}
		b.push(&held{Frame: f}, off)
	}
	push("half sent", 1)
	push("", 0)
	for range 1000 {
		push("a", 0)
	}
	newest, limit := &b.frames[len(b.frames)-1], b.bytes-1
	if n, _ := b.dropOldest(limit); n != 1 || len(b.frames) != 1001 || &b.frames[len(b.frames)-1] != newest {
		t.Errorf("%d dropped, %d left, the newest moved: %v; want 1, 1001, false", n, len(b.frames), &b.frames[len(b.frames)-1] != newest)
	}
}
