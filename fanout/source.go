package fanout

import "context"

// Sink takes what a [Source] hears. Its methods are called from the Source's one goroutine, one at a time, and must
// not block: while they do, nothing is read, and a publisher's side (Redis) cuts a subscriber that does not read.
type Sink interface {
	// Publish takes one publication: the channel as the source names it (for Redis, its prefix included) and the
	// payload, any bytes. Both are immutable and may be kept.
	Publish(channel, payload string)
	// Lost says that publications may have been missed: the link was down, or not there yet, and is subscribed now. It
	// comes before the first publication of each subscription.
	Lost()
	// Flush says that the source has handed over all that it has read, and is about to wait for more, on this link or
	// for the next one.
	Flush()
}

// Source is where publications come from.
type Source interface {
	// Run hands every publication to sink, in the order in which they were heard, on the calling goroutine. It heals
	// what fails by itself and returns only when ctx ends, with nil. At most one Run at a time.
	Run(ctx context.Context, sink Sink) error
}
