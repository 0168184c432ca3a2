package fanouttest

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// tellAddr makes a process of this test binary print its address, and end when its standard input ends.
const tellAddr = "FANOUTTEST_TELL_ADDR"

func TestAddr(t *testing.T) {
	if os.Getenv(tellAddr) != "" {
		_, _ = os.Stdout.WriteString("addr " + Addr(t) + "\n") // the parent process fails without it
		_, _ = io.Copy(io.Discard, os.Stdin)
		return
	}
	seen := map[string]bool{}
	for range 3 {
		addr := Addr(t)
		if seen[addr] {
			t.Fatalf("Addr gives %s twice", addr)
		}
		seen[addr] = true
	}
	ip := host(t, Addr(t))
	for range 5 {
		if other := host(t, addrOfAnotherProcess(t)); other == ip {
			t.Errorf("two processes have %s at the same time", ip)
		}
	}
}

// If the address that belongs to the id of a process is taken, the process gets another one.
func TestAddrHasOneOwner(t *testing.T) {
	t.Parallel()
	if _, err := ownIP(); err != nil {
		t.Fatal(err)
	}
	again, err := claimIP()
	if err != nil {
		t.Fatal(err)
	}
	defer again.lock.Close() //nolint:errcheck // the test's end
	if mine, _ := ownIP(); again.IP == mine.IP {
		t.Errorf("%s was claimed twice", again.IP)
	}
}

// A server that was stopped can start at its address again, although others listen on 127.0.0.1 and connections were open.
func TestAddrIsFreeAgain(t *testing.T) {
	t.Parallel()
	addr := Addr(t)
	_, port, _ := net.SplitHostPort(addr)
	if other, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
		defer other.Close() //nolint:errcheck // the test's end
	} else if !errors.Is(err, syscall.EADDRINUSE) { // then another process listens there
		t.Fatal(err)
	}
	for range 3 {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		client, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close() //nolint:errcheck // the test's end
		if from := host(t, client.LocalAddr().String()); from == host(t, addr) {
			t.Errorf("connections come from %s, so that they can take its ports", from)
		}
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = server.Close()
		_ = l.Close()
		if c, err := net.Dial("tcp", addr); !errors.Is(err, syscall.ECONNREFUSED) {
			if err == nil {
				_ = c.Close()
			}
			t.Errorf("after Close: Dial = %v, want a refusal", err)
		}
	}
}

func host(t *testing.T, addr string) string {
	t.Helper()
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return host
}

// addrOfAnotherProcess starts a process that lives until the test ends, and returns its Addr.
func addrOfAnotherProcess(t *testing.T) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAddr$")
	cmd.Env = append(os.Environ(), tellAddr+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait() // the process ends when the pipe is closed
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	addr, found := strings.CutPrefix(strings.TrimSpace(line), "addr ")
	if err != nil || !found {
		t.Fatalf("the other process said %q (%v)", line, err)
	}
	return addr
}
