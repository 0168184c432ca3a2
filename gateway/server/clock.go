package server

import (
	"math"
	"time"

	"github.com/carillon-ws/carillon/fanout"
)

// The time base of connections: whole seconds since 1970, as the wall clock told when the process started, and counted
// from then on by a clock that does not jump. So a record can be written down and read by another process of this host.

// startSecond is what second [fanout.Monotonic] counts from.
var startSecond = time.Now().Unix() - fanout.Monotonic()/int64(time.Second)

// nowSeconds is the current second.
func nowSeconds() uint32 { return uint32(startSecond + fanout.Monotonic()/int64(time.Second)) }

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
