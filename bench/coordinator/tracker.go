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
func (b *tracker) open(intended, sent int64, workers int32) uint32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trim()
	b.entries = append(b.entries, entry{intended: intended, sent: sent, pending: workers})
	if workers == 0 {
		b.completed++ // nobody is there who could hear it
	}
	return b.base + uint32(len(b.entries)) - 1
}

// trim forgets the publications before the oldest one that is on its way.
func (b *tracker) trim() {
	const enough = 4096
	if len(b.entries) < enough || b.entries[enough-1].pending > 0 {
		return
	}
	done := 0
	for done < len(b.entries) && b.entries[done].pending <= 0 {
		done++
	}
	if done < len(b.entries)/2 {
		return // not worth the move
	}
	b.base += uint32(done)
	b.entries = append(b.entries[:0], b.entries[done:]...)
}

// opened is how many publications there have been.
func (b *tracker) opened() uint32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.base + uint32(len(b.entries))
}

// complete takes what a worker's clients have all heard.
func (b *tracker) complete(done []client.Completed) {
	if len(done) == 0 {
		return
	}
	b.mu.Lock()
	before := b.completed
	for _, d := range done {
		b.completeOne(d)
	}
	news := b.completed > before
	b.mu.Unlock()
	if news {
		notify(b.wake)
	}
}

func (b *tracker) completeOne(d client.Completed) {
	if d.Number < b.base || d.Number-b.base >= uint32(len(b.entries)) {
		return // of a phase that was given up
	}
	e := &b.entries[d.Number-b.base]
	if e.first == 0 || d.First < e.first {
		e.first = d.First
	}
	e.last, e.onTime = max(e.last, d.Last), max(e.onTime, d.Last-d.Late)
	if e.pending--; e.pending == 0 {
		b.first.Record(e.first - e.intended)
		b.last.Record(e.last - e.intended)
		b.onTime.Record(e.onTime - e.sent)
		b.freed = append(b.freed, max(e.onTime, e.sent))
		b.completed++
		if b.healAfter > 0 && b.healedAt == 0 && e.intended >= b.healAfter {
			b.healedAt = e.last
		}
	}
}

// outstanding is how many publications are not heard by all yet.
func (b *tracker) outstanding() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return int(b.base) + len(b.entries) - b.completed
}

// giveUp forgets what is on its way: it will not be waited for.
func (b *tracker) giveUp() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.base += uint32(len(b.entries))
	b.entries = b.entries[:0]
	b.completed = int(b.base)
}

// newPhase returns the histograms of the phase that ends and begins new ones.
func (b *tracker) newPhase() (first, last, onTime client.Histogram) {
	b.mu.Lock()
	defer b.mu.Unlock()
	first, last, onTime = b.first, b.last, b.onTime
	b.first, b.last, b.onTime, b.freed = client.NewHistogram(), client.NewHistogram(), client.NewHistogram(), nil
	return first, last, onTime
}

// takePlaces lets n publications take the places of those that were heard by all, and returns for how long these places
// were empty, in all.
func (b *tracker) takePlaces(n int, now int64) (idle int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n = min(n, len(b.freed))
	for _, at := range b.freed[:n] {
		idle += now - at
	}
	b.freed = append(b.freed[:0], b.freed[n:]...)
	return idle
}

// awaitHealing asks for the first publication from this time on that reaches everybody.
func (b *tracker) awaitHealing(from int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.healAfter, b.healedAt = from, 0
}

// healed is when that publication had reached everybody; 0 means not yet.
func (b *tracker) healed() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.healedAt
}

// notify fills the one slot of a wake-up channel; when it is full, the news is already under way.
func notify(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
