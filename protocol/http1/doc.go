// Package http1 is the part of HTTP/1.1 that comes before a WebSocket: request heads, the opening handshake of RFC 6455
// section 4, the answers that refuse one, the offers of permessage-deflate, and the addresses that proxies pass on
// (X-Forwarded-For, and the PROXY protocol header before the head). It does no I/O: [Upgrader.Upgrade] takes a whole
// request head, and returns a response and a [Request].
//
// gobwas/ws does the handshake itself. The checks of this package come before it and are stricter than HTTP: a request that
// two programs could read differently is refused, so that the gateway and a proxy in front of it always agree.
package http1
