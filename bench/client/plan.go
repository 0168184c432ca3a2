package client

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Plan is all that a worker must know before its first connection. It travels between processes.
type Plan struct {
	Targets []Target
	Sources []string // addresses to connect from; empty: all of 127.0.0.0/8 for targets on loopback, else the kernel's choice
	Blocks  bool     // connections go to the targets in blocks, not in turn: a worker speaks with few of them
	Load    Workload
	First   int // number of the first of this worker's connections
	Count   int
	Mark    string // of this run's publications
	Seed    uint64 // of the handshakes' keys
	Speech  Speech
	Threads int           // that read sockets
	Opening int           // connections under way at most, a thread
	Ahead   int64         // what to add to this machine's clock to get the publisher's, nanoseconds
	Tick    time.Duration // how often a thread looks whether it is late; 0: TickEvery
}

// Workload says which connection subscribes to which channel: channels are dealt in turn, or, with Zipf, the lower the
// number of a channel the more subscribers it has. It is a formula, so that every process knows it without being told.
type Workload struct {
	Connections int
	Channels    int
	Zipf        float64 // exponent; 0 deals channels in turn

	share []float64 // with Zipf: share[ch] of the connections are on channels up to ch
}

// Prepare computes what ChannelOf needs. Call it once, before the load is shared.
func (l *Workload) Prepare() {
	if l.Zipf <= 0 {
		return
	}
	l.share = make([]float64, l.Channels)
	sum := 0.0
	for ch := range l.share {
		sum += math.Pow(float64(ch+1), -l.Zipf)
		l.share[ch] = sum
	}
	for ch := range l.share {
		l.share[ch] /= sum
	}
}

// ChannelOf is the channel that a connection subscribes to.
func (l *Workload) ChannelOf(connection int) int {
	if l.share == nil {
		return connection % l.Channels
	}
	// Multiples of the golden ratio fall evenly into [0, 1), also those of any range of connections.
	_, u := math.Modf(float64(connection+1) * 0.6180339887498949)
	return min(sort.SearchFloat64s(l.share, u), l.Channels-1)
}

// Audience counts the subscribers of each channel among connections first to first+count that are not left out.
func (l *Workload) Audience(first, count int, leftOut func(connection int) bool) []int32 {
	audience := make([]int32, l.Channels)
	for i := first; i < first+count; i++ {
		if leftOut == nil || !leftOut(i) {
			audience[l.ChannelOf(i)]++
		}
	}
	return audience
}

// Publications are dealt to the channels in turn: number n goes to channel n % channels, as its n / channels-th.

// published is how many of the first numbers were for a channel.
func (l *Workload) published(ch int, numbers uint32) uint32 {
	n := numbers / uint32(l.Channels)
	if uint32(ch) < numbers%uint32(l.Channels) {
		n++
	}
	return n
}

// InShare deals a share of the connections out evenly: it reports whether this one belongs to it.
func InShare(connection int, share float64) bool {
	return int(float64(connection+1)*share) > int(float64(connection)*share)
}

// Outlook says which publications exist: all numbers below First, and from there on Total more at Rate a second.
// A client that comes back while they are published must hear those that were meant to be sent after it subscribed.
type Outlook struct {
	Schedule

	First uint32
	Watch bool // publications are under way: threads look whether they are late
}

// numbers is how many publications may have been sent by now.
func (o *Outlook) numbers(now int64) uint32 {
	if o.Total == 0 {
		return o.First
	}
	return o.First + uint32(o.Due(now))
}

// Speech is what a server is told and answers. The zero value speaks Carillon's protocol, which is the article's.
type Speech struct {
	Subscribe   string // {channel} stands for the channel's name; empty: {"type":"subscribe","channel":"{channel}"}
	Ack         string // text that the answer to it contains; empty: "type":"subscribed"
	NoAck       bool   // nothing answers: a client counts as subscribed once it has asked
	Channel     string // name of the channels, with :N behind it; empty: bench
	SingleNamed bool   // there is one channel, of exactly that name
}

// ChannelName is a channel's name as clients write it.
func (s *Speech) ChannelName(ch int) string {
	name := s.Channel
	if name == "" {
		name = "bench"
	}
	if s.SingleNamed {
		return name
	}
	return name + ":" + strconv.Itoa(ch)
}

// subscribe is the message that subscribes to a channel.
func (s *Speech) subscribe(ch int) []byte {
	if s.Subscribe == "" {
		return fmt.Appendf(nil, `{"type":"subscribe","channel":%q}`, s.ChannelName(ch))
	}
	before, after, _ := strings.Cut(s.Subscribe, "{channel}")
	return slices.Concat([]byte(before), []byte(s.ChannelName(ch)), []byte(after))
}

func (s *Speech) ack() []byte {
	if s.Ack == "" {
		return []byte(`"type":"subscribed"`)
	}
	return []byte(s.Ack)
}

// target is where a connection goes.
func (p *Plan) target(connection int) int {
	if p.Blocks {
		return connection * len(p.Targets) / p.Load.Connections
	}
	return connection % len(p.Targets)
}
