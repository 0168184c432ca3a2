package server

import (
	"context"
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A process that is started at the moment has a copy of every descriptor until it runs its program. The claim takes no
// clients all the same once it is released: nobody would ever accept them.
func TestReleasedClaimTakesNoClients(t *testing.T) {
	t.Parallel()
	starting.Lock()
	defer starting.Unlock()
	claim, err := claimPort("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	inherited, err := claim.ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer inherited.Close() //nolint:errcheck // of a test
	share := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		_ = c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
		return err
	}}
	loop, err := share.Listen(context.Background(), "tcp", claim.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer loop.Close() //nolint:errcheck // of a test
	claim.release()
	for range 30 { // the kernel would give half of them to the claim
		client, err := net.Dial("tcp", claim.addr)
		if err != nil {
			t.Fatal(err)
		}
		served, err := loop.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if served.RemoteAddr().String() != client.LocalAddr().String() {
			t.Fatalf("%s is served, and %s was next", served.RemoteAddr(), client.LocalAddr())
		}
		_ = client.Close()
		_ = served.Close()
	}
}
