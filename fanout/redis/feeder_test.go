package redis

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/fanout/redis/redistest"
)

// counting is a [fanout.Loop] that only counts.
type counting struct{ posts, wakes atomic.Uint64 }

func (c *counting) Post(fanout.Item) { c.posts.Add(1) }
func (c *counting) Wake()            { c.wakes.Add(1) }

// BenchmarkFeederFromRedis tells how many publications a second one feeder takes from a real Redis: with nobody
// subscribed, and with a subscriber of each of 1,000 channels. Redis and the publisher share the machine, so the
// figure is a lower bound; publications/wake says how many came together.
func BenchmarkFeederFromRedis(b *testing.B) {
	for name, heard := range map[string]bool{"unheard": false, "heard": true} {
		b.Run(name, func(b *testing.B) {
			server := redistest.Start(b)
			interest := fanout.NewInterest()
			names := make([]string, 1000)
			for i := range names {
				names[i] = fmt.Sprint("user:", i)
				if heard {
					interest.Add(names[i], 0)
				}
			}
			loop := &counting{}
			feeder := fanout.NewFeeder(interest, []fanout.Loop{loop})
			source, err := NewSource(Config{URL: server.URL(), Pattern: "notifications:*"})
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- source.Run(ctx, feeder) }()
			defer func() {
				cancel()
				if err := <-done; err != nil {
					b.Error(err)
				}
				_ = source.Close()
			}()
			until(b, func() bool { return source.Stats().Up })

			client := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
			defer client.Close() //nolint:errcheck // every command was answered
			payload := strings.Repeat("x", 128)
			sent := uint64(0)
			for b.Loop() {
				pipe := client.Pipeline()
				for i := range 1000 {
					pipe.Publish(ctx, "notifications:"+names[i], payload)
				}
				if _, err := pipe.Exec(ctx); err != nil {
					b.Fatal(err)
				}
				sent += 1000
				until(b, func() bool { return feeder.Stats().Publications == sent })
			}
			b.ReportMetric(float64(sent)/b.Elapsed().Seconds(), "publications/s")
			if wakes := loop.wakes.Load(); wakes > 0 {
				b.ReportMetric(float64(sent)/float64(wakes), "publications/wake")
			}
		})
	}
}

// until polls, for at most 10 s.
func until(b *testing.B, ok func() bool) {
	b.Helper()
	tick := time.NewTicker(50 * time.Microsecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			b.Fatal("it does not come")
		}
	}
}
