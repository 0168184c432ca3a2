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

// HeadLen returns the length of the request head in buf, with its blank line, or 0 if the head is not whole. from is how
// many bytes of buf an earlier call has searched: a head that arrives byte by byte is not searched from the start each time.
func HeadLen(buf []byte, from int) int {
	from = max(0, from-len(headEnd)+1)
	if at := bytes.Index(buf[from:], headEnd); at >= 0 {
		return from + at + len(headEnd)
	}
	return 0
}

// Errors of the checks in this package. [Upgrader.refusal] has an answer to each.
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

// requestHead is a request head as parse reads it. Its slices are parts of that head.
type requestHead struct {
	query  []byte
	host   []byte // of an absolute request target, else of the Host header
	origin []byte
	key    []byte
	seen   uint8 // bits of the headers that have come

	// deflate is the answer to the extensions that were offered.
	deflate deflateAnswer
	// Lists that may come in several headers. Their memory is kept for the next request.
	forwarded    list // X-Forwarded-For
	cookies      list
	subprotocols list

	authorization []byte

	// Which optional headers to read. Fixed at creation.
	wantExtensions  bool
	wantForwarded   bool
	wantCredentials bool

	// lean is the head with only the headers that the library needs. A browser sends a dozen others, and the library would
	// bring the name of each into canonical form. The memory is kept for the next request.
	lean []byte
}

// Bits of headers. They may not come twice, because two programs could use different ones of the two.
const (
	seenHost = 1 << iota
	seenOrigin
	seenUpgrade
	seenKey
	seenVersion
	seenAuthorization
	seenConnection // with the option upgrade; this header is a list and may come several times (RFC 9110 section 5.3)
)

// parse refuses what the library accepts: bodies, folded lines, control characters, repeated headers. It also
// distinguishes a plain request from a bad upgrade, so that people get an answer that helps them. It does not allocate.
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

// keep adds a header to lean.
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

// parseTarget reads the request target. Clients send a path; a server must also accept the absolute form (RFC 9112 section
// 3.2.2, RFC 6455 section 4.1), whose authority replaces the Host header.
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
	if p := string(path); p != "/" && p != "/ws" { // the paths that the clients and the server of the article use
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
	switch len(name) { // most headers are not needed, and the length of the name shows it
	case len("Host"):
		if equalFold(name, "Host") {
			return h.setHost(value)
		}
	case len("Origin"): // also the length of Cookie
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
	case len("Sec-WebSocket-Key"): // also the length of Transfer-Encoding
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

// setExtensions reads one Sec-WebSocket-Extensions header. If there are several, their offers are one list.
func (h *requestHead) setExtensions(value []byte) error {
	answer, err := answerExtensions(value)
	if h.deflate == deflateDeclined {
		h.deflate = answer
	}
	return err
}

// list is a header that may come several times. The values are one list, in their order (RFC 9110 section 5.3).
type list struct {
	text  []byte
	there bool // the header has come, perhaps with an empty value
}

func (l *list) add(value []byte, separator string) {
	if l.there {
		l.text = append(l.text, separator...)
	}
	l.text, l.there = append(l.text, value...), true
}

// value returns the list, nil if there was no such header.
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

// isKey reports whether key is the base64 of 16 bytes (RFC 6455 section 4.2.1 item 5): 22 digits and "==".
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

// userOf returns the value of ?user= in a query. Other parameters are ignored.
func userOf(query []byte) (string, error) {
	for len(query) > 0 {
		var pair []byte
		pair, query, _ = bytes.Cut(query, []byte("&"))
		name, value, _ := bytes.Cut(pair, []byte("="))
		if string(name) != "user" {
			continue
		}
		user, err := url.QueryUnescape(string(value))
		if err != nil || user != "" && protocol.CheckName(user) != nil { // the rule for channel names
			return "", errHead
		}
		return user, nil
	}
	return "", nil
}
