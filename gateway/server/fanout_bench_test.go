package server

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkFanout times the last stage alone: from Feeder.Publish to the last write, in one process, one loop. The
// clients' sockets are drained outside the clock. ns/delivery is mostly the kernel's; allocs/delivery is ours.
func BenchmarkFanout(b *testing.B) {
	for _, bc := range []struct{ subs, burst int }{{10, 1}, {1000, 1}, {8000, 1}, {8000, 8}} {
		b.Run(fmt.Sprintf("subs=%d/burst=%d/payload=128", bc.subs, bc.burst), func(b *testing.B) {
			s, feeder := startServer(b, func(cfg *Config) { cfg.Loops = 1 })
			fds := make([]int, bc.subs)
			for i := range fds {
				fds[i] = rawClient(b, s.Addr(), "all")
			}
			defer func() {
				for _, fd := range fds {
					_ = unix.Close(fd)
				}
			}()
			payload := strings.Repeat("x", 128)
			deliveries := func() uint64 { return s.loops[0].n.deliveries.Load() }
			var spent time.Duration
			var allocs uint64
			rounds := 0
			buf := make([]byte, 64<<10)
			var before, after runtime.MemStats
			for b.Loop() {
				rounds++
				want := deliveries() + uint64(bc.subs*bc.burst)
				runtime.ReadMemStats(&before)
				start := time.Now()
				for range bc.burst {
					feeder.Publish("notifications:all", payload)
				}
				for deliveries() < want {
					runtime.Gosched()
				}
				spent += time.Since(start)
				runtime.ReadMemStats(&after)
				allocs += after.Mallocs - before.Mallocs
				for _, fd := range fds {
					if _, err := unix.Read(fd, buf); err != nil {
						b.Fatal(err)
					}
				}
			}
			n := float64(rounds * bc.subs * bc.burst)
			b.ReportMetric(float64(spent.Nanoseconds())/n, "ns/delivery")
			b.ReportMetric(float64(allocs)/n, "allocs/delivery")
			b.ReportMetric(0, "ns/op")
		})
	}
}
