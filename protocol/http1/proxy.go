package http1

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// ErrProxyHeader is returned for bytes that cannot be the beginning of a PROXY protocol header.
var ErrProxyHeader = errors.New("bad PROXY header")

const (
	// maxProxyV1 is the longest line, CR LF included (PROXY protocol section 2.1).
	maxProxyV1 = 107

	// maxProxyV2 fits the smallest TCP segment that every host accepts. A header has 16 bytes, at most 216 bytes of
	// addresses, and the extensions (TLVs) that load balancers add.
	maxProxyV2 = 536

	proxyV1 = "PROXY "
	proxyV2 = "\r\n\r\n\x00\r\nQUIT\n"
)

// ParseProxyHeader reads the header that a load balancer sends before the first byte of a connection: version 1 or 2 of
// https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt. addr is the client's address; it is zero if the header has
// none (LOCAL, UNKNOWN, a family that is not TCP over IP): then the peer's own address counts. n is the length of the
// header. If n is 0 and err is nil, buf has only a part of it. Bytes that cannot become a header are refused early, most of
// them at the first wrong byte.
func ParseProxyHeader(buf []byte) (addr netip.AddrPort, n int, err error) {
	switch {
	case beginsLike(buf, proxyV1):
		return parseProxyV1(buf)
	case beginsLike(buf, proxyV2):
		return parseProxyV2(buf)
	default:
		return netip.AddrPort{}, 0, ErrProxyHeader
	}
}

// beginsLike reports whether buf begins with prefix, or prefix begins with buf.
func beginsLike(buf []byte, prefix string) bool {
	n := min(len(buf), len(prefix))
	return string(buf[:n]) == prefix[:n]
}

// parseProxyV1 reads "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n" (section 2.1).
func parseProxyV1(buf []byte) (addr netip.AddrPort, n int, err error) {
	rest := buf[min(len(buf), len(proxyV1)):]
	unknown := beginsLike(rest, "UNKNOWN ") || beginsLike(rest, "UNKNOWN\r")
	if !unknown && !beginsLike(rest, "TCP4 ") && !beginsLike(rest, "TCP6 ") {
		return addr, 0, ErrProxyHeader
	}
	line := buf[:min(len(buf), maxProxyV1)]
	end := bytes.IndexByte(line, '\n')
	if end < 0 {
		if len(line) == maxProxyV1 || !unknown && !maybeProxyLine(rest) {
			return addr, 0, ErrProxyHeader
		}
		return addr, 0, nil
	}
	text, ok := strings.CutSuffix(string(line[:end]), "\r")
	if !ok {
		return addr, 0, ErrProxyHeader
	}
	if unknown { // the rest of the line is ignored (section 2.1)
		return addr, end + 1, nil
	}
	fields := strings.Split(text, " ")
	if len(fields) != 6 {
		return addr, 0, ErrProxyHeader
	}
	from, ok1 := proxyAddr(fields[1], fields[2], fields[4])
	_, ok2 := proxyAddr(fields[1], fields[3], fields[5])
	if !ok1 || !ok2 {
		return addr, 0, ErrProxyHeader
	}
	return from, end + 1, nil
}

// maybeProxyLine reports whether rest, the first part of a TCP4 or TCP6 line, has only characters that such a line can have.
func maybeProxyLine(rest []byte) bool {
	const family = len("TCP4")
	for i, c := range rest[min(len(rest), family):] {
		hex := c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
		last := c == '\r' && family+i == len(rest)-1
		if !hex && c != '.' && c != ':' && c != ' ' && !last {
			return false
		}
	}
	return true
}

// proxyAddr reads one end of a TCP4 or TCP6 line: an address of that family, and a port without leading zeros.
func proxyAddr(family, host, port string) (netip.AddrPort, bool) {
	addr, err := netip.ParseAddr(host)
	if err != nil || addr.Is4() != (family == "TCP4") || addr.Zone() != "" {
		return netip.AddrPort{}, false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || strconv.FormatUint(n, 10) != port {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(n)), true
}

// parseProxyV2 reads the binary header: signature, version and command, family, length, addresses, extensions
// (section 2.2).
func parseProxyV2(buf []byte) (addr netip.AddrPort, n int, err error) {
	const (
		fixed = len(proxyV2) + 4
		local = 0x20
		proxy = 0x21
		tcp4  = 0x11
		tcp6  = 0x21
	)
	rest := buf[min(len(buf), len(proxyV2)):]
	if len(rest) > 0 && rest[0] != local && rest[0] != proxy {
		return addr, 0, ErrProxyHeader
	}
	// LOCAL is a connection of the load balancer itself, as for a health check: its address family does not matter.
	isProxy := len(rest) > 0 && rest[0] == proxy
	if isProxy && len(rest) > 1 && (rest[1]>>4 > 3 || rest[1]&0xf > 2) {
		return addr, 0, ErrProxyHeader
	}
	if len(rest) > 2 && int(rest[2])<<8 > maxProxyV2 {
		return addr, 0, ErrProxyHeader
	}
	if len(rest) < 4 {
		return addr, 0, nil
	}
	size := 0 // of one address
	switch {
	case isProxy && rest[1] == tcp4:
		size = 4
	case isProxy && rest[1] == tcp6:
		size = 16
	}
	length := int(binary.BigEndian.Uint16(rest[2:]))
	if least := 2 * (size + 2); fixed+length > maxProxyV2 || size > 0 && length < least {
		return addr, 0, ErrProxyHeader
	}
	if len(buf) < fixed+length {
		return addr, 0, nil
	}
	if size > 0 { // both addresses, then both ports
		from, _ := netip.AddrFromSlice(buf[fixed : fixed+size])
		addr = netip.AddrPortFrom(from.Unmap(), binary.BigEndian.Uint16(buf[fixed+2*size:]))
	}
	return addr, fixed + length, nil
}

// ClientAddr returns the address of the client that sent a request. That is peer, unless peer is a trusted proxy. Then it is
// the last entry of X-Forwarded-For ([Request.ForwardedFor]), unless that is a trusted proxy, too; and so on to the left.
// Each proxy appends the address that it was called from, so only entries of trusted proxies are used: the client itself
// may have sent any entries to the left of them. If an entry is not an address, the result is the proxy that appended it.
// Trusted prefixes of IPv4 must be IPv4, not IPv4 in IPv6.
func ClientAddr(peer netip.Addr, forwardedFor string, trusted []netip.Prefix) netip.Addr {
	addr := peer.Unmap()
	for IsTrusted(addr, trusted) {
		rest, entry := "", forwardedFor
		if at := strings.LastIndexByte(forwardedFor, ','); at >= 0 {
			rest, entry = forwardedFor[:at], forwardedFor[at+1:]
		}
		before, ok := forwardedAddr(strings.Trim(entry, " \t"))
		if !ok {
			break
		}
		addr, forwardedFor = before, rest
	}
	return addr
}

// IsTrusted reports whether an address is in one of the trusted networks.
func IsTrusted(addr netip.Addr, trusted []netip.Prefix) bool {
	for _, prefix := range trusted {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// forwardedAddr reads an entry of X-Forwarded-For: an address, which some proxies write with a port.
func forwardedAddr(entry string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(entry)
	if err != nil {
		inside, ok := strings.CutPrefix(entry, "[")
		if inside, closed := strings.CutSuffix(inside, "]"); ok && closed {
			addr, err = netip.ParseAddr(inside)
			ok = addr.Is6()
		} else {
			var both netip.AddrPort
			both, err = netip.ParseAddrPort(entry)
			addr, ok = both.Addr(), true
		}
		if err != nil || !ok {
			return netip.Addr{}, false
		}
	}
	return addr.Unmap(), addr.Zone() == ""
}
