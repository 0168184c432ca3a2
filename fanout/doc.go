// Package fanout knows who hears what. A publication comes from a [Source], is encoded once by the [Feeder], and is
// handed to the loops that hold a subscriber of its channel; each loop looks its subscribers up in an [Index] of its
// own and writes to them.
//
//	Source (package redis: one goroutine a link)
//	  -> Feeder.Publish   Interest: which loops? none: counted, done
//	                      protocol.NewNotification, once
//	  -> Loop.Post        append to that loop's Batch, under its lock
//	  -> the loop         Turn: frames of one channel joined; Index.WalkNext: its subscribers
//
// A source that hears everything by a pattern reads the [Interest] only through the Feeder. A source that asks for each
// channel follows it, and then there is one more step. [Interest.Add] returns whether the channel is settled. If not, the
// loop lets the client wait, outside its Index:
//
//	loop:    Interest.Add(channel) = false: the client waits
//	source:  takes the name, asks Redis, and Redis confirms (or the link is down, and a gap will follow)
//	source:  Sink.Settled(channel)
//	Feeder:  marks the channel settled, and posts an Item without a Frame to the loops that hold it
//	loop:    the name is in Batch.Settled: if Interest.Settled(channel) still, who waits enters the Index, and is told
//	loop:    only then the Items of the same batch, which may be for them
//
// A client that unsubscribes or leaves while it waits is taken off the list of those that wait; the loop calls
// [Interest.Remove] when neither the Index nor that list has the channel any more. A loop that has lost its connections
// calls [Interest.Forget].
//
// Interest and Feeder are safe to call from any goroutine; Index, Batch and Turn belong to one loop (Batch: to
// whoever holds the lock of the mailbox it lies in). This package knows nothing of sockets and of Redis: loops appear
// as the interface [Loop], connections as a value of the server's choice, and the source as the interface [Source].
package fanout
