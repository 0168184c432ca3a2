// Package protocol is the wire between the gateway and its clients, version 1. It is pure: no socket, no goroutine, no
// clock, no Redis. Bytes and times go in, bytes and values come out, so everything here can be tested with tables and
// fuzzers. It has three rooms:
//
//	http1      request heads, the opening handshake, refusals, what proxies tell
//	websocket  frames, the reader of frames, permessage-deflate
//	protocol   the messages of Carillon, channel names, codes; frames that are shared, and dialects
//
// The flow of one connection:
//
//	client                         gateway
//	(PROXY header of a load balancer ->                http1.ParseProxyHeader)
//	GET /ws, Upgrade: websocket ->                     http1.Upgrader
//	                            <- 101, connected
//	subscribe{channel}          ->                     websocket.Reader, then [Dialect].Hear
//	                            <- subscribed{channel}
//	                            <- notification{…} …   [NewNotification], shared by all subscribers
//	ping{} or a ping frame      -> <- pong{} or a pong frame
//	close                       -> <- close            [Dialect].AppendClose
//
// PROTOCOL.md describes every message with an example from testdata; protocol/client is the other end.
//
// Nothing here allocates on the steady path: a frame that arrives whole is unmasked in place and handed out as a
// slice of the caller's bytes, a command is decoded into memory that is reused, and a publication is encoded once
// into a [Frame] that every subscriber shares: once in each [Form] that is asked for.
package protocol
