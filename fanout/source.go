package fanout

import "context"

// Sink takes the publications of a [Source]. The Source calls its methods one at a time, from one goroutine. They must
// not block: the Source does not read while they run, and Redis closes the connection of a subscriber that does not read.
type Sink interface {
	// Publish takes one publication: the channel as the source names it (for Redis, its prefix included) and the
	// payload, any bytes. Both are immutable and may be kept.
	Publish(channel, payload string)
	// Lost says that publications may have been missed: the link was down, or was not up yet, and is subscribed now. The
	// Source calls it before the first publication of each subscription.
	Lost()
	// Flush says that the Source has passed on everything that it has read, and is about to wait: for more to read, or for
	// a new link.
	Flush()
}

// Source is where publications come from.
type Source interface {
	// Run passes every publication to sink, in the order in which they arrived, on the calling goroutine. It reconnects by
	// itself, and returns nil when ctx ends, not before. At most one Run at a time.
	Run(ctx context.Context, sink Sink) error
}
