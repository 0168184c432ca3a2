package server

import (
	"math"
	"time"

	"github.com/carillon-ws/carillon/fanout"
)

// The time base of connections: whole seconds since 1970, as the wall clock told when the process started, and counted
// from then on by a clock that does not jump. So a record can be written down and read by another process of this host.

// startNano is the time on the wall clock, in Unix nanoseconds, that [fanout.Monotonic] counts from.
var startNano = time.Now().UnixNano() - fanout.Monotonic()

// unixNano is a time of [fanout.Monotonic] on the wall clock.
func unixNano(mono int64) int64 { return startNano + mono }

// monotonic is the inverse of unixNano.
func monotonic(unix int64) int64 { return unix - startNano }

// nowSeconds is the current second.
func nowSeconds() uint32 { return uint32(unixNano(fanout.Monotonic()) / int64(time.Second)) }

// now is the current second.
func (lp *loop) now() uint32 { return nowSeconds() }

// seconds rounds up. It returns at most 68 years, so that a time of now and a duration can be added.
func seconds(d time.Duration) uint32 {
	whole := d / time.Second
	if d%time.Second > 0 {
		whole++
	}
	return uint32(min(whole, math.MaxInt32))
}
