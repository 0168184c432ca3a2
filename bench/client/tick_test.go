package client

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// idleWorker has one reader, and nothing to read.
func idleWorker(t *testing.T) *Worker {
	t.Helper()
	target := Target{Addr: netip.MustParseAddrPort("127.0.0.1:1"), Host: "127.0.0.1:1", Path: "/"}
	w, err := NewWorker(Plan{Targets: []Target{target}, Load: Workload{Connections: 1, Channels: 1}, Count: 1, Threads: 1, Mark: "x"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() }) // nothing is connected
	return w
}

// expect has publications follow a schedule, or no more.
func expect(t *testing.T, w *Worker, total int) {
	t.Helper()
	if err := w.Expect(Outlook{Rate: 1, Total: total}); err != nil {
		t.Fatal(err)
	}
}

// A reader that is kept from reading must know it, whatever keeps it: here the test does, for five ticks.
func TestReaderKnowsThatItIsLate(t *testing.T) {
	t.Parallel()
	w := idleWorker(t)
	expect(t, w, 1)
	kept := 5 * tickEvery
	w.pollers[0].do(func() {
		for until := time.Now().Add(kept); time.Now().Before(until); {
			<-time.After(time.Until(until))
		}
	})
	// The tick is read in the turn of this question, or in the one before the next.
	var late Histogram
	for late = NewHistogram(); late.Count() < 4; {
		tally, err := w.Tally()
		if err != nil {
			t.Fatal(err)
		}
		late.Merge(tally.WakeLag)
	}
	if got, want := late.Max(), (kept - 2*tickEvery).Microseconds(); got < want {
		t.Errorf("at most %d us late, want %d or more after %s", got, want, kept)
	}
}

// A tick wakes the thread: there is none while no schedule is followed.
func TestReaderIsNotWokenForNothing(t *testing.T) {
	t.Parallel()
	w := idleWorker(t)
	for _, total := range []int{0, 1} {
		expect(t, w, total)
		var timer unix.ItimerSpec
		var err error
		w.pollers[0].do(func() { err = unix.TimerfdGettime(w.pollers[0].tickfd, &timer) })
		if ticks := timer.Interval != (unix.Timespec{}); err != nil || ticks != (total > 0) {
			t.Errorf("with %d publications to come: ticks %v, %v", total, ticks, err)
		}
	}
}
