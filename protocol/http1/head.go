package http1

import (
	"bytes"
	"errors"
	"net/http"
	"net/url"

	"github.com/carillon-ws/carillon/protocol"
)

// headEnd ends a request head (RFC 9112 section 2.1).
var headEnd = []byte("\r\n\r\n")

// HeadLen returns the length of the request head in buf, blank line included, or 0 while it is not whole. from is
// how much of buf an earlier call has already seen, so that a head that drips in is not scanned again and again.
func HeadLen(buf []byte, from int) int {
	from = max(0, from-len(headEnd)+1)
	if at := bytes.Index(buf[from:], headEnd); at >= 0 {
		return from + at + len(headEnd)
	}
	return 0
}

// Errors of our own checks; each has its answer in refusal.
var (
	errHead      = errors.New("malformed request head")
	errBody      = errors.New("request has a body")
	errDuplicate = errors.New("header given twice")
	errNotFound  = errors.New("no such path")
	errOrigin    = errors.New("origin not allowed")
	errRebound   = errors.New("origin equals a Host that is not loopback")
	errNoUpgrade = errors.New("not an upgrade")
	errVersion   = errors.New("HTTP version")
	errMethod    = errors.New("method")
)

// requestHead is what our own look at a request head finds. Its slices are parts of that head.
type requestHead struct {
	query  []byte
	host   []byte // of an absolute request target, else of the Host header
	origin []byte
	key    []byte
	seen   uint8 // bits of the headers that may come once, and of Connection

	// deflate answers the extensions that were offered.
	deflate deflateAnswer
	// Lists that may come in several headers; nil when there is none. The memory is kept for the next request.
	forwarded    list // X-Forwarded-For
	cookies      list
	subprotocols list

	authorization []byte

	// What to look for beside the handshake itself. Fixed at creation.
	wantExtensions  bool
	wantForwarded   bool
	wantCredentials bool

	// lean is the head without what the library does not read: a browser sends a dozen such headers, and it would
	// bring each name into canonical form. The memory is kept for the next request.
	lean []byte
}

// Headers that may not come twice: two readers of the same request would disagree about it.
const (
	seenHost = 1 << iota
	seenOrigin
	seenUpgrade
	seenKey
	seenVersion
	seenAuthorization
	seenConnection // with the option upgrade; it is a list and may come in parts (RFC 9110 section 5.3)
)

// parse looks for what the library lets pass: bodies, folded lines, control characters, repeated headers. It
// also tells a plain request from a broken upgrade, so that people get the answer that helps them. It allocates
// nothing.
func (h *requestHead) parse(text []byte) error {
	h.reset()
	h.lean = append(h.lean, "GET / HTTP/1.1\r\n"...)
	line, rest, ok := cutLine(text)
	if !ok {
		return errHead
	}
	if err := h.parseRequestLine(line); err != nil {
		return err
	}
	for {
		if line, rest, ok = cutLine(rest); !ok {
			return errHead
		}
		if len(line) == 0 {
			break
		}
		if err := h.parseField(line); err != nil {
			return err
		}
	}
	switch {
	case len(rest) > 0:
		return errHead
	case h.seen&seenUpgrade == 0:
		return errNoUpgrade
	case h.seen&seenConnection != 0:
		h.keep("Connection", []byte("Upgrade"))
	}
	h.lean = append(h.lean, "\r\n"...)
	return nil
}

// reset forgets a request.
func (h *requestHead) reset() {
	*h = requestHead{
		wantExtensions: h.wantExtensions, wantForwarded: h.wantForwarded, wantCredentials: h.wantCredentials,
		forwarded: h.forwarded.reset(), cookies: h.cookies.reset(), subprotocols: h.subprotocols.reset(), lean: h.lean[:0],
	}
}

// keep has the library read a header.
func (h *requestHead) keep(name string, value []byte) {
	h.lean = append(h.lean, name...)
	h.lean = append(h.lean, ": "...)
	h.lean = append(h.lean, value...)
	h.lean = append(h.lean, "\r\n"...)
}

// parseRequestLine reads "GET /ws HTTP/1.1" (RFC 9112 section 3).
func (h *requestHead) parseRequestLine(line []byte) error {
	method, rest, _ := bytes.Cut(line, []byte(" "))
	target, version, _ := bytes.Cut(rest, []byte(" "))
	if !isToken(method) || len(target) == 0 || !bytes.HasPrefix(version, []byte("HTTP/")) {
		return errHead
	}
	for _, c := range target {
		if c <= ' ' || c >= 0x7f {
			return errHead
		}
	}
	switch {
	case string(version) != "HTTP/1.1":
		return errVersion
	case string(method) != http.MethodGet:
		return errMethod
	}
	return h.parseTarget(target)
}

// parseTarget reads the request target. Beside the path that clients send, a server must take the absolute form
// (RFC 9112 section 3.2.2, RFC 6455 section 4.1), whose authority then stands for the Host header.
func (h *requestHead) parseTarget(target []byte) error {
	path, query, _ := bytes.Cut(target, []byte("?"))
	if scheme, rest, ok := bytes.Cut(path, []byte("://")); ok && (equalFold(scheme, "http") || equalFold(scheme, "https")) {
		slash := bytes.IndexByte(rest, '/')
		if slash < 0 {
			slash = len(rest)
		}
		if _, _, ok := splitHostPort(rest[:slash]); !ok {
			return errHead
		}
		h.host, path = rest[:slash], rest[slash:]
		if len(path) == 0 {
			path = []byte("/")
		}
	}
	if p := string(path); p != "/" && p != "/ws" { // the two paths that the article's parts use
		return errNotFound
	}
	h.query = query
	return nil
}

// parseField reads one header. A name must be a token right up to the colon, so folded lines and a space before
// the colon are refused (RFC 9112 section 5).
func (h *requestHead) parseField(line []byte) error {
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok || !isToken(name) || !isFieldValue(value) {
		return errHead
	}
	value = trimSpace(value)
	switch len(name) { // few names have the length of one that matters
	case len("Host"):
		if equalFold(name, "Host") {
			return h.setHost(value)
		}
	case len("Origin"): // and of Cookie
		if equalFold(name, "Origin") {
			h.origin = value
			return h.once(seenOrigin)
		}
		if h.wantCredentials && equalFold(name, "Cookie") {
			h.cookies.add(value, "; ")
		}
	case len("Upgrade"):
		if equalFold(name, "Upgrade") {
			return h.keepOnce(seenUpgrade, "Upgrade", value)
		}
	case len("Connection"):
		if equalFold(name, "Connection") {
			for option := range bytes.SplitSeq(value, []byte(",")) {
				if equalFold(trimSpace(option), "upgrade") {
					h.seen |= seenConnection
				}
			}
		}
	case len("Authorization"):
		if h.wantCredentials && equalFold(name, "Authorization") {
			h.authorization = value
			return h.once(seenAuthorization)
		}
	case len("Content-Length"):
		if equalFold(name, "Content-Length") && string(value) != "0" {
			return errBody
		}
	case len("Sec-WebSocket-Key"): // and of Transfer-Encoding
		if equalFold(name, "Sec-WebSocket-Key") {
			h.key = value
			return h.keepOnce(seenKey, "Sec-WebSocket-Key", value)
		}
		if equalFold(name, "Transfer-Encoding") {
			return errBody
		}
	case len("Sec-WebSocket-Version"):
		if equalFold(name, "Sec-WebSocket-Version") {
			return h.keepOnce(seenVersion, "Sec-WebSocket-Version", value)
		}
	case len("Sec-WebSocket-Protocol"):
		if equalFold(name, "Sec-WebSocket-Protocol") {
			h.keep("Sec-WebSocket-Protocol", value)
			if h.wantCredentials {
				h.subprotocols.add(value, ", ")
			}
		}
	case len("Sec-WebSocket-Extensions"):
		if h.wantExtensions && equalFold(name, "Sec-WebSocket-Extensions") {
			return h.setExtensions(value)
		}
	case len("X-Forwarded-For"):
		if h.wantForwarded && equalFold(name, "X-Forwarded-For") {
			h.forwarded.add(value, ", ")
		}
	}
	return nil
}

func (h *requestHead) setHost(value []byte) error {
	if !all(value, hostByte) { // RFC 9112 section 3.2
		return errHead
	}
	if h.host == nil {
		h.host = value
	}
	return h.keepOnce(seenHost, "Host", value)
}

// setExtensions reads one of the headers; the offers of all of them are one list.
func (h *requestHead) setExtensions(value []byte) error {
	answer, err := answerExtensions(value)
	if h.deflate == deflateDeclined {
		h.deflate = answer
	}
	return err
}

// list is a header that may come in several parts, which are one list in their order (RFC 9110 section 5.3).
type list struct {
	text  []byte
	there bool
}

func (l *list) add(value []byte, separator string) {
	if l.there {
		l.text = append(l.text, separator...)
	}
	l.text, l.there = append(l.text, value...), true
}

// value is the list, nil if there was no such header.
func (l *list) value() []byte {
	if !l.there {
		return nil
	}
	return l.text
}

func (l *list) reset() list { return list{text: l.text[:0]} }

func (h *requestHead) keepOnce(bit uint8, name string, value []byte) error {
	h.keep(name, value)
	return h.once(bit)
}

func (h *requestHead) once(bit uint8) error {
	if h.seen&bit != 0 {
		return errDuplicate
	}
	h.seen |= bit
	return nil
}

// isKey reports whether key is the base64 of 16 bytes (RFC 6455 section 4.2.1 item 5): 22 digits and two paddings.
func isKey(key []byte) bool {
	digits, ok := bytes.CutSuffix(key, []byte("=="))
	if !ok || len(digits) != 22 {
		return false
	}
	for _, c := range digits {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '+', c == '/':
		default:
			return false
		}
	}
	return true
}

// userOf finds the label of ?user= in a query. Other parameters are not ours to judge.
func userOf(query []byte) (string, error) {
	for len(query) > 0 {
		var pair []byte
		pair, query, _ = bytes.Cut(query, []byte("&"))
		name, value, _ := bytes.Cut(pair, []byte("="))
		if string(name) != "user" {
			continue
		}
		user, err := url.QueryUnescape(string(value))
		if err != nil || user != "" && protocol.CheckName(user) != nil { // the same alphabet and length as a channel's name
			return "", errHead
		}
		return user, nil
	}
	return "", nil
}
