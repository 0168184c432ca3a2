// Package http1 is the part of HTTP/1.1 that comes before a WebSocket: request heads, the opening handshake of RFC 6455
// section 4 and what refuses it, the addresses that proxies tell (X-Forwarded-For, and the PROXY protocol header in
// front of the head), and the offers of permessage-deflate. It is pure: a whole request head goes in, a response and a
// [Request] come out.
//
// The handshake itself is gobwas/ws's. What stands before it here is stricter than HTTP asks: an ambiguous request is
// refused, so that no proxy in front can have understood it differently.
package http1
