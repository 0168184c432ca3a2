// Package websocket is the framing of RFC 6455 and the compression of RFC 7692, for a server. It does no I/O: its functions
// take bytes and return events and bytes. A [Reader] takes what one client sends and returns messages and control frames.
// The Append functions make frames to a client. [Deflate] and [Inflater] are permessage-deflate without context takeover:
// a message is compressed once for all its receivers, and a connection keeps no window.
//
// If a client breaks a rule, the error is a [CloseError], with the close code for the close frame.
//
// The usual cases do not allocate: a frame that arrives whole is unmasked in place and returned as a slice of the caller's
// bytes. Opcodes, status codes and the unmasking are from gobwas/ws.
package websocket
