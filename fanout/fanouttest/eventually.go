package fanouttest

import (
	"testing"
	"time"
)

// The time between two looks doubles, from the first to the second value. What happens at once is seen at once, and a
// long wait does not take the processor from what is waited for.
const (
	pollFirst = time.Millisecond
	pollLast  = 16 * time.Millisecond
)

// Eventually looks again and again until holds returns true. The test fails if that takes longer than patience; what
// says what was waited for. It is for conditions that no event announces.
func Eventually(tb testing.TB, patience time.Duration, what string, holds func() bool) {
	tb.Helper()
	giveUp := time.After(patience)
	for pause := pollFirst; !holds(); pause = min(2*pause, pollLast) {
		select {
		case <-time.After(pause):
		case <-giveUp:
			tb.Fatalf("does not happen in %v: %s", patience, what)
		}
	}
}
