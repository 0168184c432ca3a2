package client

import (
	"net/netip"
	"testing"
	"time"
)

// A reader that is kept from reading must know it, whatever keeps it: here the test does, for five ticks.
func TestReaderKnowsThatItIsLate(t *testing.T) {
	t.Parallel()
	target := Target{Addr: netip.MustParseAddrPort("127.0.0.1:1"), Host: "127.0.0.1:1", Path: "/"}
	w, err := NewWorker(Plan{Targets: []Target{target}, Load: Workload{Connections: 1, Channels: 1}, Count: 1, Threads: 1, Mark: "x"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close() //nolint:errcheck // nothing is connected
	kept := 5 * tickEvery
	p := w.pollers[0]
	p.do(func() {
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
