// Package websocket is the framing of RFC 6455 and the compression of RFC 7692, seen from the server. It is pure: bytes
// go in, events and bytes come out. A [Reader] takes what one client sent and gives out messages and control frames;
// the Append functions write frames to a client; [Deflate] and [Inflater] are permessage-deflate without context
// takeover, so that a message is compressed once for everybody and a connection keeps no window.
//
// What a client does wrong is a [CloseError]: it carries the close code that answers it.
//
// Nothing here allocates on the steady path: a frame that arrives whole is unmasked in place and handed out as a slice
// of the caller's bytes. It is built on gobwas/ws: opcodes, status codes and the mask are the library's.
package websocket
