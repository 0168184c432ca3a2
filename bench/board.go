package main

import "sync/atomic"

// board counts, for every publication, the subscribers that have not heard it yet: the one that brings it to zero is
// the last subscriber. The publisher opens a number before it is sent, workers report arrivals.
//
// Numbers are dense from zero, so the counters lie in pages that are made as the numbers grow: four bytes a
// publication, no lock, and nothing moves once a worker may look at it.
type board struct {
	pages     [boardPages]atomic.Pointer[boardPage]
	opened    atomic.Uint64 // publications opened
	completed atomic.Uint64 // publications heard by all

	wake chan struct{} // workers -> publisher: completed has grown; one slot
}

const (
	boardPageBits = 16
	boardPages    = 1 << 12 // 268 million publications; a run of an hour at 70,000 a second
)

type boardPage [1 << boardPageBits]atomic.Int32

func newBoard() *board { return &board{wake: make(chan struct{}, 1)} }

// open announces number n, to be heard by subscribers. Numbers are opened in order. It reports false when the board
// is full.
func (b *board) open(n uint32, subscribers int) bool {
	page := int(n >> boardPageBits)
	if page >= boardPages {
		return false
	}
	p := b.pages[page].Load()
	if p == nil {
		p = new(boardPage)
		b.pages[page].Store(p)
	}
	p[n&(1<<boardPageBits-1)].Store(int32(subscribers))
	b.opened.Add(1)
	return true
}

// arrive notes that one more subscriber heard n and reports whether it was the last. Safe to call from any goroutine.
func (b *board) arrive(n uint32) bool {
	page := n >> boardPageBits
	if page >= boardPages {
		return false
	}
	p := b.pages[page].Load()
	return p != nil && p[n&(1<<boardPageBits-1)].Add(-1) == 0
}

// complete adds n publications that were heard by all, and wakes the publisher. Workers call it once per turn.
func (b *board) complete(n int) {
	b.completed.Add(uint64(n))
	notify(b.wake)
}

// outstanding is how many publications are not heard by all yet.
func (b *board) outstanding() int { return int(b.opened.Load() - b.completed.Load()) }

// notify fills the one slot of a wake-up channel; when it is full, the news is already under way.
func notify(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
