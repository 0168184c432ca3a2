package coordinator

import (
	"testing"

	"github.com/carillon-ws/carillon/bench/client"
)

func TestTrackerWaitsForEveryWorker(t *testing.T) {
	t.Parallel()
	b := newTracker()
	for want := range uint32(3) {
		if n := b.open(1_000_000, 2_000_000, int32(want)); n != want { // the first has nobody to hear it
			t.Fatalf("opened %d, want %d", n, want)
		}
	}
	if n := b.outstanding(); n != 2 {
		t.Errorf("%d outstanding, want 2: nobody hears the first", n)
	}
	b.complete([]client.Completed{{Number: 2, First: 3_000_000, Last: 9_000_000, Late: 4_000_000}, {Number: 1, First: 2_000_000, Last: 4_000_000}})
	if n := b.outstanding(); n != 1 {
		t.Errorf("%d outstanding, want the one that a second worker has not completed", n)
	}
	b.awaitHealing(1_000_000)
	b.complete([]client.Completed{{Number: 2, First: 2_000_000, Last: 5_000_000}})
	if n := b.outstanding(); n != 0 || b.healed() != 9_000_000 {
		t.Errorf("%d outstanding, healed at %d, want 0 and 9 ms: the last of both", n, b.healed())
	}
	// Number 1 was heard by all at 4 ms, number 2 at 9 ms, of which 4 ms were late reading.
	if idle := b.takePlaces(2, 10_000_000); idle != 6_000_000+5_000_000 {
		t.Errorf("places were empty for %d ns, want 11 ms", idle)
	}
	first, last, onTime := b.newPhase()
	if onTime.Max() != 3001 { // 5 ms was the other worker's, both less the millisecond that publishing was late
		t.Errorf("the last one on time after %d us, want 3,001", onTime.Max())
	}
	if first.TotalCount() != 2 || last.TotalCount() != 2 || first.Max() != 1000 || last.Max() != 8003 { // HdrHistogram: three digits
		t.Errorf("first %d of %d us, last %d of %d us, want two each: 1,000 and 8,003", first.TotalCount(), first.Max(), last.TotalCount(), last.Max())
	}
}

func TestTrackerForgets(t *testing.T) {
	t.Parallel()
	b := newTracker()
	const many = 20_000
	for n := range uint32(many) {
		b.open(1, 1, 1)
		b.complete([]client.Completed{{Number: n, First: 1, Last: 2}})
	}
	if len(b.entries) > many/2 || b.opened() != many || b.outstanding() != 0 {
		t.Errorf("%d kept of %d, %d opened, %d outstanding", len(b.entries), many, b.opened(), b.outstanding())
	}
	b.open(1, 1, 1)
	b.giveUp()
	b.complete([]client.Completed{{Number: many, First: 1, Last: 2}}) // too late to count
	if b.outstanding() != 0 || b.opened() != many+1 {
		t.Errorf("after giving up: %d outstanding, %d opened", b.outstanding(), b.opened())
	}
}
