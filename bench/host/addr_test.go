package host

import (
	"errors"
	"net"
	"syscall"
	"testing"
)

// TestOwnAddrs: a server finds its port again, whatever port of 127.0.0.1 another program has meanwhile.
func TestOwnAddrs(t *testing.T) {
	t.Parallel()
	addrs, err := OwnAddrs(3)
	if err != nil {
		t.Fatal(err)
	}
	more, err := OwnAddrs(1)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, addr := range append(addrs, more...) {
		if seen[addr] {
			t.Errorf("%s is given twice", addr)
		}
		seen[addr] = true
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			t.Fatal(err)
		}
		if other, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			defer other.Close() //nolint:errcheck // the test's end
		} else if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
		if c, err := net.Dial("tcp", addr); !errors.Is(err, syscall.ECONNREFUSED) {
			if err == nil {
				_ = c.Close()
			}
			t.Errorf("nobody listens at %s: Dial = %v, want a refusal", addr, err)
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() //nolint:errcheck // the test's end
	}
	again, err := claimIP()
	if err != nil {
		t.Fatal(err)
	}
	defer again.lock.Close() //nolint:errcheck // the test's end
	if mine, _ := ownIP(); again.ip == mine.ip {
		t.Errorf("%s was claimed twice", mine.ip)
	}
}
