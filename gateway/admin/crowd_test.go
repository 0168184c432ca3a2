package admin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const getProbe = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"

// crowd opens n connections to the listener, all from one address, and says text on each. They stay open.
func crowd(t *testing.T, url string, n int, text string) []net.Conn {
	t.Helper()
	conns := make([]net.Conn, 0, n)
	for range n {
		// What is not read soon fills the buffers on the way.
		small := net.Dialer{Control: func(_, _ string, rc syscall.RawConn) (err error) {
			failed := rc.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10) })
			return errors.Join(failed, err)
		}}
		conn, err := small.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	return conns
}

// wantProbes asks for both probes, from the address that the crowd has: in a pod that is 127.0.0.1 as well.
func wantProbes(t *testing.T, url string) {
	t.Helper()
	for _, path := range []string{"/livez", "/readyz"} {
		client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Get(url + path)
		if err != nil {
			t.Fatalf("%s is not answered: %v", path, err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s = %d, want 200", path, resp.StatusCode)
		}
	}
}

// TestProbesAreAnsweredBesideIdleConnections: connections that were answered, and stay open, cost no probe its place.
func TestProbesAreAnsweredBesideIdleConnections(t *testing.T) {
	t.Parallel()
	_, url := start(t, testConfig())
	for range 3 * 64 {
		conn := crowd(t, url, 1, getProbe)[0]
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	wantProbes(t, url)
}

// TestProbesAreAnsweredBesideHalfRequests: nor do requests that are never finished.
func TestProbesAreAnsweredBesideHalfRequests(t *testing.T) {
	t.Parallel()
	_, url := start(t, testConfig())
	crowd(t, url, 3*64, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n")
	wantProbes(t, url)
	crowd(t, url, 3*64, "") // nor sockets that say nothing
	wantProbes(t, url)
}

// TestProbesAreAnsweredBesideSlowReaders: nor do answers that nobody reads, whatever was asked for.
func TestProbesAreAnsweredBesideSlowReaders(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/metrics", "/livez?verbose", "/nothing"} {
		a, err := New(testConfig())
		if err != nil {
			t.Fatal(err)
		}
		smallSendBuffer(t, a)
		run(t, a)
		var writing sync.WaitGroup
		t.Cleanup(writing.Wait)
		text := strings.Repeat("GET "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n", 1000)
		for _, conn := range crowd(t, a.Addr(), 3*64, "") {
			writing.Go(func() { _, _ = conn.Write([]byte(text)) }) // until the test closes it
		}
		wantProbes(t, "http://"+a.Addr())
		wantProbes(t, "http://"+a.Addr())
	}
}

// smallSendBuffer has few answers fill what the kernel keeps for a socket.
func smallSendBuffer(t *testing.T, a *Admin) {
	t.Helper()
	raw, err := a.listener.(*boundedListener).Listener.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	failed := raw.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, 4<<10) })
	if err := errors.Join(failed, err); err != nil {
		t.Fatal(err)
	}
}

// TestProbesAreAnsweredBesideLongRequests: nor do requests that take their time. Those over the bound are told.
func TestProbesAreAnsweredBesideLongRequests(t *testing.T) {
	t.Parallel()
	cfg := testConfig()
	entered, leave := make(chan struct{}, 1000), make(chan struct{})
	cfg.Publish = func(ctx context.Context, _, _ string) (int64, error) {
		entered <- struct{}{}
		<-leave
		return 1, nil
	}
	_, url := start(t, cfg)
	const asked = maxSockets // one more would take the place of one that was answered
	conns := crowd(t, url, asked, "POST /publish/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx")
	status := make(chan string, asked)
	for _, conn := range conns {
		go func() {
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				status <- err.Error()
				return
			}
			_ = resp.Body.Close()
			status <- fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("Retry-After"))
		}()
	}
	for range maxRequestsPerAddress {
		<-entered
	}
	for range asked - maxRequestsPerAddress {
		if got := <-status; got != "503 1" {
			t.Errorf("a request too many is answered %q, want 503 and when to return", got)
		}
	}
	wantProbes(t, url)
	close(leave)
	for range maxRequestsPerAddress {
		if got := <-status; got != "200 " {
			t.Errorf("a request within the bound is answered %q, want 200", got)
		}
	}
	if got := do(t, "POST", url+"/publish/a", "x"); got.status != 200 {
		t.Errorf("a request afterwards = %d %q", got.status, got.body)
	}
}

// TestRequestsOfOneAddressLeaveRoom: whoever has all the requests that one address may have keeps nobody else out.
func TestRequestsOfOneAddressLeaveRoom(t *testing.T) {
	t.Parallel()
	var r requests
	for i := range maxRequestsPerAddress + 1 {
		if got, want := r.take("a"), i < maxRequestsPerAddress; got != want {
			t.Fatalf("request %d of one address: %v, want %v", i, got, want)
		}
	}
	for i := range maxRequests - maxRequestsPerAddress + 1 {
		if got, want := r.take("b"), i < maxRequests-maxRequestsPerAddress; got != want {
			t.Fatalf("request %d of another address: %v, want %v", i, got, want)
		}
	}
	r.put("a")
	if !r.take("c") || r.take("c") {
		t.Error("a place that was given back is not taken by exactly one")
	}
}

// TestListenerIsBounded: however many come, no more sockets are open than the reserve of descriptors counts, and the
// longest without a request goes for the one that comes.
func TestListenerIsBounded(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := limitSockets(inner, 2)
	t.Cleanup(func() { _ = l.Close() })
	next := func() *socket {
		t.Helper()
		conn, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		accepted, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return accepted.(*socket)
	}
	closed := func(s *socket) bool {
		_, err := s.Write(nil)
		return errors.Is(err, net.ErrClosed)
	}
	busy, idle := next(), next()
	busy.serve(true)
	third := next()
	if closed(busy) || !closed(idle) {
		t.Errorf("for a third socket: busy closed %v, idle closed %v, want the idle one to go", closed(busy), closed(idle))
	}
	_ = idle.Close()  // as net/http does when it finds it closed: its place is not given back twice
	busy.serve(false) // just now: third is the one that has waited longest
	fourth := next()
	if closed(busy) || !closed(third) || closed(fourth) {
		t.Errorf("for a fourth: busy closed %v, third closed %v, fourth closed %v", closed(busy), closed(third), closed(fourth))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.open) != 2 {
		t.Errorf("%d sockets are open, want 2", len(l.open))
	}
}
