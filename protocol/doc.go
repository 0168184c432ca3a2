// Package protocol is the wire between the gateway and its clients, version 1. It has no socket, no goroutine, no clock and
// no Redis: its functions take bytes and times and return bytes and values, so that tables and fuzzers can test them. Two
// packages below it belong to it:
//
//	http1      request heads, the opening handshake, refusals, addresses that proxies pass on
//	websocket  frames, the reader of frames, permessage-deflate
//	protocol   the messages of Carillon, channel names, codes; shared frames, and dialects
//
// The flow of one connection:
//
//	client                         gateway
//	(PROXY header of a load balancer ->                http1.ParseProxyHeader)
//	GET /ws, Upgrade: websocket ->                     http1.Upgrader
//	                            <- 101, connected
//	subscribe{channel}          ->                     websocket.Reader, then [Dialect].Decode
//	                            <- subscribed{channel}
//	                            <- notification{…} …   [NewNotification], shared by all subscribers
//	ping{} or a ping frame      -> <- pong{} or a pong frame
//	close                       -> <- close            [Dialect].AppendClose
//
// PROTOCOL.md describes every message with an example from testdata. protocol/client is the client's side.
//
// The usual cases do not allocate. A frame that arrives whole is unmasked in place and returned as a slice of the caller's
// bytes. A command is decoded into memory that is reused. A publication is encoded once into a [Frame] that all subscribers
// share, and once more for each other [Form] that a subscriber has.
package protocol
