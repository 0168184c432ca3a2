package redis

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// resolving makes this process resolve every name to the addresses, in their order, until the test ends. Tests that use
// it are not parallel: a process has one resolver.
func resolving(t *testing.T, addrs ...netip.Addr) {
	t.Helper()
	old := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = old })
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer ignore(far.Close)
			for answerDNS(far, addrs) == nil {
			}
		}()
		return near, nil
	}}
}

// answerDNS reads one question and answers it (RFC 1035 section 4, over TCP): with the addresses if it is for IPv4, else
// with none.
func answerDNS(conn net.Conn, addrs []netip.Addr) error {
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return err
	}
	msg := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, msg); err != nil {
		return err
	}
	const header = 12
	end := header
	for msg[end] != 0 { // the labels of the name
		end += 1 + int(msg[end])
	}
	end += 5 // the empty label, type, class
	if isA := binary.BigEndian.Uint16(msg[end-4:]) == 1; !isA {
		addrs = nil
	}
	answer := slices.Clone(msg[:end])
	answer[2], answer[3] = 0x81, 0x80                          // a response, no error
	binary.BigEndian.PutUint16(answer[6:], uint16(len(addrs))) // answers
	answer[8], answer[9], answer[10], answer[11] = 0, 0, 0, 0  // nothing else: the question's EDNS record is not repeated
	for _, addr := range addrs {
		answer = append(answer, 0xc0, header, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4) // the name asked for, A, IN, 60 s, 4 bytes
		answer = append(answer, addr.AsSlice()...)
	}
	_, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
	return err
}

// silent makes the kernel accept connections at the address that nobody answers.
func silent(t *testing.T, addr netip.AddrPort) { listen(t, addr, 100) }

// hole makes the kernel ignore whoever connects to the address: its queue is full.
func hole(t *testing.T, addr netip.AddrPort) {
	t.Helper()
	listen(t, addr, 0)
	conn, err := net.Dial("tcp", addr.String()) // the one that the queue holds
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
}

func listen(t *testing.T, addr netip.AddrPort, queue int) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, queue); err != nil {
		t.Fatal(err)
	}
}

// TestNameWithSeveralAddresses: a Redis is found although another address of its name comes first, where nobody
// answers or nothing listens.
func TestNameWithSeveralAddresses(t *testing.T) {
	good := netip.MustParseAddr("127.0.0.1")
	other := netip.MustParseAddr("127.0.0.79") // no other test listens there
	for _, tt := range []struct {
		name  string
		first func(t *testing.T, addr netip.AddrPort)
		lost  bool // a try is lost with it
	}{
		{"the first takes no connection", hole, true},
		{"the first says nothing", silent, true},
		{"nothing listens at the first", func(*testing.T, netip.AddrPort) {}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mini := miniredis.RunT(t)
			port := netip.MustParseAddrPort(mini.Addr()).Port()
			tt.first(t, netip.AddrPortFrom(other, port))
			resolving(t, other, good)
			rs := runRedis(t, Config{
				URL: "redis://redis.test:" + mini.Port(), DialTimeout: 500 * time.Millisecond, ReplyTimeout: 500 * time.Millisecond,
			})
			rs.wantLost(t)
			rs.waitUp(t)
			if tt.lost && rs.log.downs() == 0 {
				t.Errorf("the first address was not tried:\n%s", rs.log)
			}
			// What the link has learnt, Publish knows.
			rs.publish(t, "notifications:a", "x")
			rs.wantNext(t, "notifications:a", "x")
			rs.end(t)
		})
	}
}

func TestAddressesInOrder(t *testing.T) {
	t.Parallel()
	ips := func(s string) (list []netip.Addr) {
		for _, c := range s {
			list = append(list, netip.AddrFrom4([4]byte{10, 0, 0, byte(c)}))
		}
		return list
	}
	addr := func(c byte) string { return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, c}), 6379).String() }
	var a addresses
	for i, step := range []struct {
		answer, want string
		blame, clear byte
	}{
		{answer: "abc", want: "abc", blame: 'a'},
		{answer: "abc", want: "bca", blame: 'b'},
		{answer: "bac", want: "cab", blame: 'c'}, // whatever order the answer has
		{answer: "cab", want: "abc", clear: 'b'},
		{answer: "cab", want: "bac", blame: 'b'},
		{answer: "ad", want: "da"},
		{answer: "cab", want: "cba"}, // b and c were forgotten meanwhile
	} {
		var got strings.Builder
		for _, s := range a.inOrder(ips(step.answer), "6379") {
			got.WriteByte(netip.MustParseAddrPort(s).Addr().As4()[3])
		}
		if got.String() != step.want {
			t.Errorf("step %d: order = %s, want %s", i, got.String(), step.want)
		}
		if step.blame != 0 {
			a.blame(addr(step.blame))
		}
		if step.clear != 0 {
			a.clear(addr(step.clear))
		}
	}
}
