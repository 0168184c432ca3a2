package fanouttest

import (
	"testing"
	"time"
)

// The pause between two looks is an eighth of the time that has passed, within these bounds. What happens soon is seen
// soon, and a long wait does not take the processor from what is waited for.
const (
	pollMin = time.Millisecond
	pollMax = 100 * time.Millisecond
)

// Eventually looks again and again until holds returns true. The test fails if that takes longer than patience; what
// says what was waited for. It is for conditions that no event announces.
func Eventually(tb testing.TB, patience time.Duration, what string, holds func() bool) {
	tb.Helper()
	began := time.Now()
	giveUp := time.After(patience)
	for !holds() {
		select {
		case <-time.After(min(max(time.Since(began)/8, pollMin), pollMax)):
		case <-giveUp:
			tb.Fatalf("does not happen in %v: %s", patience, what)
		}
	}
}
