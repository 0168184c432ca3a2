package coordinator

import (
	"context"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/carillon-ws/carillon/bench/benchtest"
	"github.com/carillon-ws/carillon/bench/client"
	"github.com/carillon-ws/carillon/bench/report"
	"github.com/carillon-ws/carillon/bench/wire"
)

// A client process that was stopped is late for every publication of that time: what it then sees is no figure of the
// server, whether publications follow a schedule or each other.
func TestStoppedClientsMakeARunInvalid(t *testing.T) {
	t.Parallel()
	const pause, stops = 300 * time.Millisecond, 10
	for _, tt := range []struct {
		name     string
		inflight int // of the run: 0 is a burst
		load     Load
	}{
		{"burst", 0, Load{Inflight: 1, count: 60, Payload: 64}}, // on a busy machine a stop takes effect late, and some publications are heard before it
		{"closed loop", 4, Load{Inflight: 4, Duration: 4 * time.Second, Payload: 64}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := benchtest.Start(t, benchtest.AsItShould)
			to, err := client.Resolve(d.URL)
			if err != nil {
				t.Fatal(err)
			}
			h, err := startWorker(0)
			if err != nil {
				t.Fatal(err)
			}
			c, err := begin(NewPlan([]client.Target{to}, client.Workload{Connections: 20, Channels: 1}), []*worker{h})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			if _, _, err := c.Ramp(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			signal := func(s syscall.Signal) {
				if err := syscall.Kill(h.own.PID(), s); err != nil {
					t.Error(err)
				}
			}
			stopped := 0
			var asleep atomic.Bool
			stopping := publisherFunc(func(ctx context.Context, batch []wire.Publication) error {
				if stopped < stops && asleep.CompareAndSwap(false, true) {
					stopped++
					signal(syscall.SIGSTOP)
					time.AfterFunc(pause, func() {
						asleep.Store(false) // before anything can be heard, and so before the next publication
						signal(syscall.SIGCONT)
					})
				}
				return d.Publish(ctx, batch)
			})
			r, err := c.deliver(t.Context(), stopping, tt.load, nil)
			if err != nil {
				t.Fatal(err)
			}
			name := "burst"
			if tt.inflight > 0 {
				name = "steady"
			}
			whole := &report.Result{Load: report.Load{Inflight: tt.inflight}, Phases: []*report.Phase{{Name: name, Result: r.Delivered}}}
			if whole.Finish(nil); stopped != stops || whole.Valid {
				t.Errorf("stopped %d times, the last subscriber's p99 is %d us, and the run is valid: %v", stopped, r.Last.P99, whole.Valid)
			}
		})
	}
}
