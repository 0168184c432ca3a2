package fanout

import (
	"math/bits"
	"strings"
	"sync/atomic"
	"time"

	"github.com/carillon-ws/carillon/protocol"
)

// Loop is where the feeder hands frames over. Implemented by the server.
type Loop interface {
	// Post appends item to what the loop has to send. It never blocks: an item that finds the mailbox full is dropped
	// and told as a gap. A loop that is asleep stays so until Wake. Safe to call from any goroutine.
	Post(item Item)
	// Wake has the loop send what was posted, if it is not doing so already. Safe to call from any goroutine.
	Wake()
}

// maxUnflushed is how many publications are posted before the loops are woken, even though the source has more at
// hand: about a quarter of a millisecond's worth.
const maxUnflushed = 64

// Feeder takes publications from a source, encodes each once, and posts it to the loops that hold a subscriber. It
// is a [Sink]: its methods run on the source's goroutine, or those of each fork on a goroutine of its own.
type Feeder struct {
	// Fixed at creation.
	interest *Interest
	loops    []Loop

	// Owned by the source's goroutine.
	posted  uint64 // loops that were posted to since the last Flush, a bit each
	pending int    // publications posted since then

	// Atomic. Shared by all forks.
	stats *feederCounters
}

type feederCounters struct {
	publications atomic.Uint64
	unheard      atomic.Uint64
	foreign      atomic.Uint64
	replaced     atomic.Uint64
	gaps         atomic.Uint64
	channelGaps  atomic.Uint64
}

// FeederStats counts what came through a Feeder since it was made.
type FeederStats struct {
	Publications uint64 // taken from the source
	Unheard      uint64 // of them, those that no connection here is subscribed to
	Foreign      uint64 // of them, those whose Redis channel lacks the prefix
	Replaced     uint64 // bytes that were not UTF-8 and went out as U+FFFD
	Gaps         uint64 // times that everybody was told of a lost link
	ChannelGaps  uint64 // channels whose subscribers alone were told
}

// NewFeeder returns a Feeder for the loops; bit i of the interest is loops[i].
func NewFeeder(interest *Interest, loops []Loop) *Feeder {
	return &Feeder{interest: interest, loops: loops, stats: new(feederCounters)}
}

// Fork implements [Sink]. The forks count together.
func (f *Feeder) Fork() Sink {
	return &Feeder{interest: f.interest, loops: f.loops, stats: f.stats}
}

// Publish implements [Sink].
func (f *Feeder) Publish(redisChannel, payload string) {
	f.stats.publications.Add(1)
	channel, ok := strings.CutPrefix(redisChannel, protocol.RedisPrefix)
	if !ok {
		f.stats.foreign.Add(1)
		return
	}
	loops := f.interest.Loops(channel)
	if loops == 0 {
		f.stats.unheard.Add(1)
		return
	}
	frame, replaced := protocol.NewNotification(channel, payload, time.Now().UnixMilli())
	if replaced > 0 {
		f.stats.replaced.Add(uint64(replaced))
	}
	f.post(loops, Item{Channel: channel, Frame: frame, TakenAt: Monotonic()})
}

// post gives item to the loops, a bit each. They wake at the next Flush.
func (f *Feeder) post(loops uint64, item Item) {
	f.posted |= loops
	for ; loops != 0; loops &= loops - 1 {
		f.loops[bits.TrailingZeros64(loops)].Post(item)
	}
	if f.pending++; f.pending >= maxUnflushed {
		f.Flush()
	}
}

// Flush implements [Sink]: whatever the source had read at once is in the mailboxes before a loop wakes, so it leaves
// together. One wake-up a loop, however many publications.
func (f *Feeder) Flush() {
	for loops := f.posted; loops != 0; loops &= loops - 1 {
		f.loops[bits.TrailingZeros64(loops)].Wake()
	}
	f.posted, f.pending = 0, 0
}

// Lost implements [Sink]. If no channel is named, everybody is told, by one shared frame, that something may have been
// missed. That is nobody if no channel has a subscriber: whoever subscribes from now on hears what is published from now
// on.
func (f *Feeder) Lost(redisChannels ...string) {
	if len(redisChannels) > 0 {
		f.lostSome(redisChannels)
		return
	}
	if f.interest.Channels() == 0 {
		return
	}
	f.stats.gaps.Add(1)
	frame := protocol.NewFrame(&protocol.Message{
		Type: protocol.MessageGap, Reason: protocol.GapRedis, Timestamp: time.Now().UnixMilli(),
	})
	for _, lp := range f.loops {
		lp.Post(Item{Frame: frame})
		lp.Wake()
	}
}

// lostSome tells the subscribers of these channels, and nobody else.
func (f *Feeder) lostSome(redisChannels []string) {
	now := time.Now().UnixMilli()
	for _, redisChannel := range redisChannels {
		channel, ok := strings.CutPrefix(redisChannel, protocol.RedisPrefix)
		if !ok {
			continue
		}
		loops := f.interest.Loops(channel)
		if loops == 0 {
			continue
		}
		f.stats.channelGaps.Add(1)
		f.post(loops, Item{Channel: channel, Frame: protocol.NewFrame(&protocol.Message{
			Type: protocol.MessageGap, Channel: channel, Reason: protocol.GapRedis, Timestamp: now,
		})})
	}
	f.Flush()
}

// Settled implements [Sink].
func (f *Feeder) Settled(redisChannel string) {
	channel, ok := strings.CutPrefix(redisChannel, protocol.RedisPrefix)
	if !ok {
		return
	}
	if loops := f.interest.settle(channel); loops != 0 {
		f.post(loops, Item{Channel: channel})
	}
}

// Stats returns the counters. Safe to call from any goroutine.
func (f *Feeder) Stats() FeederStats {
	return FeederStats{
		Publications: f.stats.publications.Load(),
		Unheard:      f.stats.unheard.Load(),
		Foreign:      f.stats.foreign.Load(),
		Replaced:     f.stats.replaced.Load(),
		Gaps:         f.stats.gaps.Load(),
		ChannelGaps:  f.stats.channelGaps.Load(),
	}
}

var started = time.Now()

// Monotonic is the time in nanoseconds since the process started, on a clock that never jumps.
func Monotonic() int64 { return int64(time.Since(started)) }
