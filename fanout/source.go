package fanout

import "context"

// Sink takes what a [Source] hears. A Source with several goroutines forks it; the methods of one fork are called one
// at a time. They must not block: while they do, nothing is read, and a publisher's side (Redis) cuts a subscriber that
// does not read. Channels are named as the source names them (for Redis, the prefix included).
type Sink interface {
	// Publish takes one publication: the channel and the payload, any bytes. Both are immutable and may be kept.
	Publish(channel, payload string)
	// Lost says that publications may have been missed, of the named channels, or of all if none is named: the link was
	// down, or not there yet, and is subscribed now. It comes before the first publication of each subscription.
	Lost(channels ...string)
	// Settled says that clients that wait for the channel are told that they are subscribed: the source hears it from now
	// on, or the link is down and Lost follows. Only a source that follows an [Interest] calls it.
	Settled(channel string)
	// Flush says that the source has handed over all that it has read, and is about to wait for more, on this link or
	// for the next one.
	Flush()
	// Fork returns a Sink for another goroutine, with the same loops behind it.
	Fork() Sink
}

// Source is where publications come from.
type Source interface {
	// Run hands every publication to sink, those of one link in the order in which they were heard. It heals what fails
	// by itself and returns only when ctx ends, with nil. At most one Run at a time.
	Run(ctx context.Context, sink Sink) error
}
