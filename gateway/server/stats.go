package server

import (
	"maps"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/cpu"

	"github.com/carillon-ws/carillon/fanout"
)

// Stats is a snapshot of the server's counters, one entry a loop. Counters only grow, from the start of the process.
type Stats struct {
	Loops          []LoopStats
	MaxConnections int    // the limit in force
	Leaving        bool   // the server has been told to end: the drain comes, or is under way
	Draining       bool   // no new connections are taken
	Restarts       uint64 // loops that ended unasked and were started again
	InboundBytes   int64  // held by unfinished messages and request heads now
}

// LoopStats is one loop's share. Which goroutine writes what is written at loopCounters.
type LoopStats struct {
	Connections   int64 // upgraded and open now
	Sockets       int64 // accepted and not yet closed, whatever their state
	Compressing   int64 // of the connections, those that negotiated permessage-deflate
	Channels      int64 // with a subscriber on this loop now
	Waiting       int64 // subscriptions that Redis has not confirmed yet
	Subscriptions int64 // (connection, channel) pairs now
	Backlogged    int64 // connections with a backlog now
	BacklogBytes  int64 // that all backlogs hold now: a frame counts once, each reference to it 16

	Accepted   uint64            // sockets
	Upgraded   uint64            // of them, those that became connections
	Refused    map[string]uint64 // of them, those that did not, by reason
	Closed     map[string]uint64 // connections ended, by reason
	Commands   uint64            // messages from clients
	Errors     map[string]uint64 // of them, those answered by an error, by code
	Deliveries uint64            // notifications written, or put in a backlog
	SentBytes  uint64            // taken by the kernel
	Writes     uint64            // send calls of the fan-out
	Compressed uint64            // of the deliveries, those that went out compressed
	SavedBytes uint64            // that these were smaller
	Dropped    map[string]uint64 // notifications not delivered, by reason: "overload" and "panic" count publications, "slow" deliveries
	Wakeups    uint64            // times that the loop was woken to send
	Turns      uint64            // batches sent
	Slices     uint64            // pieces that they were sent in
	Panics     uint64            // handlers that failed; each cost one connection, or the turn

	MailboxBytes int64  // waiting to be sent
	BusyNs       uint64 // spent on the mailbox and on timers
	StallNs      int64  // the longest time, lately, without a look at the sockets

	Latency Histogram // from the source to the last write of a publication, in nanoseconds
	Turn    Histogram // from a batch's first write to its last, in nanoseconds
	Width   Histogram // connections that a publication went to
}

// loopCounters are read by anyone and, but for those of postCounters, written by the loop: atomic for the reader's
// sake. Whoever writes has cache lines of its own, or every delivery would wait for the feeder's last wake-up to
// cross from another processor (TestCountersShareNoCacheLine).
type loopCounters struct {
	_ cpu.CacheLinePad

	connections, sockets, compressing, channels, subscriptions, waiting, backlogged, backlogBytes atomic.Int64

	oldest atomic.Int64 // the age of the oldest frame in a backlog, as ages has it

	lastWork atomic.Int64 // second of the last work, or of the start. The ticker gives the loop work every second

	accepted, upgraded, commands, deliveries, sentBytes, writes, compressed, savedBytes, turns, slices, panics, busyNs atomic.Uint64

	refused, closed, errors, dropped labelled

	stall                stall
	latency, turn, width histogram

	_    cpu.CacheLinePad
	post postCounters
	_    cpu.CacheLinePad
}

// postCounters are written by whoever posts to the mailbox, with its lock held or just let go of.
type postCounters struct {
	wakeups atomic.Uint64
	dropped labelled
}

// labelled counts by reason. Its events are rare; scraping holds the lock for the time of a copy.
type labelled struct {
	mu sync.Mutex
	n  map[string]uint64 // Guarded by mu.
}

func (l *labelled) add(label string, n uint64) {
	l.mu.Lock()
	if l.n == nil {
		l.n = make(map[string]uint64)
	}
	l.n[label] += n
	l.mu.Unlock()
}

func (l *labelled) snapshot() map[string]uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.n)
}

func (n *loopCounters) snapshot() LoopStats {
	return LoopStats{
		Connections: n.connections.Load(), Sockets: n.sockets.Load(), Compressing: n.compressing.Load(),
		Channels: n.channels.Load(), Waiting: n.waiting.Load(), Subscriptions: n.subscriptions.Load(),
		Backlogged: n.backlogged.Load(), BacklogBytes: n.backlogBytes.Load(),
		Accepted: n.accepted.Load(), Upgraded: n.upgraded.Load(),
		Refused: n.refused.snapshot(), Closed: n.closed.snapshot(),
		Commands: n.commands.Load(), Errors: n.errors.snapshot(),
		Deliveries: n.deliveries.Load(), SentBytes: n.sentBytes.Load(), Writes: n.writes.Load(),
		Compressed: n.compressed.Load(), SavedBytes: n.savedBytes.Load(),
		Dropped: n.droppedByReason(),
		Wakeups: n.post.wakeups.Load(), Turns: n.turns.Load(), Slices: n.slices.Load(), Panics: n.panics.Load(),
		BusyNs: n.busyNs.Load(), StallNs: n.stall.read(fanout.Monotonic()),
		Latency: n.latency.snapshot(), Turn: n.turn.snapshot(), Width: n.width.snapshot(),
	}
}

// droppedByReason joins what the loop dropped with what did not fit into its mailbox.
func (n *loopCounters) droppedByReason() map[string]uint64 {
	out := n.dropped.snapshot()
	if out == nil {
		out = make(map[string]uint64)
	}
	for reason, count := range n.post.dropped.snapshot() {
		out[reason] += count
	}
	return out
}
