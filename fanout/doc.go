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
// Interest and Feeder are safe to call from any goroutine; Index, Batch and Turn belong to one loop (Batch: to
// whoever holds the lock of the mailbox it lies in). This package knows nothing of sockets and of Redis: loops appear
// as the interface [Loop], connections as a value of the server's choice, and the source as the interface [Source].
package fanout
