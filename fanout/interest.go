package fanout

import (
	"hash/maphash"
	"sync"
)

// MaxLoops is the most loops that a gateway can have: [Interest] has one bit for each.
const MaxLoops = 64

// interestShards is how many shards the interest has, each with its own lock, so that a loop that changes it and the
// feeder that reads it seldom wait for each other.
const interestShards = 64

// Interest says which loops have a subscriber of a channel. A loop changes it when a channel gets its first or loses its
// last subscriber on that loop; the feeder reads it. Safe to call from any goroutine. A call holds a lock for one map
// operation, not longer.
type Interest struct {
	seed   maphash.Seed
	shards [interestShards]interestShard
}

type interestShard struct {
	mu    sync.RWMutex
	loops map[string]uint64 // Guarded by mu. Invariant: no value is 0.
	_     [32]byte          // no two shards share a cache line
}

// NewInterest returns an empty Interest.
func NewInterest() *Interest {
	in := &Interest{seed: maphash.MakeSeed()}
	for i := range in.shards {
		in.shards[i].loops = make(map[string]uint64)
	}
	return in
}

func (in *Interest) shard(channel string) *interestShard {
	return &in.shards[maphash.String(in.seed, channel)%interestShards]
}

// Add notes that the loop has a subscriber of the channel. The string is kept.
func (in *Interest) Add(channel string, loop int) {
	s := in.shard(channel)
	s.mu.Lock()
	s.loops[channel] |= 1 << loop
	s.mu.Unlock()
}

// Remove notes that the loop no longer has one.
func (in *Interest) Remove(channel string, loop int) {
	s := in.shard(channel)
	s.mu.Lock()
	if left := s.loops[channel] &^ (1 << loop); left != 0 {
		s.loops[channel] = left
	} else {
		delete(s.loops, channel)
	}
	s.mu.Unlock()
}

// Loops returns the loops that have a subscriber of the channel: bit i is loop i.
func (in *Interest) Loops(channel string) uint64 {
	s := in.shard(channel)
	s.mu.RLock()
	loops := s.loops[channel]
	s.mu.RUnlock()
	return loops
}

// Channels returns how many channels have a subscriber on any loop. It locks every shard in turn: it is for statistics.
func (in *Interest) Channels() int {
	n := 0
	for i := range in.shards {
		s := &in.shards[i]
		s.mu.RLock()
		n += len(s.loops)
		s.mu.RUnlock()
	}
	return n
}
