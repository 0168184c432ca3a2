package http1

import (
	"bytes"
	"errors"

	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/protocol"
)

// Config says which handshakes are accepted.
type Config struct {
	// AllowOrigins are origins (scheme://host[:port], lower case) that pages may connect from; "*" is any. When it is
	// empty a page may connect if its origin's host equals the Host header, or if Loopback is set and it is a
	// loopback origin itself. Requests without an Origin do not come from a page and are always allowed.
	AllowOrigins []string
	Loopback     bool
	// LoopbackHost has an origin that equals Host count only if Host is a loopback name or address. It is for gateways
	// that nothing but their loopback address protects: anybody can have a name point there (DNS rebinding), and a page
	// of that name has an origin that equals Host. No other name can be told from it.
	LoopbackHost bool
	// Deflate accepts permessage-deflate (RFC 7692) when it is offered; else extensions are not looked at.
	Deflate bool
	// TrustForwarded keeps X-Forwarded-For, for [ClientAddr] to judge; else it is not looked at.
	TrustForwarded bool
	// Credentials keeps where a token may stand; else it is not looked at.
	Credentials bool
	// DemoURL is named in the answer to people who open the port in a browser. May be empty.
	DemoURL string
}

// Request is what an accepted handshake said.
type Request struct {
	User        string // of ?user=: a label, nothing more
	Subprotocol bool   // [protocol.Subprotocol] was offered, and so answered
	Deflate     bool   // permessage-deflate was offered and accepted

	// ForwardedFor is X-Forwarded-For, several headers joined into one list, as whoever sent it says.
	ForwardedFor string

	// Credentials are where a token may stand, as the client sent it; nil unless they are looked for.
	Credentials *Credentials
}

// Credentials are the parts of a request in which a token may stand; one that is absent is nil. Several headers of
// Subprotocols or Cookie are one list.
type Credentials struct {
	Subprotocols  []byte // Sec-WebSocket-Protocol
	Authorization []byte
	Cookie        []byte
	Query         []byte // without the question mark
}

// Upgrader answers opening handshakes (RFC 6455 section 4.2). One per loop: its memory is reused. Not safe for
// concurrent use.
type Upgrader struct {
	cfg  Config
	lib  ws.Upgrader
	conn headConn
	req  Request     // the answer of the last Upgrade
	in   requestHead // the request being read

	credentials Credentials // of the last Upgrade
}

// headConn gives the library exactly one request head to read, and takes its answer.
type headConn struct {
	head []byte
	out  []byte
}

var errHeadRead = errors.New("request head is used up")

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

// Upgrade reads one whole request head, blank line included, and appends the 101 response to dst. When the request
// is refused, nothing is appended. The Request is valid until the next call, and its Credentials as long as head, which
// is not kept.
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

// chooseProtocol reads the list of sub-protocols that are offered. When ours is not among them none is answered:
// the client decides whether it goes on (RFC 6455 section 4.2.2).
func (u *Upgrader) chooseProtocol(offered []byte) (chosen string, ok bool) {
	for name := range bytes.SplitSeq(offered, []byte(",")) {
		switch name = trimSpace(name); {
		case len(name) == 0: // RFC 9110 section 5.6.1.2
		case !isToken(name):
			return "", false
		case string(name) == protocol.Subprotocol:
			u.req.Subprotocol, chosen = true, protocol.Subprotocol
		}
	}
	return chosen, true
}

// checkOrigin is the defence against pages of other sites that connect with the user's cookies or from the
// user's own network (RFC 6455 section 10.2).
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
