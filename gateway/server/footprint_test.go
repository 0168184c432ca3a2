package server

import (
	"bytes"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"testing"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"
)

// rawClient is a connected, upgraded and subscribed client that costs the Go heap nothing: a descriptor, to be closed
// by the caller.
func rawClient(tb testing.TB, addr, channel string) int {
	tb.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		tb.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		tb.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	sa := &unix.SockaddrInet4{Port: number}
	copy(sa.Addr[:], net.ParseIP(host).To4())
	if err := unix.Connect(fd, sa); err != nil {
		tb.Fatal(err)
	}
	request := "GET /ws HTTP/1.1\r\nHost: " + addr + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
	frame := ws.MaskFrame(ws.NewTextFrame([]byte(`{"type":"subscribe","channel":"` + channel + `"}`)))
	if _, err := unix.Write(fd, append([]byte(request), ws.MustCompileFrame(frame)...)); err != nil {
		tb.Fatal(err)
	}
	var got []byte
	var buf [1024]byte
	for !bytes.Contains(got, []byte(`"subscribed"`)) {
		n, err := unix.Read(fd, buf[:])
		if err != nil || n == 0 {
			tb.Fatalf("read = %d, %v after %q", n, err, got)
		}
		got = append(got, buf[:n]...)
	}
	return fd
}

// BenchmarkConnFootprint tells what an idle, subscribed connection costs on the Go heap, all on one channel and each
// with a channel of its own. gnet's share, from its source: conn 240, closure 16, socket address 32, net.TCPAddr 48,
// map entry about 30 bytes.
func BenchmarkConnFootprint(b *testing.B) {
	const n = 8000
	for name, channel := range map[string]func(int) string{
		"one-channel":  func(int) string { return "all" },
		"own-channels": func(i int) string { return fmt.Sprint("user:", i) },
	} {
		b.Run(name, func(b *testing.B) {
			s, _ := startServer(b, func(cfg *Config) { cfg.Loops = 1 })
			fds := make([]int, 0, n+1)
			defer func() {
				for _, fd := range fds {
					_ = unix.Close(fd)
				}
			}()
			fds = append(fds, rawClient(b, s.Addr(), "warm"))
			before := heapAfterGC()
			for i := range n {
				fds = append(fds, rawClient(b, s.Addr(), channel(i)))
			}
			after := heapAfterGC()
			for b.Loop() { //nolint:revive // the figure is the heap's, not the clock's
			}
			b.ReportMetric((float64(after)-float64(before))/n, "B/conn")
		})
	}
}

func heapAfterGC() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
