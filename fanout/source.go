package fanout

import "context"

// Sink takes the publications of a [Source]. A Source with several goroutines forks it, and calls the methods of one fork
// one at a time. They must not block: the Source does not read while they run, and Redis closes the connection of a
// subscriber that does not read. Channels are named as the source names them (for Redis, with the prefix).
type Sink interface {
	// Publish takes one publication: the channel and the payload, any bytes. Both are immutable and may be kept.
	Publish(channel, payload string)
	// Lost says that publications may have been missed, of the named channels, or of all channels if none is named: the
	// link was down, or was not up yet, and is subscribed now. A Source that hears all channels by one pattern calls it
	// before the first publication of each subscription.
	Lost(channels ...string)
	// Settled says that the clients that wait for the channel can be told that they are subscribed: the source hears the
	// channel from now on, or the link is down and Lost follows. Only a source that follows an [Interest] calls it.
	Settled(channel string)
	// Flush says that the Source has passed on everything that it has read, and is about to wait: for more to read, or for
	// a new link.
	Flush()
	// Fork returns a Sink for another goroutine. It posts to the same loops.
	Fork() Sink
}

// Source is where publications come from.
type Source interface {
	// Run passes every publication to sink, those of one link in the order in which they arrived. It reconnects by itself,
	// and returns nil when ctx ends, not before. At most one Run at a time.
	Run(ctx context.Context, sink Sink) error
}
