package fanouttest

import (
	"testing"
	"time"
)

// Eventually checks the condition again after an eighth of the time that has passed, within these bounds. So it is fast if
// the condition holds soon, and a long wait uses little of the processor.
const (
	pollMin = time.Millisecond
	pollMax = 100 * time.Millisecond
)

// Eventually waits until holds returns true. If that takes longer than patience, the test fails; what names the condition
// in the failure. Use it only if there is no event to wait for.
func Eventually(tb testing.TB, patience time.Duration, what string, holds func() bool) {
	tb.Helper()
	began := time.Now()
	giveUp := time.After(patience)
	for !holds() {
		select {
		case <-time.After(min(max(time.Since(began)/8, pollMin), pollMax)):
		case <-giveUp:
			tb.Fatalf("not true after %v: %s", patience, what)
		}
	}
}
