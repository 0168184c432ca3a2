package http1

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// binaryHeader builds a header of version 2, valid or not.
func binaryHeader(command, family byte, length int, body string) string {
	head := append([]byte(proxyV2), command, family)
	return string(binary.BigEndian.AppendUint16(head, uint16(length))) + body
}

const (
	body4 = "\xc0\x00\x02\x01\xc6\x33\x64\x01\xdc\x04\x01\xbb" // 192.0.2.1:56324 to 198.51.100.1:443
	body6 = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" +
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\xdc\x04\x01\xbb"
	proxyLine = "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n"
)

// proxyRows are headers and what they mean. early is the number of bytes after which a bad header must be refused.
var proxyRows = []struct {
	name  string
	in    string
	want  string // the address; empty for none
	n     int    // 0: the header is refused, or not whole
	early int    // 0: the header is not refused
}{
	{name: "nothing", in: ""},
	{name: "2.1 TCP4", in: proxyLine, want: "192.0.2.1:56324", n: len(proxyLine)},
	{name: "2.1 TCP4, a request behind it", in: "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nGET / HTTP/1.1\r\nHost: 192.168.0.11\r\n\r\n", want: "192.168.0.1:56324", n: 47},
	{name: "2.1 TCP4, longest", in: "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", want: "255.255.255.255:65535", n: 56},
	{name: "2.1 TCP6", in: "PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", want: "[2001:db8::1]:1", n: 44},
	{name: "2.1 TCP6, longest", in: "PROXY TCP6 ffff:f1ff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", want: "[ffff:f1ff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", n: 104},
	{name: "2.1 TCP6, IPv4 inside", in: "PROXY TCP6 ::ffff:192.0.2.1 ::1 2 3\r\n", want: "192.0.2.1:2", n: 37},
	{name: "2.1 UNKNOWN", in: "PROXY UNKNOWN\r\nx", n: 15},
	{name: "2.1 UNKNOWN, worst case", in: "PROXY UNKNOWN ffff:f1ff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", n: 107},
	{name: "2.1 UNKNOWN and anything", in: "PROXY UNKNOWN \x00 TCP4\r\n", n: 22},
	{name: "2.1 port 0", in: "PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", want: "0.0.0.0:0", n: 32},
	{name: "2.1 line that goes on", in: "PROXY TCP4 192.0.2.1 198."},
	{name: "2.1 line up to its CR", in: proxyLine[:len(proxyLine)-1]},

	{name: "2.1 line over 107 bytes", in: "PROXY UNKNOWN " + strings.Repeat("x", 92) + "\r\n", early: 107},
	{name: "2.1 line without an end", in: "PROXY TCP4 " + strings.Repeat("1", 200), early: 107},
	{name: "2.1 other family", in: "PROXY TCP5 1", early: 10},
	{name: "2.1 UDP4", in: "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", early: 8},
	{name: "2.1 small letters", in: "proxy TCP4", early: 1},
	{name: "2.1 two spaces", in: "PROXY  TCP4", early: 7},
	{name: "2.1 UNKNOWN with more", in: "PROXY UNKNOWNS\r\n", early: 14},
	{name: "2.1 TCP4 without a space", in: "PROXY TCP4\r\n", early: 11},
	{name: "2.1 LF alone", in: "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\n", early: 44},
	{name: "2.1 LF alone, UNKNOWN", in: "PROXY UNKNOWN x\n", early: 16},
	{name: "2.1 CR and more", in: "PROXY TCP4 192.0.2.1\r 198.51.100.1 56324 443\r\n", early: 22},
	{name: "2.1 name for an address", in: "PROXY TCP4 localhost 198.51.100.1 1 2\r\n", early: 12},
	{name: "2.1 NUL", in: "PROXY TCP4 192.0.2.1\x00", early: 21},
	{name: "2.1 IPv6 as TCP4", in: "PROXY TCP4 ::1 ::1 1 2\r\n", early: 24},
	{name: "2.1 IPv4 as TCP6", in: "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", early: 36},
	{name: "2.1 families mixed", in: "PROXY TCP4 192.0.2.1 ::1 1 2\r\n", early: 30},
	{name: "2.1 leading zero in the address", in: "PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n", early: 37},
	{name: "2.1 leading zero in the port", in: "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", early: 37},
	{name: "2.1 port over 65535", in: "PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n", early: 40},
	{name: "2.1 other port over 65535", in: "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n", early: 40},
	{name: "2.1 no ports", in: "PROXY TCP4 192.0.2.1 192.0.2.2\r\n", early: 32},
	{name: "2.1 a field more", in: "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", early: 38},
	{name: "2.1 space at the end", in: "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", early: 37},
	{name: "2.1 two spaces between", in: "PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n", early: 37},
	{name: "2.1 IPv6 with a zone", in: "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", early: 19},

	{name: "2.2 TCP4", in: binaryHeader(0x21, 0x11, 12, body4), want: "192.0.2.1:56324", n: 28},
	{name: "2.2 TCP4, a request behind it", in: binaryHeader(0x21, 0x11, 12, body4+"GET / HTTP/1.1\r\n"), want: "192.0.2.1:56324", n: 28},
	{name: "2.2 TCP6", in: binaryHeader(0x21, 0x21, 36, body6), want: "[2001:db8::1]:56324", n: 52},
	{name: "2.2 TCP6, IPv4 inside", in: binaryHeader(0x21, 0x21, 36, strings.Repeat("\x00", 10)+"\xff\xff\x7f\x00\x00\x01"+strings.Repeat("\x00", 18)+"\x00\x09"), want: "127.0.0.1:0", n: 52},
	{name: "2.2 TCP4 with extensions", in: binaryHeader(0x21, 0x11, 12+7, body4+"\x03\x00\x04\xa9\x87\x7e\x2bx"), want: "192.0.2.1:56324", n: 35},
	{name: "2.2 TCP6 with extensions up to the limit", in: binaryHeader(0x21, 0x21, 520, body6+strings.Repeat("\x04", 484)+"x"), want: "[2001:db8::1]:56324", n: 536},
	{name: "2.2 LOCAL", in: binaryHeader(0x20, 0x00, 0, "GET /"), n: 16},
	{name: "2.2 LOCAL with a family", in: binaryHeader(0x20, 0x11, 12, body4), n: 28},
	{name: "2.2 LOCAL with a family that does not exist", in: binaryHeader(0x20, 0xff, 3, "abcd"), n: 19},
	{name: "2.2 UNSPEC", in: binaryHeader(0x21, 0x00, 5, "abcdef"), n: 21},
	{name: "2.2 UDP4", in: binaryHeader(0x21, 0x12, 12, body4), n: 28},
	{name: "2.2 Unix", in: binaryHeader(0x21, 0x31, 216, strings.Repeat("/", 216)), n: 232},
	{name: "2.2 length to come", in: binaryHeader(0x21, 0x11, 12, "")[:15]},
	{name: "2.2 addresses to come", in: binaryHeader(0x21, 0x11, 12, body4[:11])},
	{name: "2.2 extensions to come", in: binaryHeader(0x21, 0x11, 13, body4)},

	{name: "2.2 version 1", in: binaryHeader(0x11, 0x11, 12, body4), early: 13},
	{name: "2.2 version 3", in: binaryHeader(0x31, 0x11, 12, body4), early: 13},
	{name: "2.2 command 2", in: binaryHeader(0x22, 0x11, 12, body4), early: 13},
	{name: "2.2 family 4", in: binaryHeader(0x21, 0x41, 12, body4), early: 14},
	{name: "2.2 transport 3", in: binaryHeader(0x21, 0x13, 12, body4), early: 14},
	{name: "2.2 TCP4 too short", in: binaryHeader(0x21, 0x11, 11, body4), early: 16},
	{name: "2.2 TCP6 too short", in: binaryHeader(0x21, 0x21, 12, body4), early: 16},
	{name: "2.2 over the limit", in: binaryHeader(0x21, 0x11, 521, body4), early: 16},
	{name: "2.2 LOCAL over the limit", in: binaryHeader(0x20, 0x00, 521, body4), early: 16},
	{name: "2.2 far over the limit", in: binaryHeader(0x21, 0x11, 0xffff, body4), early: 15},
	{name: "2.2 signature broken", in: "\r\n\r\n\x00\r\nQUIX\n", early: 11},

	{name: "T7 request", in: "GET / HTTP/1.1\r\n", early: 1},
	{name: "T7 POST", in: "POST / HTTP/1.1\r\n", early: 2},
	{name: "T7 h2 preface", in: "PRI * HTTP/2.0\r\n", early: 3},
	{name: "T7 blank lines", in: "\r\n\r\n\r\n", early: 5},
	{name: "T7 TLS hello", in: "\x16\x03\x01", early: 1},
}

// Each header arrives byte by byte. The result must come after the expected byte, not sooner and not later.
func TestParseProxyHeader(t *testing.T) {
	for _, tc := range proxyRows {
		t.Run(tc.name, func(t *testing.T) {
			var want netip.AddrPort
			if tc.want != "" {
				want = netip.MustParseAddrPort(tc.want)
			}
			for at := range len(tc.in) + 1 {
				buf := []byte(tc.in[:at])
				addr, n, err := ParseProxyHeader(buf)
				switch {
				case tc.early > 0 && at >= tc.early:
					if !errors.Is(err, ErrProxyHeader) || n != 0 || addr.IsValid() {
						t.Errorf("ParseProxyHeader(%q) = %v, %d, %v, want %v", buf, addr, n, err, ErrProxyHeader)
					}
				case tc.n > 0 && at >= tc.n:
					if addr != want || n != tc.n || err != nil {
						t.Errorf("ParseProxyHeader(%q) = %v, %d, %v, want %v, %d", buf, addr, n, err, want, tc.n)
					}
				case addr.IsValid() || n != 0 || err != nil:
					t.Errorf("ParseProxyHeader(%q) = %v, %d, %v, want to need more", buf, addr, n, err)
				}
			}
		})
	}
}

func TestClientAddr(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, tc := range []struct {
		name, peer, forwardedFor, want string
	}{
		{"no proxy", "203.0.113.9", "", "203.0.113.9"},
		{"T8 peer is not trusted", "203.0.113.9", "198.51.100.1", "203.0.113.9"},
		{"T8 peer is not trusted and names a proxy", "203.0.113.9", "10.0.0.1", "203.0.113.9"},
		{"one proxy", "10.0.0.1", "198.51.100.1", "198.51.100.1"},
		{"one proxy, nothing said", "10.0.0.1", "", "10.0.0.1"},
		{"T8 one proxy, the client made something up", "10.0.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1"},
		{"T8 one proxy, the client named a proxy", "10.0.0.1", "1.1.1.1, 10.0.0.7, 198.51.100.1", "198.51.100.1"},
		{"two proxies", "10.0.0.1", "198.51.100.1, 10.0.0.2", "198.51.100.1"},
		{"two proxies, no white space", "10.0.0.1", "1.1.1.1,198.51.100.1,10.0.0.2", "198.51.100.1"},
		{"two proxies, much white space", "10.0.0.1", "1.1.1.1 ,\t198.51.100.1\t , 10.0.0.2 ", "198.51.100.1"},
		{"only proxies", "10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"},
		{"garbage", "10.0.0.1", "198.51.100.1, unknown", "10.0.0.1"},
		{"garbage behind a proxy", "10.0.0.1", "198.51.100.1, unknown, 10.0.0.2", "10.0.0.2"},
		{"garbage left of the client", "10.0.0.1", "unknown, 198.51.100.1", "198.51.100.1"},
		{"hidden", "10.0.0.1", "_hidden", "10.0.0.1"},
		{"empty entry", "10.0.0.1", "198.51.100.1,", "10.0.0.1"},
		{"only a comma", "10.0.0.1", ",", "10.0.0.1"},
		{"leading zeros", "10.0.0.1", "198.051.100.001", "10.0.0.1"},
		{"with a port", "10.0.0.1", "198.51.100.1:1234", "198.51.100.1"},
		{"port that is none", "10.0.0.1", "198.51.100.1:x", "10.0.0.1"},
		{"IPv6", "10.0.0.1", "2001:db8::1", "2001:db8::1"},
		{"IPv6 in brackets", "10.0.0.1", "[2001:db8::1]", "2001:db8::1"},
		{"IPv6 with a port", "10.0.0.1", "[2001:db8::1]:1234", "2001:db8::1"},
		{"IPv6 in a bracket", "10.0.0.1", "[2001:db8::1", "10.0.0.1"},
		{"IPv6 before a bracket", "10.0.0.1", "2001:db8::1]", "10.0.0.1"},
		{"IPv6 with a zone", "10.0.0.1", "fe80::1%eth0", "10.0.0.1"},
		{"IPv6 with a zone in brackets", "10.0.0.1", "[fe80::1%eth0]:1", "10.0.0.1"},
		{"IPv4 in brackets", "10.0.0.1", "[198.51.100.1]", "10.0.0.1"},
		{"IPv6 proxies", "fd00::1", "2001:db8::1, fd00::2", "2001:db8::1"},
		{"IPv4 inside IPv6 as the peer", "::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"},
		{"IPv4 inside IPv6 as the client", "10.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"},
		{"IPv4 inside IPv6 as a proxy", "10.0.0.1", "198.51.100.1, ::ffff:10.0.0.2", "198.51.100.1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := ClientAddr(netip.MustParseAddr(tc.peer), tc.forwardedFor, trusted)
			if want := netip.MustParseAddr(tc.want); got != want {
				t.Errorf("ClientAddr(%s, %q) = %v, want %v", tc.peer, tc.forwardedFor, got, want)
			}
			peer := netip.MustParseAddr(tc.peer).Unmap()
			if got := ClientAddr(peer, tc.forwardedFor, nil); got != peer {
				t.Errorf("ClientAddr(%s, %q) = %v while nobody is trusted", tc.peer, tc.forwardedFor, got)
			}
		})
	}
	if got := ClientAddr(netip.Addr{}, "198.51.100.1", trusted); got.IsValid() {
		t.Errorf("ClientAddr of no peer = %v", got)
	}
}

// Several X-Forwarded-For headers are one list, in their order.
func TestUpgradeForwardedFor(t *testing.T) {
	for _, tc := range []struct {
		name    string
		headers []string
		want    string
	}{
		{"none", nil, ""},
		{"one", []string{"X-Forwarded-For: 198.51.100.1, 10.0.0.2"}, "198.51.100.1, 10.0.0.2"},
		{"in another case", []string{"x-forwarded-FOR:198.51.100.1"}, "198.51.100.1"},
		{"two", []string{"X-Forwarded-For: 1.1.1.1", "+X-Forwarded-For: 198.51.100.1"}, "1.1.1.1, 198.51.100.1"},
		{"empty", []string{"X-Forwarded-For: "}, ""},
		{"second is empty", []string{"X-Forwarded-For: 1.1.1.1", "+X-Forwarded-For:"}, "1.1.1.1, "},
		{"another header of that length", []string{"X-Forwarded-Foo: 1.1.1.1"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u := NewUpgrader(Config{TrustForwarded: true})
			_, got, refusal := u.Upgrade(nil, []byte(request(tc.headers...)))
			if refusal != nil || got.ForwardedFor != tc.want {
				t.Errorf("Upgrade(%q) = %+v, %+v, want %q", tc.headers, got, refusal, tc.want)
			}
			if _, got, refusal = u.Upgrade(nil, []byte(request())); refusal != nil || *got != (Request{}) {
				t.Errorf("after it Upgrade(least) = %+v, %+v, want nothing of the one before", got, refusal)
			}
			if _, got, _ = NewUpgrader(Config{}).Upgrade(nil, []byte(request(tc.headers...))); got.ForwardedFor != "" {
				t.Errorf("Upgrade(%q) = %+v while it was not asked for", tc.headers, got)
			}
		})
	}
}

// The header arrives byte by byte. A decision must not change when more bytes arrive, and must come within the bounds.
func FuzzProxy(f *testing.F) {
	for _, row := range proxyRows {
		f.Add([]byte(row.in))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		data = data[:min(len(data), maxProxyV2+10)]
		whole, n, err := ParseProxyHeader(data)
		if n < 0 || n > len(data) || err != nil && (n != 0 || !errors.Is(err, ErrProxyHeader)) || n == 0 && whole.IsValid() {
			t.Fatalf("ParseProxyHeader(%q) = %v, %d, %v", data, whole, n, err)
		}
		if n == 0 && err == nil && (len(data) >= maxProxyV2 || len(data) >= maxProxyV1 && data[0] == 'P') {
			t.Errorf("ParseProxyHeader(%q) needs more than the bound", data)
		}
		decided := false
		for at := range len(data) + 1 {
			addr, m, err2 := ParseProxyHeader(slices.Clone(data[:at]))
			if decided = decided || m > 0 || err2 != nil; decided && (addr != whole || m != n || !errors.Is(err2, err)) {
				t.Fatalf("ParseProxyHeader(%q) = %v, %d, %v after %d bytes, whole %v, %d, %v", data, addr, m, err2, at, whole, n, err)
			}
		}
		if n > 0 && bytes.HasPrefix(data, []byte(proxyV1)) && (n > maxProxyV1 || !bytes.HasSuffix(data[:n], []byte("\r\n"))) {
			t.Errorf("ParseProxyHeader(%q) = %d, which is no line", data, n)
		}
		if got := ClientAddr(netip.MustParseAddr("10.0.0.1"), string(data), []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}); !got.IsValid() || got.Zone() != "" {
			t.Errorf("ClientAddr(%q) = %v", data, got)
		}
	})
}

func BenchmarkParseProxyHeader(b *testing.B) {
	for _, bc := range []struct{ name, in string }{
		{"v1", proxyLine},
		{"v2", binaryHeader(0x21, 0x11, 12, body4)},
	} {
		b.Run(bc.name, func(b *testing.B) {
			buf := []byte(bc.in)
			b.ReportAllocs()
			for b.Loop() {
				if _, n, err := ParseProxyHeader(buf); n == 0 || err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
