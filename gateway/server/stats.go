package server

import (
	"maps"
	"sync"
	"sync/atomic"
)

// Stats is a snapshot of the server's counters, one entry a loop. Counters only grow, from the start of the process.
type Stats struct {
	Loops          []LoopStats
	MaxConnections int    // the limit in force
	Draining       bool   // no new connections are taken
	Restarts       uint64 // loops that ended unasked and were started again
}

// LoopStats is one loop's share. Which goroutine writes what is written at loopCounters.
type LoopStats struct {
	Connections   int64 // upgraded and open now
	Sockets       int64 // accepted and not yet closed, whatever their state
	Compressing   int64 // of the connections, those that negotiated permessage-deflate
	Channels      int64 // with a subscriber on this loop now
	Subscriptions int64 // (connection, channel) pairs now
	Backlogged    int64 // connections with a backlog now
	BacklogBytes  int64 // in all backlogs now; shared frames count once a connection

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
	Dropped    map[string]uint64 // notifications not delivered, by reason: "overload" counts publications, "slow" deliveries
	Wakeups    uint64            // times that the loop was woken to send
	Turns      uint64            // batches sent
	Slices     uint64            // pieces that they were sent in
	Panics     uint64            // handlers that failed; each cost one connection

	Latency Histogram // from the source to the last write of a publication
}

// LatencyBounds are the upper bounds of the latency histogram's buckets in nanoseconds; one more bucket holds the
// rest.
var LatencyBounds = [...]int64{
	100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000, 25_000_000, 50_000_000,
	100_000_000, 250_000_000, 500_000_000, 1_000_000_000, 2_500_000_000, 5_000_000_000, 10_000_000_000,
}

// Histogram counts durations by bucket; a bucket holds what is at most its bound and more than the one before.
type Histogram struct {
	Buckets [len(LatencyBounds) + 1]uint64
	SumNs   uint64
}

// loopCounters are written by the loop, but for those of the mailbox, and read by anyone. They are atomic for the
// reader's sake: one writer each, so no cache line is fought over.
type loopCounters struct {
	connections, sockets, compressing, channels, subscriptions, backlogged, backlogBytes atomic.Int64

	beat atomic.Int64 // second of the last work; the ticker asks for some every second

	accepted, upgraded, commands, deliveries, sentBytes, writes, compressed, savedBytes, wakeups, turns, slices, panics atomic.Uint64

	refused, closed, errors, dropped labelled

	latency histogram
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

type histogram struct {
	buckets [len(LatencyBounds) + 1]atomic.Uint64
	sumNs   atomic.Uint64
}

func (h *histogram) observe(ns int64) {
	i := 0
	for i < len(LatencyBounds) && ns > LatencyBounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.sumNs.Add(uint64(max(0, ns)))
}

func (h *histogram) snapshot() Histogram {
	var out Histogram
	for i := range h.buckets {
		out.Buckets[i] = h.buckets[i].Load()
	}
	out.SumNs = h.sumNs.Load()
	return out
}

func (n *loopCounters) snapshot() LoopStats {
	return LoopStats{
		Connections: n.connections.Load(), Sockets: n.sockets.Load(), Compressing: n.compressing.Load(),
		Channels: n.channels.Load(), Subscriptions: n.subscriptions.Load(),
		Backlogged: n.backlogged.Load(), BacklogBytes: n.backlogBytes.Load(),
		Accepted: n.accepted.Load(), Upgraded: n.upgraded.Load(),
		Refused: n.refused.snapshot(), Closed: n.closed.snapshot(),
		Commands: n.commands.Load(), Errors: n.errors.snapshot(),
		Deliveries: n.deliveries.Load(), SentBytes: n.sentBytes.Load(), Writes: n.writes.Load(),
		Compressed: n.compressed.Load(), SavedBytes: n.savedBytes.Load(),
		Dropped: n.dropped.snapshot(),
		Wakeups: n.wakeups.Load(), Turns: n.turns.Load(), Slices: n.slices.Load(), Panics: n.panics.Load(),
		Latency: n.latency.snapshot(),
	}
}
