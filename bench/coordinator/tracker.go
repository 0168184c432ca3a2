package coordinator

import (
	"sync"

	"github.com/carillon-ws/carillon/bench/client"
)

// tracker knows, of every publication on its way, how many workers have subscribers that have not heard it: the
// last of them brings the last subscriber. The publisher opens a number before it is sent, workers report completions.
type tracker struct {
	wake chan struct{} // a publication was heard by all; one slot

	// Guarded by mu.
	mu        sync.Mutex
	base      uint32 // number of entries[0]
	entries   []entry
	first     client.Histogram // of the phase: the first subscriber of each publication, from its intended time
	last      client.Histogram // the last one
	onTime    client.Histogram // the last one, without bench's own lag
	freed     []int64          // when publications were heard by all, as far as no later one has taken their place
	completed int
	healAfter int64 // publications intended from here on count as healed
	healedAt  int64 // when the first of them had reached its last subscriber; 0: not yet
}

// entry is one publication on its way.
type entry struct {
	intended    int64
	sent        int64
	first, last int64
	onTime      int64 // last, without what it may have waited to be read
	pending     int32 // workers that have not completed it
}

func newTracker() *tracker {
	return &tracker{wake: make(chan struct{}, 1), first: client.NewHistogram(), last: client.NewHistogram(), onTime: client.NewHistogram()}
}

// open announces the next number, to be completed by so many workers, and returns it.
func (t *tracker) open(intended, sent int64, workers int32) uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trim()
	t.entries = append(t.entries, entry{intended: intended, sent: sent, pending: workers})
	if workers == 0 {
		t.completed++ // nobody is there who could hear it
	}
	return t.base + uint32(len(t.entries)) - 1
}

// trim forgets the publications before the oldest one that is on its way.
func (t *tracker) trim() {
	const enough = 4096
	if len(t.entries) < enough || t.entries[enough-1].pending > 0 {
		return
	}
	done := 0
	for done < len(t.entries) && t.entries[done].pending <= 0 {
		done++
	}
	if done < len(t.entries)/2 {
		return // not worth the move
	}
	t.base += uint32(done)
	t.entries = append(t.entries[:0], t.entries[done:]...)
}

// opened is how many publications there have been.
func (t *tracker) opened() uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.base + uint32(len(t.entries))
}

// complete takes what a worker's clients have all heard.
func (t *tracker) complete(done []client.Completed) {
	if len(done) == 0 {
		return
	}
	t.mu.Lock()
	before := t.completed
	for _, d := range done {
		t.completeOne(d)
	}
	news := t.completed > before
	t.mu.Unlock()
	if news {
		notify(t.wake)
	}
}

func (t *tracker) completeOne(d client.Completed) {
	if d.Number < t.base || d.Number-t.base >= uint32(len(t.entries)) {
		return // of a phase that was given up
	}
	e := &t.entries[d.Number-t.base]
	if e.first == 0 || d.First < e.first {
		e.first = d.First
	}
	e.last, e.onTime = max(e.last, d.Last), max(e.onTime, d.Last-d.Late)
	if e.pending--; e.pending == 0 {
		t.first.Record(e.first - e.intended)
		t.last.Record(e.last - e.intended)
		t.onTime.Record(e.onTime - e.sent)
		t.freed = append(t.freed, max(e.onTime, e.sent))
		t.completed++
		if t.healAfter > 0 && t.healedAt == 0 && e.intended >= t.healAfter {
			t.healedAt = e.last
		}
	}
}

// outstanding is how many publications are not heard by all yet.
func (t *tracker) outstanding() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return int(t.base) + len(t.entries) - t.completed
}

// giveUp forgets what is on its way: it will not be waited for.
func (t *tracker) giveUp() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.base += uint32(len(t.entries))
	t.entries = t.entries[:0]
	t.completed = int(t.base)
}

// newPhase returns the histograms of the phase that ends and begins new ones.
func (t *tracker) newPhase() (first, last, onTime client.Histogram) {
	t.mu.Lock()
	defer t.mu.Unlock()
	first, last, onTime = t.first, t.last, t.onTime
	t.first, t.last, t.onTime, t.freed = client.NewHistogram(), client.NewHistogram(), client.NewHistogram(), nil
	return first, last, onTime
}

// takePlaces lets n publications take the places of those that were heard by all, and returns for how long these places
// were empty, in all.
func (t *tracker) takePlaces(n int, now int64) (idle int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n = min(n, len(t.freed))
	for _, at := range t.freed[:n] {
		idle += now - at
	}
	t.freed = append(t.freed[:0], t.freed[n:]...)
	return idle
}

// awaitHealing asks for the first publication from this time on that reaches everybody.
func (t *tracker) awaitHealing(from int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.healAfter, t.healedAt = from, 0
}

// healed is when that publication had reached everybody; 0 means not yet.
func (t *tracker) healed() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.healedAt
}

// notify fills the one slot of a wake-up channel; when it is full, the news is already under way.
func notify(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
