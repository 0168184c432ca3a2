package server

import (
	"sync/atomic"
	"time"
)

// stallWindow is how long a stall is remembered for at least; twice as long at most.
const stallWindow = int64(30 * time.Second)

// stall tells the longest time, lately, that a loop did not look at its sockets. It hears of it from two sides: each
// piece of work tells how long it took, and the ticker's question, asked once a second, tells how long the loop took to
// answer, whatever kept it: reads, the garbage collector, another process. Every field is right by itself; together
// they may be a moment apart, which a gauge can bear.
type stall struct {
	// Atomic.
	asked                   atomic.Int64 // when the question that waits for an answer was asked; 0: none does
	window, longest, before atomic.Int64 // written by the loop: the longest of the window, and of the one before it
}

// ask notes that the ticker asks. An earlier question that still waits stays.
func (s *stall) ask(now int64) { s.asked.CompareAndSwap(0, now) }

// answer notes that the loop has come to the question.
func (s *stall) answer(now int64) {
	if at := s.asked.Swap(0); at != 0 {
		s.note(now, now-at)
	}
}

// note notes that the loop was away for so many nanoseconds.
func (s *stall) note(now, ns int64) {
	if window, last := now/stallWindow, s.window.Load(); window != last {
		before := int64(0)
		if window == last+1 {
			before = s.longest.Load()
		}
		s.before.Store(before)
		s.longest.Store(0)
		s.window.Store(window)
	}
	if ns > s.longest.Load() {
		s.longest.Store(ns)
	}
}

// read returns the longest time in nanoseconds, one that has not ended included. Safe to call from any goroutine.
func (s *stall) read(now int64) int64 {
	worst := int64(0)
	switch now/stallWindow - s.window.Load() {
	case 0:
		worst = max(s.longest.Load(), s.before.Load())
	case 1:
		worst = s.longest.Load()
	}
	if at := s.asked.Load(); at != 0 {
		worst = max(worst, now-at)
	}
	return worst
}
