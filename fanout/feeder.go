package fanout

import (
	"math/bits"
	"strings"
	"sync/atomic"
	"time"

	"github.com/carillon-ws/carillon/protocol"
)

// Loop is where the feeder posts frames. The server implements it.
type Loop interface {
	// Post appends item to the loop's mailbox. It never blocks: if the mailbox is full the item is dropped, and the
	// channel's subscribers get a gap message. Post does not wake the loop. Safe to call from any goroutine.
	Post(item Item)
	// Wake makes the loop send what was posted, unless it is already awake. Safe to call from any goroutine.
	Wake()
}

// maxUnflushed is how many publications are posted before the loops are woken, even if the source has not called Flush
// yet. The feeder posts that many in about a quarter of a millisecond.
const maxUnflushed = 64

// Feeder takes publications from a source, encodes each once, and posts it to the loops that hold a subscriber. It
// is a [Sink]: its methods run on the source's goroutine, and those of each fork on a goroutine of its own.
type Feeder struct {
	// Fixed at creation.
	interest *Interest
	loops    []Loop

	// Owned by the source's goroutine.
	posted  uint64 // the loops that were posted to since the last Flush: bit i is loop i
	pending int    // publications posted since the last Flush

	// Atomic. All forks share them.
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
	Unheard      uint64 // of them, those without a subscriber on this gateway
	Foreign      uint64 // of them, those whose Redis channel lacks the prefix
	Replaced     uint64 // bytes that were not UTF-8 and were sent as U+FFFD
	Gaps         uint64 // gap messages that were sent to all loops because the link was down
	ChannelGaps  uint64 // channels whose subscribers alone got a gap message
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

// post posts item to the loops, a bit each. They wake at the next Flush.
func (f *Feeder) post(loops uint64, item Item) {
	f.posted |= loops
	for ; loops != 0; loops &= loops - 1 {
		f.loops[bits.TrailingZeros64(loops)].Post(item)
	}
	if f.pending++; f.pending >= maxUnflushed {
		f.Flush()
	}
}

// Flush implements [Sink]. It wakes each loop that was posted to, once for any number of publications. So everything that
// the source has read is in the mailboxes before a loop wakes, and leaves in as few writes as possible.
func (f *Feeder) Flush() {
	for loops := f.posted; loops != 0; loops &= loops - 1 {
		f.loops[bits.TrailingZeros64(loops)].Wake()
	}
	f.posted, f.pending = 0, 0
}

// Lost implements [Sink]. If no channel is named, it posts one shared gap message for every connection. If no channel has a
// subscriber it posts nothing: later subscribers get what is published after they subscribed.
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

// lostSome posts a gap message for the subscribers of these channels, and for nobody else.
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

// Monotonic returns the nanoseconds since the process started. Unlike the wall clock it never jumps.
func Monotonic() int64 { return int64(time.Since(started)) }
