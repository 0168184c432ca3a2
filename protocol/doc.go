// Package protocol is the wire between the gateway and its clients, version 1: messages, WebSocket frames, the
// opening handshake, codes and channel names. It is pure: no socket, no goroutine, no clock, no Redis. Bytes and
// times go in, bytes and values come out, so everything here can be tested with tables and fuzzers.
//
// The flow of one connection:
//
//	client                         gateway
//	(PROXY header of a load balancer ->                [ParseProxyHeader])
//	GET /ws, Upgrade: websocket ->                     [Upgrader.Upgrade]
//	                            <- 101, connected
//	subscribe{channel}          ->                     [Reader.Next], [Decoder.Decode]
//	                            <- subscribed{channel}
//	                            <- notification{…} …   [NewNotification], shared by all subscribers
//	ping{} or a ping frame      -> <- pong{} or a pong frame
//	close                       -> <- close            [CloseError]
//
// PROTOCOL.md describes every message with an example from testdata; protocol/client is the other end.
//
// Nothing here allocates on the steady path: a frame that arrives whole is unmasked in place and handed out as a
// slice of the caller's bytes, a command is decoded into memory that is reused, and a publication is encoded once
// into a [Frame] that every subscriber shares. Where permessage-deflate is on ([UpgradeConfig]), the frame is compressed
// once for all who negotiated it ([Frame.Deflated]), and what they send is inflated by one [Inflater] per loop.
package protocol
