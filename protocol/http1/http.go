package http1

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
)

// IsLoopbackHost reports whether host always means the machine that looks it up: a loopback address, localhost, or a name
// below localhost. host has no port; an IPv6 address may have brackets.
func IsLoopbackHost(host string) bool {
	if inside, ok := strings.CutPrefix(host, "["); ok {
		if host, ok = strings.CutSuffix(inside, "]"); !ok {
			return false
		}
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap().IsLoopback()
	}
	const name = "localhost"
	if len(host) < len(name) || !isName(host) || !equalFold(host[len(host)-len(name):], name) {
		return false
	}
	return len(host) == len(name) || host[len(host)-len(name)-1] == '.' // RFC 6761 section 6.3
}

// splitHostPort splits an authority into host (IPv6 with its brackets) and port, which may be absent. It accepts no userinfo
// and no percent-encoding: neither the Origin of a browser nor the request of a client has them.
func splitHostPort[T string | []byte](authority T) (host, port T, ok bool) {
	end := len(authority)
	for i := range len(authority) {
		if c := authority[i]; c == ']' {
			end = i + 1
			break
		} else if c == ':' && authority[0] != '[' {
			end = i
			break
		}
	}
	host, port = authority[:end], authority[end:]
	if len(port) > 0 {
		if port = port[1:]; authority[end] != ':' || !isPort(port) {
			return host, port, false
		}
	}
	if len(host) > 0 && host[0] == '[' {
		if host[len(host)-1] != ']' {
			return host, port, false
		}
		addr, err := netip.ParseAddr(string(host[1 : len(host)-1]))
		return host, port, err == nil && addr.Is6() && addr.Zone() == ""
	}
	return host, port, isName(host)
}

// isName reports whether host is a name of letters, digits, dots, hyphens and underscores, or an IPv4 address.
func isName[T string | []byte](host T) bool {
	for i := range len(host) {
		switch c := host[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '-', c == '_':
		default:
			return false
		}
	}
	return len(host) > 0
}

func isPort[T string | []byte](port T) bool {
	for i := range len(port) {
		if port[i] < '0' || port[i] > '9' {
			return false
		}
	}
	return len(port) > 0 && len(port) <= 5
}

// equalFold compares as HTTP does: the case of ASCII letters does not matter. bytes.EqualFold is not used, because it also
// finds some letters outside ASCII equal to ASCII ones.
func equalFold[A, B string | []byte](a A, b B) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// Classes of bytes in a request head.
const (
	tokenByte = 1 << iota // of a token (RFC 9110 section 5.6.2)
	valueByte             // of a field value (section 5.5): no control characters but tabs
	hostByte              // of a Host header (RFC 3986 section 3.2.2, and the port)
)

var byteClass = func() (class [256]byte) {
	for c := range class {
		if c >= ' ' && c != 0x7f || c == '\t' {
			class[c] |= valueByte
		}
		alphanumeric := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if alphanumeric || c < 0x80 && strings.IndexByte("!#$%&'*+-.^_`|~", byte(c)) >= 0 {
			class[c] |= tokenByte
		}
		if alphanumeric || c < 0x80 && strings.IndexByte("!$%&'()*+,-.:;=[]_~", byte(c)) >= 0 {
			class[c] |= hostByte
		}
	}
	return class
}()

// all reports whether every byte of text is of the class.
func all(text []byte, class byte) bool {
	for _, c := range text {
		if byteClass[c]&class == 0 {
			return false
		}
	}
	return true
}

// isFieldValue reports whether value has no control characters except tabs (RFC 9110 section 5.5). Most of a request head is
// values, so eight bytes are checked together: the first term is not 0 if one of them may be less than a space, the second
// if one may be the delete character.
func isFieldValue(value []byte) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	rest := value
	for ; len(rest) >= 8; rest = rest[8:] {
		x := binary.LittleEndian.Uint64(rest)
		y := x ^ ones*0x7f
		if ((x-ones*' ')&^x|(y-ones)&^y)&highs != 0 {
			return all(value, valueByte) // it may be a tab
		}
	}
	return all(rest, valueByte)
}

// isToken reports whether name is a token (RFC 9110 section 5.6.2).
func isToken(name []byte) bool { return len(name) > 0 && all(name, tokenByte) }

// trimSpace removes the white space that may be around a field value (RFC 9110 section 5.5).
func trimSpace(value []byte) []byte {
	for len(value) > 0 && (value[0] == ' ' || value[0] == '\t') {
		value = value[1:]
	}
	for n := len(value) - 1; n >= 0 && (value[n] == ' ' || value[n] == '\t'); n-- {
		value = value[:n]
	}
	return value
}

// cutLine splits text after its first line, which must end with CR LF.
func cutLine(text []byte) (line, rest []byte, ok bool) {
	at := bytes.IndexByte(text, '\r')
	if at < 0 || at+1 == len(text) || text[at+1] != '\n' {
		return nil, nil, false
	}
	return text[:at], text[at+2:], true
}
