package fanout

import (
	"hash/maphash"
	"maps"
	"sync"
)

// MaxLoops is the most loops that a gateway can have: [Interest] has one bit for each.
const MaxLoops = 64

// interestShards is how many shards the interest has, each with its own lock, so that a loop that changes it and the
// feeder that reads it seldom wait for each other.
const interestShards = 64

// Interest says which loops have a subscriber of a channel. A loop changes it when a channel gets its first or loses its
// last subscriber on that loop; the feeder reads it. Safe to call from any goroutine. A call holds a lock for a few map
// operations, not longer.
//
// A source that hears everything by a pattern needs no more. A source that asks for each channel calls [Interest.Follow]
// first. From then on the interest also keeps
//   - the names of the channels whose interest has begun or ended since the source last looked. It keeps names, not
//     events: the source looks at the interest as it is when it acts;
//   - which channels are *settled*: a loop may tell a client that it is subscribed. A channel is settled when the
//     source hears it. It is also settled when the source cannot ask for it now, because the link is down: then the
//     source sends a gap when it hears the channel.
type Interest struct {
	seed   maphash.Seed
	wake   func() // nil unless followed
	shards [interestShards]interestShard
}

type interestShard struct {
	mu      sync.RWMutex
	loops   map[string]uint64   // Guarded by mu. Invariant: no value is 0.
	settled map[string]struct{} // Guarded by mu. nil unless followed.
	changed map[string]struct{} // Guarded by mu. nil unless followed.
	_       [16]byte            // no two shards share a cache line
}

// NewInterest returns an empty Interest.
func NewInterest() *Interest {
	in := &Interest{seed: maphash.MakeSeed()}
	for i := range in.shards {
		in.shards[i].loops = make(map[string]uint64)
	}
	return in
}

// Follow has the interest keep what a source needs that asks for each channel. Call it once, before the first Add. wake
// is called after a change; it must not block.
func (in *Interest) Follow(wake func()) {
	in.wake = wake
	for i := range in.shards {
		in.shards[i].settled = make(map[string]struct{})
		in.shards[i].changed = make(map[string]struct{})
	}
}

func (in *Interest) shard(channel string) *interestShard {
	return &in.shards[maphash.String(in.seed, channel)%interestShards]
}

// Add notes that the loop has a subscriber of the channel. The string is kept.
//
// It returns whether the channel is settled. If it is not, the loop lets the client wait: an [Item] without a Frame comes
// when it is. With a source that hears everything by a pattern, every channel is settled.
func (in *Interest) Add(channel string, loop int) (settled bool) {
	s := in.shard(channel)
	s.mu.Lock()
	if s.settled == nil {
		s.loops[channel] |= 1 << loop
		s.mu.Unlock()
		return true
	}
	before := s.loops[channel]
	s.loops[channel] = before | 1<<loop
	_, settled = s.settled[channel]
	if before == 0 {
		s.changed[channel] = struct{}{}
	}
	s.mu.Unlock()
	if before == 0 {
		in.wake()
	}
	return settled
}

// Remove notes that the loop no longer has one.
func (in *Interest) Remove(channel string, loop int) {
	s := in.shard(channel)
	s.mu.Lock()
	ended := false
	if left := s.loops[channel] &^ (1 << loop); left != 0 {
		s.loops[channel] = left
	} else if _, known := s.loops[channel]; known {
		delete(s.loops, channel)
		ended = s.changed != nil
		if ended {
			s.changed[channel] = struct{}{}
		}
	}
	s.mu.Unlock()
	if ended {
		in.wake()
	}
}

// Forget removes the loop from every channel: its connections are gone, and with them the names that Remove needs. It
// visits every channel.
func (in *Interest) Forget(loop int) {
	ended := false
	for i := range in.shards {
		s := &in.shards[i]
		s.mu.Lock()
		for channel, loops := range s.loops {
			left := loops &^ (1 << loop)
			switch {
			case left == loops:
			case left != 0:
				s.loops[channel] = left
			default:
				delete(s.loops, channel)
				if s.changed != nil {
					s.changed[channel] = struct{}{}
					ended = true
				}
			}
		}
		s.mu.Unlock()
	}
	if ended {
		in.wake()
	}
}

// Loops returns the loops that have a subscriber of the channel: bit i is loop i.
func (in *Interest) Loops(channel string) uint64 {
	s := in.shard(channel)
	s.mu.RLock()
	loops := s.loops[channel]
	s.mu.RUnlock()
	return loops
}

// Settled reports whether the channel is settled. A loop asks when an [Item] without a Frame has come: the channel may
// have been given up and asked for again since that was posted, and then another one comes.
func (in *Interest) Settled(channel string) bool {
	s := in.shard(channel)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.settled == nil {
		return true
	}
	_, settled := s.settled[channel]
	return settled
}

// settle makes the channel settled. It returns the loops to be told: none if it was settled already.
func (in *Interest) settle(channel string) (loops uint64) {
	s := in.shard(channel)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, already := s.settled[channel]; already || s.settled == nil {
		return 0
	}
	s.settled[channel] = struct{}{}
	return s.loops[channel]
}

// Release ends that the channel is settled, if no loop holds a subscriber, and reports whether it did so. From then on
// who subscribes waits. The source calls it before it gives the channel up.
func (in *Interest) Release(channel string) bool {
	s := in.shard(channel)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loops[channel] != 0 {
		return false
	}
	delete(s.settled, channel)
	return true
}

// TakeChanged appends the names of the channels whose interest has begun or ended since the last call.
func (in *Interest) TakeChanged(names []string) []string {
	for i := range in.shards {
		s := &in.shards[i]
		s.mu.Lock()
		for name := range s.changed {
			names = append(names, name)
		}
		if len(s.changed) > keepList { // a map does not shrink
			s.changed = make(map[string]struct{})
		} else {
			clear(s.changed)
		}
		s.mu.Unlock()
	}
	return names
}

// Names appends the name of each channel with a subscriber. It visits every channel.
func (in *Interest) Names(names []string) []string {
	for i := range in.shards {
		s := &in.shards[i]
		s.mu.RLock()
		for name := range maps.Keys(s.loops) {
			names = append(names, name)
		}
		s.mu.RUnlock()
	}
	return names
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
