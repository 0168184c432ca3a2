package server

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"testing"
	"unsafe"

	"github.com/gobwas/ws"
	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"github.com/carillon-ws/carillon/fanout"
)

// rawClient is a connected, upgraded and subscribed client that costs the Go heap nothing: a descriptor, to be closed
// by the caller.
func rawClient(tb testing.TB, addr, channel string) int {
	tb.Helper()
	return rawClientWith(tb, addr, channel, handshake)
}

// rawClientWith is rawClient with a request head of its own.
func rawClientWith(tb testing.TB, addr, channel, request string) int {
	tb.Helper()
	fd := rawConnect(tb, addr)
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

// rawConnect is a connected socket and no more.
func rawConnect(tb testing.TB, addr string) int {
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
	return fd
}

// BenchmarkConnFootprint tells what an idle, subscribed connection costs on the Go heap, and whose it is: gnet's own
// share, measured on a gnet server that does nothing; ours, all on one channel; and what a channel of its own adds.
func BenchmarkConnFootprint(b *testing.B) {
	const n = 8000
	grow := func(b *testing.B, connect func(i int) int) {
		fds := make([]int, 0, n+1)
		defer func() {
			for _, fd := range fds {
				_ = unix.Close(fd)
			}
		}()
		fds = append(fds, connect(n))
		before := heapAfterGC()
		for i := range n {
			fds = append(fds, connect(i))
		}
		after := heapAfterGC()
		for b.Loop() {
		}
		b.ReportMetric((float64(after)-float64(before))/n, "B/conn")
		b.ReportMetric(0, "ns/op")
	}
	b.Run("gnet-alone", func(b *testing.B) {
		addr := startBareGnet(b)
		grow(b, func(int) int { return rawConnect(b, addr) })
	})
	for name, channel := range map[string]func(int) string{
		"one-channel":  func(int) string { return "all" },
		"own-channels": func(i int) string { return fmt.Sprint("user:", i) },
	} {
		b.Run(name, func(b *testing.B) {
			s, _ := startServer(b, func(cfg *Config) { cfg.Loops = 1 })
			grow(b, func(i int) int { return rawClient(b, s.Addr(), channel(i)) })
		})
	}
	b.Run("parts", func(b *testing.B) {
		for b.Loop() {
		}
		b.ReportMetric(float64(unsafe.Sizeof(conn{})), "record-B")
		b.ReportMetric(float64(unsafe.Sizeof(fanout.Member[member]{})), "index-member-B")
		b.ReportMetric(0, "ns/op")
	})
}

// bareGnet is a gnet server that keeps its connections and does nothing else.
type bareGnet struct {
	gnet.BuiltinEventEngine
	booted chan gnet.Engine
}

func (g *bareGnet) OnBoot(eng gnet.Engine) gnet.Action {
	g.booted <- eng
	return gnet.None
}

func (g *bareGnet) OnOpen(gnet.Conn) ([]byte, gnet.Action) { return []byte("hi"), gnet.None }

func startBareGnet(tb testing.TB) string {
	tb.Helper()
	claim, err := claimPort("127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer claim.release()
	g := &bareGnet{booted: make(chan gnet.Engine, 1)}
	done := make(chan error, 1)
	go func() {
		done <- gnet.Run(g, "tcp://"+claim.addr, gnet.WithNumEventLoop(1), gnet.WithReusePort(true), gnet.WithReuseAddr(true))
	}()
	select {
	case eng := <-g.booted:
		tb.Cleanup(func() {
			_ = eng.Stop(context.Background())
			if err := <-done; err != nil {
				tb.Error(err)
			}
		})
	case err := <-done:
		tb.Fatal(err)
	}
	return claim.addr
}

func heapAfterGC() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
