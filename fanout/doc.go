// Package fanout brings each publication to the subscribers of its channel. A publication comes from a [Source]. The
// [Feeder] encodes it once and posts it to the loops that have a subscriber of the channel. Each loop looks up its
// subscribers in its own [Index] and writes to them.
//
//	Source (package redis: one goroutine for each link)
//	  -> Feeder.Publish   Interest: which loops have a subscriber? If none has: count it, done
//	                      protocol.NewNotification, once
//	  -> Loop.Post        append to the loop's Batch, under the lock of its mailbox
//	  -> the loop         Turn: join the frames of a channel in a Bundle; Index.WalkNext: its subscribers
//
// A source that hears all channels by one pattern reads the [Interest] only through the Feeder. A source that asks for each
// channel follows it, and then there is one more step. [Interest.Add] returns whether the channel is settled. If it is not,
// the loop lets the client wait, outside its Index:
//
//	loop:    Interest.Add(channel) = false: the client waits
//	source:  takes the name and asks Redis; Redis confirms (or the link is down, and a gap will follow)
//	source:  Sink.Settled(channel)
//	Feeder:  marks the channel settled, and posts an Item without a Frame to the loops that hold it
//	loop:    the name is in Batch.Settled: if Interest.Settled(channel) still, the clients that wait enter the Index, and
//	         are told that they are subscribed
//	loop:    then it handles the Items of the same batch, which may be for these clients
//
// A client that unsubscribes or leaves while it waits is removed from the list of those that wait. The loop calls
// [Interest.Remove] when neither the Index nor that list has the channel any more. A loop that has lost all its connections
// calls [Interest.Forget].
//
// [Interest] is safe to call from any goroutine. A Feeder belongs to the goroutine of its source (each fork to one), [Index] and [Turn]
// belong to one loop, and a [Batch] is guarded by the lock of the mailbox that it is in. This package does not import
// sockets or Redis: loops appear as the interface [Loop], connections as a type parameter, and the source as the
// interface [Source].
package fanout
