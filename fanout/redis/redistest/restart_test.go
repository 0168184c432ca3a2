package redistest

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"
)

// occupy listens on 127.0.0.1, with the port of addr, as another program would that got this port by chance.
func occupy(t *testing.T, addr string) {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if errors.Is(err, syscall.EADDRINUSE) {
		return // by somebody else: that serves as well
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
}

// TestRestartFindsItsPort: whatever port of 127.0.0.1 another program has meanwhile, the server can come back.
func TestRestartFindsItsPort(t *testing.T) {
	t.Parallel()
	s := Start(t)
	s.Kill()
	if c, err := net.Dial("tcp", s.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		if err == nil {
			_ = c.Close()
		}
		t.Errorf("a server that is killed: Dial = %v, want a refusal", err)
	}
	occupy(t, s.Addr())
	s.Restart()
	if err := ping(s.Addr()); err != nil {
		t.Error(err)
	}
}

func TestProxyFindsItsPort(t *testing.T) {
	t.Parallel()
	p := NewProxy(t, Start(t).Addr())
	p.Set(Refuse)
	occupy(t, p.Addr())
	p.Set(Pass)
	if err := ping(p.Addr()); err != nil {
		t.Error(err)
	}
}

func ping(addr string) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // nothing is left to say
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err == nil && line != "+PONG\r\n" {
		err = fmt.Errorf("answer %q, want PONG", line)
	}
	return err
}
