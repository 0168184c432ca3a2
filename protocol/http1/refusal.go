package http1

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"

	"github.com/gobwas/ws"
)

// Refusal is the answer to a request that is not upgraded.
type Refusal struct {
	Status     int    // HTTP status
	Reason     string // the metric label: one word for each cause
	Body       string // for people, without a line end
	RetryAfter int    // seconds; 0 leaves the header out
}

// Refusals whose reason is not in the request head, but for the token.
var (
	RefuseTimeout  = &Refusal{Status: http.StatusRequestTimeout, Reason: "handshake_timeout", Body: "The request was not complete in time."}
	RefuseHeadLong = &Refusal{Status: http.StatusRequestHeaderFieldsTooLarge, Reason: "head_too_large", Body: "The request head is too large."}
	RefuseLineLong = &Refusal{Status: http.StatusRequestURITooLong, Reason: "head_too_large", Body: "The request line is too long."}
	RefuseFull     = &Refusal{Status: http.StatusServiceUnavailable, Reason: "full", Body: "This gateway is at its limit of connections.", RetryAfter: 5}
	RefuseDraining = &Refusal{Status: http.StatusServiceUnavailable, Reason: "draining", Body: "This gateway is shutting down.", RetryAfter: 1}
	RefuseAddress  = &Refusal{Status: http.StatusTooManyRequests, Reason: "address", Body: "Too many connections from this address.", RetryAfter: 5}
	RefuseRate     = &Refusal{Status: http.StatusServiceUnavailable, Reason: "accept_rate", Body: "Too many clients connect at the same time.", RetryAfter: 1}
	RefuseInbound  = &Refusal{Status: http.StatusServiceUnavailable, Reason: "inbound_full", Body: "Too many requests and messages are unfinished.", RetryAfter: 2}
	RefuseProxy    = &Refusal{Status: http.StatusBadRequest, Reason: "bad_proxy_header", Body: "A PROXY protocol header is expected here."}
	RefuseNoToken  = &Refusal{Status: http.StatusUnauthorized, Reason: "no_token", Body: "A token is needed: Authorization: Bearer <token>, or Sec-WebSocket-Protocol: carillon.v1, bearer.<token>."}
	// Refusals of a token. The caller sets a Body that says what is wrong with it.
	RefuseToken    = &Refusal{Status: http.StatusUnauthorized, Reason: "bad_token"}
	RefuseExpired  = &Refusal{Status: http.StatusUnauthorized, Reason: "token_expired"}
	RefuseKey      = &Refusal{Status: http.StatusServiceUnavailable, Reason: "token_not_yet", RetryAfter: 5}
	RefuseInternal = &Refusal{Status: http.StatusInternalServerError, Reason: "internal", Body: "The gateway failed on this request."}
)

// AppendRefusal appends r as an HTTP/1.1 response that ends the connection.
func AppendRefusal(dst []byte, r *Refusal) []byte {
	h := http.Header{}
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Connection", "close")
	switch r.Status {
	case http.StatusUpgradeRequired: // RFC 9110 section 15.5.22, RFC 6455 section 4.4
		h.Set("Upgrade", "websocket")
		h.Set("Connection", "Upgrade, close")
		h.Set("Sec-WebSocket-Version", "13")
	case http.StatusMethodNotAllowed:
		h.Set("Allow", http.MethodGet)
	case http.StatusUnauthorized: // RFC 9110 section 15.5.2, RFC 6750 section 3
		h.Set("WWW-Authenticate", `Bearer realm="carillon"`)
	}
	if r.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(r.RetryAfter))
	}
	h.Set("Content-Length", strconv.Itoa(len(r.Body)+1))
	out := bytes.NewBuffer(dst)
	out.WriteString("HTTP/1.1 " + strconv.Itoa(r.Status) + " " + http.StatusText(r.Status) + "\r\n")
	_ = h.Write(out) // a bytes.Buffer does not fail
	out.WriteString("\r\n" + r.Body + "\n")
	return out.Bytes()
}

// refusal returns the answer to a request that failed with err.
func (u *Upgrader) refusal(err error) *Refusal {
	bad := func(body string) *Refusal {
		return &Refusal{Status: http.StatusBadRequest, Reason: "bad_request", Body: body}
	}
	switch {
	case errors.Is(err, errNoUpgrade):
		return &Refusal{Status: http.StatusUpgradeRequired, Reason: "not_upgrade", Body: u.welcome()}
	case errors.Is(err, ws.ErrHandshakeUpgradeRequired):
		return &Refusal{Status: http.StatusUpgradeRequired, Reason: "bad_version", Body: "Sec-WebSocket-Version must be 13."}
	case errors.Is(err, errNotFound):
		return &Refusal{Status: http.StatusNotFound, Reason: "bad_path", Body: "WebSocket clients connect to / or /ws."}
	case errors.Is(err, errMethod):
		return &Refusal{Status: http.StatusMethodNotAllowed, Reason: "bad_method", Body: "WebSocket handshakes are GET requests."}
	case errors.Is(err, errOrigin):
		return &Refusal{Status: http.StatusForbidden, Reason: "bad_origin", Body: "This origin is not allowed (-allow-origin)."}
	case errors.Is(err, errRebound):
		return &Refusal{Status: http.StatusForbidden, Reason: "bad_origin", Body: rebound}
	case errors.Is(err, errVersion):
		return &Refusal{Status: http.StatusHTTPVersionNotSupported, Reason: "bad_request", Body: "WebSocket handshakes are HTTP/1.1 requests."}
	case errors.Is(err, errBody):
		return bad("A handshake has no body.")
	case errors.Is(err, errDuplicate):
		return bad("A header that may come only once came twice.")
	case errors.Is(err, errHead), errors.Is(err, ws.ErrMalformedRequest):
		return bad("The request is malformed.")
	case errors.Is(err, ws.ErrHandshakeBadHost):
		return bad("The Host header is missing.")
	case errors.Is(err, ws.ErrHandshakeBadUpgrade):
		return bad("The Upgrade header must be websocket.")
	case errors.Is(err, ws.ErrHandshakeBadConnection):
		return bad("The Connection header must contain Upgrade.")
	case errors.Is(err, ws.ErrHandshakeBadSecKey):
		return bad("Sec-WebSocket-Key must be 16 bytes in base64.")
	case errors.Is(err, ws.ErrHandshakeBadSecVersion):
		return bad("Sec-WebSocket-Version is missing.")
	default:
		return bad("The handshake is malformed.")
	}
}

// rebound explains the rule of Config.LoopbackHost to operators. It refuses their own pages if there is a proxy in front of
// the gateway, or if the machine has a name of its own.
const rebound = "This origin is not allowed: this gateway listens on loopback and asks for no token, so pages connect from localhost only. " +
	"Start it with -allow-origin and the origin of your pages, or behind a proxy with -trusted-proxy and the proxy's address."

func (u *Upgrader) welcome() string {
	text := "This is a Carillon notification gateway. It speaks WebSocket: connect to /ws."
	if u.cfg.DemoURL != "" {
		text += "\nThe demo page, with a bell to try it, is at " + u.cfg.DemoURL
	}
	return text
}
