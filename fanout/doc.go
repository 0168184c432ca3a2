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
// [Interest] is safe to call from any goroutine. A Feeder belongs to the goroutine of its source, [Index] and [Turn]
// belong to one loop, and a [Batch] is guarded by the lock of the mailbox that it is in. This package does not import
// sockets or Redis: loops appear as the interface [Loop], connections as a type parameter, and the source as the
// interface [Source].
package fanout
