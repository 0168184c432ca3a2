package wire

import (
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// Clock gives nanoseconds that never step, and that mean the same in every process of this machine: since it booted
// (CLOCK_MONOTONIC). Read once from the kernel, then counted by Go's own monotonic clock, which costs no system call.
type Clock struct {
	base time.Time
	at   int64
}

// NewClock reads the kernel's clock. The two clocks cannot be read at the same moment, and a busy machine may come
// between them: of several tries the one counts in which least time passed.
func NewClock() (c Clock) {
	const tries = 16
	best := int64(math.MaxInt64)
	for range tries {
		before := monotonic()
		now := time.Now()
		if window := monotonic() - before; window < best {
			best, c = window, Clock{base: now, at: before + window/2}
		}
	}
	return c
}

func monotonic() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // cannot fail for a clock that every kernel has
	return ts.Nano()
}

// Now is the time of this moment.
func (c Clock) Now() int64 { return c.at + int64(time.Since(c.base)) }
