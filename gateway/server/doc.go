// Package server holds the sockets. It is the only package that imports gnet: bytes in, bytes out.
//
// There is one gnet engine per loop, and the engine's event handler, a [loop], is that loop's state: its
// connections, its index of channels, its timers and counters. Everything in it belongs to one goroutine, so there
// are no locks on the way of a notification. What runs where:
//
//	on the loop      every method of loop, conn and what they consist of, unless its comment says otherwise. gnet calls
//	                 OnOpen, OnTraffic and OnClose, and loop.Run, to which every wake-up leads.
//	any goroutine    loop.Post, loop.call, Server.Stats: they touch only the mailbox or atomic counters
//	off the loop     OnBoot (before the loop exists), OnTick (gnet's ticker, one goroutine an engine), loop.retire (when
//	                 the engine is over), the writability watcher (one goroutine a process), Server.Run
//
// gnet accepts, polls, reads, executes and closes. Writing is ours: one non-blocking sendto from the loop. Nothing is
// ever left inside gnet, in either direction: what a partial frame leaves behind lies in the connection's
// [websocket.Reader], what a slow socket does not take lies in its backlog as references to shared frames.
//
// Two exact sentences mark what is not so: "Safe to call from any goroutine.", and "Must not run on the loop:",
// with the reason. What changes the state of a loop begins with lp.owner.mustOwn(), which builds with the tag loopcheck carry out.
//
// DESIGN.md in the folder above tells the model in full.
package server
