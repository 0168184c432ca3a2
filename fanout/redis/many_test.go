package redis

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/fanout/fanouttest"
	"github.com/carillon-ws/carillon/fanout/redis/redistest"
)

var full = flag.Bool("full", false, "run the slow tests at full size")

// A link with very many names is lost: all are asked for again, in commands that Redis can answer. In one command 700,000
// names are closed for ever: Redis lets 32 MB of answers wait at most.
func TestManyNamesComeBack(t *testing.T) {
	sizes := []int{100_000}
	if *full {
		sizes = append(sizes, 700_000)
	}
	for _, n := range sizes {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			server := redistest.Start(t)
			interest := fanout.NewInterest()
			log := newLogTap()
			log.lines = nil
			source, err := NewSource(Config{
				URL: server.URL(), Pattern: "notifications:*", Mode: Dynamic, Interest: interest,
				Log: slog.New(slog.NewTextHandler(log, nil)), Gateway: "many",
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			loop := &counting{}
			go func() { done <- source.Run(ctx, fanout.NewFeeder(interest, []fanout.Loop{loop})) }()
			defer func() {
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
				_ = source.Close()
			}()
			before := heap()
			for i := range n {
				interest.Add(fmt.Sprintf("user:%012d", i), 0)
			}
			began := time.Now()
			fanouttest.Eventually(t, 4*patience, "all are subscribed", func() bool { return source.Stats().Channels == n })
			t.Logf("subscribed in %v; %d bytes a channel with the interest", time.Since(began).Round(time.Millisecond), (heap()-before)/n)
			began = time.Now()
			server.Do("CLIENT", "KILL", "TYPE", "pubsub")
			fanouttest.Eventually(t, 4*patience, "all are back", func() bool {
				st := source.Stats()
				return st.Reconnects == 1 && st.Up && st.Channels == n
			})
			d := time.Since(began)
			t.Logf("subscribed again in %v", d.Round(time.Millisecond))
			if n == 100_000 && d > 5*time.Second {
				t.Errorf("100,000 channels were back in %v, want at most 5 s", d)
			}
			if k := strings.Count(log.String(), "redis link down"); k != 1 {
				t.Errorf("the link went down %d times, want once:\n%s", k, log)
			}
			if st := source.Stats(); st.Resubscribed != uint64(n) || st.Refused > 0 || st.Waiting > 0 {
				t.Errorf("Stats = %+v", st)
			}
		})
	}
}

// heap is how many bytes the live objects take.
func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
