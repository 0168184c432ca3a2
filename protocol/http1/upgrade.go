package http1

import (
	"bytes"
	"errors"

	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/protocol"
)

// Config says which handshakes are accepted.
type Config struct {
	// AllowOrigins are the origins (scheme://host[:port]) of pages that may connect; "*" is any origin. If the list is
	// empty, a page may connect if the host and port of its origin equal the Host header, or if Loopback is set and its
	// origin is a loopback one. Requests without an Origin do not come from a page and are always accepted.
	AllowOrigins []string
	Loopback     bool
	// LoopbackHost accepts an origin that equals the Host header only if that is a loopback name or address. It is for
	// gateways that are protected by nothing but their loopback address. Anybody can make a DNS name point to that address
	// (DNS rebinding), and a page of such a name has an origin that equals Host. It cannot be distinguished from a page of
	// the gateway's own name.
	LoopbackHost bool
	// Deflate accepts offers of permessage-deflate (RFC 7692). If it is not set, extensions are ignored.
	Deflate bool
	// TrustForwarded sets Request.ForwardedFor. If it is not set, X-Forwarded-For is ignored.
	TrustForwarded bool
	// Credentials sets Request.Credentials.
	Credentials bool
	// DemoURL is in the answer to people who open the port in a browser. May be empty.
	DemoURL string
}

// Request is what the gateway needs of an accepted handshake.
type Request struct {
	User        string // the value of ?user=: a label that proves nothing
	Subprotocol bool   // [protocol.Subprotocol] was offered and accepted
	Deflate     bool   // permessage-deflate was offered and accepted

	// ForwardedFor is X-Forwarded-For, as the peer sent it; several headers are joined into one list. [ClientAddr] says
	// what of it can be trusted.
	ForwardedFor string

	// Credentials are the parts of the request that may have a token; nil unless Config.Credentials is set.
	Credentials *Credentials
}

// Credentials are the parts of a request that may have a token, as the client sent them. A part that is absent is nil.
// Several headers of Subprotocols or Cookie are joined into one list.
type Credentials struct {
	Subprotocols  []byte // Sec-WebSocket-Protocol
	Authorization []byte
	Cookie        []byte
	Query         []byte // without the question mark
}

// Upgrader answers opening handshakes (RFC 6455 section 4.2). A loop has one for all its connections, and its memory is
// reused. Not safe for concurrent use.
type Upgrader struct {
	cfg  Config
	lib  ws.Upgrader
	conn headConn
	req  Request     // the result of the last Upgrade
	in   requestHead // the request being read

	credentials Credentials // of the last Upgrade
}

// headConn is the connection that the library reads one request head from, and writes the response to.
type headConn struct {
	head []byte
	out  []byte
}

var errHeadRead = errors.New("request head has ended")

func (c *headConn) Read(p []byte) (int, error) {
	if len(c.head) == 0 {
		return 0, errHeadRead
	}
	n := copy(p, c.head)
	c.head = c.head[n:]
	return n, nil
}

func (c *headConn) Write(p []byte) (int, error) {
	c.out = append(c.out, p...)
	return len(p), nil
}

// NewUpgrader returns an Upgrader for one loop.
func NewUpgrader(cfg Config) *Upgrader {
	u := &Upgrader{cfg: cfg, in: requestHead{
		wantExtensions: cfg.Deflate, wantForwarded: cfg.TrustForwarded, wantCredentials: cfg.Credentials,
	}}
	u.lib = ws.Upgrader{
		ProtocolCustom: u.chooseProtocol,
		OnBeforeUpgrade: func() (ws.HandshakeHeader, error) {
			if !isKey(u.in.key) {
				return nil, ws.ErrHandshakeBadSecKey
			}
			if err := u.checkOrigin(); err != nil {
				return nil, err
			}
			return u.in.deflate.header(), nil
		},
	}
	return u
}

// Upgrade reads one whole request head, with its blank line, and appends the 101 response to dst. If the request is refused
// it appends nothing and returns the refusal. The Request is valid until the next call; its Credentials are also invalid as
// soon as head changes.
func (u *Upgrader) Upgrade(dst, head []byte) ([]byte, *Request, *Refusal) {
	u.req = Request{}
	out, err := u.upgrade(dst, head)
	u.conn = headConn{}
	u.in.reset()
	if err != nil {
		return dst, nil, u.refusal(err)
	}
	return out, &u.req, nil
}

func (u *Upgrader) upgrade(dst, head []byte) (out []byte, err error) {
	if err = u.in.parse(head); err != nil {
		return nil, err
	}
	if u.req.User, err = userOf(u.in.query); err != nil {
		return nil, err
	}
	u.req.Deflate = u.in.deflate != deflateDeclined
	u.req.ForwardedFor = string(u.in.forwarded.value())
	if u.cfg.Credentials {
		u.credentials = Credentials{
			Subprotocols: u.in.subprotocols.value(), Authorization: u.in.authorization,
			Cookie: u.in.cookies.value(), Query: u.in.query,
		}
		u.req.Credentials = &u.credentials
	}
	u.conn = headConn{head: u.in.lean, out: dst}
	_, err = u.lib.Upgrade(&u.conn)
	return u.conn.out, err
}

// chooseProtocol reads one list of offered sub-protocols. If it does not have [protocol.Subprotocol], none is accepted, and
// the client decides whether it continues (RFC 6455 section 4.2.2). ok is false if the list is malformed.
func (u *Upgrader) chooseProtocol(offered []byte) (chosen string, ok bool) {
	for name := range bytes.SplitSeq(offered, []byte(",")) {
		switch name = trimSpace(name); {
		case len(name) == 0: // empty elements are allowed (RFC 9110 section 5.6.1.2)
		case !isToken(name):
			return "", false
		case string(name) == protocol.Subprotocol:
			u.req.Subprotocol, chosen = true, protocol.Subprotocol
		}
	}
	return chosen, true
}

// checkOrigin refuses pages of other sites: they would connect with the user's cookies, or from the user's own network (RFC
// 6455 section 10.2). [Config] says which pages are accepted.
func (u *Upgrader) checkOrigin() error {
	if u.in.seen&seenOrigin == 0 {
		return nil
	}
	origin := u.in.origin
	if len(u.cfg.AllowOrigins) > 0 {
		for _, allowed := range u.cfg.AllowOrigins {
			if allowed == "*" || equalFold(origin, allowed) {
				return nil
			}
		}
		return errOrigin
	}
	scheme, authority, _ := bytes.Cut(origin, []byte("://"))
	host, _, ok := splitHostPort(authority)
	switch {
	case !ok || !isToken(scheme):
		return errOrigin
	case u.cfg.Loopback && IsLoopbackHost(string(host)):
		return nil
	case !equalFold(authority, u.in.host):
		return errOrigin
	case u.cfg.LoopbackHost && !IsLoopbackHost(string(host)):
		return errRebound
	default:
		return nil
	}
}
