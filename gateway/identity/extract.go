package identity

import (
	"bytes"

	"github.com/carillon-ws/carillon/protocol/http1"
)

// Sources says where a token may be, beside the headers Sec-WebSocket-Protocol and Authorization.
type Sources struct {
	Cookie string // name of a cookie; "": none
	Query  bool   // ?token=, which proxies write into their logs
}

// Token returns the token of a request, or nil. It is a part of c and not copied. The first place with a token counts,
// whether the token is good or bad; the other places are not looked at:
//
//  1. Sec-WebSocket-Protocol: carillon.v1, bearer.<token>, the only header that a page can set
//  2. Authorization: Bearer <token>
//  3. the cookie, if one is configured. A browser sends it by itself, so it comes after what a client gave on purpose. It
//     is only as safe as the check of the Origin header.
//  4. ?token=<token>, if allowed
func (s Sources) Token(c http1.Credentials) []byte {
	if token := FromSubprotocols(c.Subprotocols); token != nil {
		return token
	}
	if token := FromAuthorization(c.Authorization); token != nil {
		return token
	}
	if token := FromCookie(c.Cookie, s.Cookie); token != nil {
		return token
	}
	if s.Query {
		return FromQuery(c.Query)
	}
	return nil
}

const bearerProtocol = "bearer."

// FromSubprotocols finds the token in a list of sub-protocols: it is the rest of the first item that begins with "bearer.".
// All letters of a token are allowed in the name of a sub-protocol. The answer must not select this item. The token is a
// part of value.
func FromSubprotocols(value []byte) []byte {
	for item := range bytes.SplitSeq(value, []byte(",")) {
		token, ok := bytes.CutPrefix(trimSpace(item), []byte(bearerProtocol))
		if ok && len(token) > 0 {
			return token
		}
	}
	return nil
}

// FromAuthorization finds the token in the value of an Authorization header of the scheme Bearer, in upper or lower case (RFC
// 6750 section 2.1, RFC 9110 section 11.1). The token is a part of value.
func FromAuthorization(value []byte) []byte {
	const scheme = "bearer"
	value = trimSpace(value)
	if len(value) <= len(scheme) || value[len(scheme)] != ' ' {
		return nil
	}
	for i := range len(scheme) {
		if value[i]|0x20 != scheme[i] { // all of scheme are letters
			return nil
		}
	}
	return orNil(trimSpace(value[len(scheme):]))
}

// FromCookie finds the value of the cookie with a name, which is case-sensitive (RFC 6265 section 4.2). The first of several
// counts, which has the longest path. Quotes around the value are taken off. The token is a part of value.
func FromCookie(value []byte, name string) []byte {
	if name == "" {
		return nil
	}
	for pair := range bytes.SplitSeq(value, []byte(";")) {
		key, token, ok := bytes.Cut(trimSpace(pair), []byte("="))
		if !ok || string(key) != name {
			continue
		}
		if n := len(token); n >= 2 && token[0] == '"' && token[n-1] == '"' {
			token = token[1 : n-1]
		}
		return orNil(token)
	}
	return nil
}

// FromQuery finds the first parameter named token in a query string. Nothing is unescaped: no letter of a token needs it.
// The token is a part of query.
func FromQuery(query []byte) []byte {
	for pair := range bytes.SplitSeq(query, []byte("&")) {
		if token, ok := bytes.CutPrefix(pair, []byte("token=")); ok {
			return orNil(token)
		}
	}
	return nil
}

// trimSpace takes off the white space that may be around a field value (RFC 9110 section 5.5).
func trimSpace(value []byte) []byte { return bytes.Trim(value, " \t") }

func orNil(token []byte) []byte {
	if len(token) == 0 {
		return nil
	}
	return token
}
