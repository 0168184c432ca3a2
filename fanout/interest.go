package fanout

import (
	"hash/maphash"
	"sync"
)

// MaxLoops is the most loops a gateway can have: interest is one bit a loop.
const MaxLoops = 64

// interestShards is how many locks the interest is spread over, so that a loop that subscribes seldom meets the
// feeder that looks up.
const interestShards = 64

// Interest says which loops hold a subscriber of a channel. Loops write it, when a channel gets its first or loses
// its last subscriber there; the feeder reads it. Safe to call from any goroutine; calls hold a lock for the time of
// a map operation, never longer.
type Interest struct {
	seed   maphash.Seed
	shards [interestShards]interestShard
}

type interestShard struct {
	mu    sync.RWMutex
	loops map[string]uint64 // Guarded by mu. Invariant: no value is 0.
	_     [32]byte          // keeps two shards off one cache line
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

// Add says that the loop holds a subscriber of the channel. The string is kept.
func (in *Interest) Add(channel string, loop int) {
	s := in.shard(channel)
	s.mu.Lock()
	s.loops[channel] |= 1 << loop
	s.mu.Unlock()
}

// Remove says that the loop no longer holds one.
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

// Loops returns the loops that hold a subscriber: bit i is loop i.
func (in *Interest) Loops(channel string) uint64 {
	s := in.shard(channel)
	s.mu.RLock()
	loops := s.loops[channel]
	s.mu.RUnlock()
	return loops
}

// Channels counts the channels with a subscriber on any loop. It visits every shard: for statistics.
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
