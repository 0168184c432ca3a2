package server

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/uuid"
)

// TestWheelAgainstAModel schedules, removes and lets time pass at random. The model is a map of who is due when.
func TestWheelAgainstAModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 5))
		var a arena
		var w wheel
		w.now = 1 + rng.Uint32N(1000)
		clock := w.now
		conns := make([]*conn, 200)
		for i := range conns {
			conns[i] = a.take()
		}
		due := make(map[*conn]uint32) // the model
		schedule := func(c *conn, at uint32) {
			w.schedule(&a, c, at)
			at = min(max(at, w.now+1), w.now+wheelSlots-1)
			if old, on := due[c]; !on || at < old {
				due[c] = at
			}
		}
		for range 2000 {
			c := conns[rng.IntN(len(conns))]
			switch rng.IntN(10) {
			case 0, 1, 2, 3, 4, 5:
				schedule(c, clock+rng.Uint32N(200)-min(clock, 20))
			case 6, 7:
				w.remove(&a, c)
				delete(due, c)
			case 8:
				clock += rng.Uint32N(3)
				if rng.IntN(20) == 0 {
					clock += 300 // the process was stopped for long
				}
			case 9:
				for i := 0; ; i++ {
					if rng.IntN(50) == 0 {
						break // the deadline came first: the next call goes on
					}
					c := w.pop(&a, clock)
					if c == nil {
						for c, at := range due {
							if at <= clock {
								t.Fatalf("seed %d: connection %d, due at %d, was not popped by %d", seed, c.slot, at, clock)
							}
						}
						if w.pending(clock) {
							t.Fatalf("seed %d: pending when all is done", seed)
						}
						break
					}
					if at, on := due[c]; !on || at > clock {
						t.Fatalf("seed %d: connection %d popped at %d, due at %d, %v", seed, c.slot, clock, at, on)
					}
					delete(due, c)
					if rng.IntN(3) == 0 { // put back, as whoever is not overdue
						schedule(c, clock+1+rng.Uint32N(10))
					}
				}
			}
			for _, c := range conns {
				if at := due[c]; at != c.due {
					t.Fatalf("seed %d: connection %d is due at %d, want %d", seed, c.slot, c.due, at)
				}
			}
			for _, at := range due {
				if at <= clock && !w.pending(clock) {
					t.Fatalf("seed %d: not pending, with one due at %d by %d", seed, at, clock)
				}
			}
		}
	}
}

func TestArena(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 6))
	var a arena
	live := make(map[uint32]*conn)
	var key uint64
	for range 20_000 {
		if rng.IntN(5) > 1 || len(live) == 0 {
			c := a.take()
			if c.slot == 0 || c.key != 0 || c.state != stateFree || live[c.slot] != nil {
				t.Fatalf("take gives %+v", *c)
			}
			key++
			c.key = key
			live[c.slot] = c
			continue
		}
		for slot, c := range live { // any
			if a.at(slot) != c || c.slot != slot || c.key == 0 {
				t.Fatalf("record %d has moved or changed", slot)
			}
			a.put(c)
			delete(live, slot)
			break
		}
	}
	if int(a.used) > 15_000 || int(a.used) < len(live) {
		t.Errorf("%d records used for %d live ones", a.used, len(live))
	}
}

func TestBitset(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 7))
	var b bitset
	set := make(map[uint32]bool)
	for range 20_000 {
		slot := rng.Uint32N(3000)
		switch rng.IntN(3) {
		case 0:
			b.set(slot)
			set[slot] = true
		case 1:
			b.clear(slot)
			delete(set, slot)
		}
		if probe := rng.Uint32N(4000); b.has(probe) != set[probe] {
			t.Fatalf("has(%d) = %v", probe, !set[probe])
		}
	}
}

func TestClientIDs(t *testing.T) {
	t.Parallel()
	ids, others := newClientIDs(), newClientIDs()
	seen := make(map[string]bool)
	keys := []uint64{1 << 61, 1<<62 - 1}
	for key := range uint64(20_000) {
		keys = append(keys, key+1)
	}
	for _, key := range keys {
		for _, id := range []string{ids.of(key), others.of(key)} {
			u, err := uuid.Parse(id)
			if err != nil || u.Version() != 4 || u.Variant() != uuid.RFC4122 || u.String() != id || seen[id] {
				t.Fatalf("of(%d) = %q, %v; want a new UUID of version 4", key, id, err)
			}
			seen[id] = true
		}
		if back, ok := ids.key(ids.of(key)); !ok || back != key {
			t.Fatalf("key(of(%d)) = %d, %t", key, back, ok)
		}
		if _, ok := ids.key(others.of(key)); ok {
			t.Fatalf("key takes the id of %d of another process", key)
		}
		if first, again := ids.of(key), ids.of(key); first != again {
			t.Fatalf("of(%d) is %q, then %q", key, first, again)
		}
	}
}

// A duration in seconds can be added to a time, however long it is.
func TestSeconds(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]uint32{
		0: 0, 1: 1, time.Second: 1, time.Second + 1: 2, 60 * 24 * time.Hour: 60 * 24 * 3600, math.MaxInt64: math.MaxInt32,
	} {
		if got := seconds(d); got != want {
			t.Errorf("seconds(%s) = %d, want %d", d, got, want)
		}
	}
}
