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

// crowd opens n connections to the listener from one address, and sends text on each. They stay open.
func crowd(t *testing.T, url string, n int, text string) []net.Conn {
	t.Helper()
	conns := make([]net.Conn, 0, n)
	for range n {
		// With a small buffer, an answer that is not read soon blocks the one who writes it.
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

// wantProbes requests both probes, from the same address as the crowd: in a pod both are 127.0.0.1.
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

// TestProbesAreAnsweredBesideIdleConnections: many keep-alive connections that are idle must not keep a probe out.
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

// TestProbesAreAnsweredBesideHalfRequests: requests that are never finished must not keep a probe out.
func TestProbesAreAnsweredBesideHalfRequests(t *testing.T) {
	t.Parallel()
	_, url := start(t, testConfig())
	crowd(t, url, 3*64, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n")
	wantProbes(t, url)
	crowd(t, url, 3*64, "") // nor must sockets that send nothing
	wantProbes(t, url)
}

// TestProbesAreAnsweredBesideSlowReaders: clients that do not read their answers must not keep a probe out.
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

// smallSendBuffer makes a few answers fill the send buffer of a socket.
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

// TestProbesAreAnsweredBesideLongRequests: requests that take long must not keep a probe out. Requests over the bound get
// 503.
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
	const asked = maxSockets // with one more, an answered one would be closed for it
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
			t.Errorf("a request over the bound is answered %q, want 503 and Retry-After", got)
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

// TestRequestsOfOneAddressLeaveRoom: an address with all the requests that it may have does not keep other addresses out.
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
		t.Error("a place that was given back must be taken by exactly one")
	}
}

// TestListenerIsBounded: no more sockets are open than descriptors are reserved for, and for a new one the socket is closed
// that has been without a request for longest.
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
	_ = idle.Close()  // as net/http does for a closed connection; its place must not be given back twice
	busy.serve(false) // just now, so third has been idle for longer
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
