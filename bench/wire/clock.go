package wire

import (
	"time"

	"golang.org/x/sys/unix"
)

// Clock gives nanoseconds that never step, and that mean the same in every process of this machine: since it booted
// (CLOCK_MONOTONIC). Read once from the kernel, then counted by Go's own monotonic clock, which costs no system call.
type Clock struct {
	base time.Time
	at   int64
}

// NewClock reads the kernel's clock.
func NewClock() Clock {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // cannot fail for a clock that every kernel has
	return Clock{base: time.Now(), at: ts.Nano()}
}

// Now is the time of this moment.
func (c Clock) Now() int64 { return c.at + int64(time.Since(c.base)) }
