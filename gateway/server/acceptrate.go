package server

import (
	"sync/atomic"
	"time"

	"github.com/carillon-ws/carillon/fanout"
)

// acceptRate bounds how many sockets a second become connections, over all loops. It keeps the time at which the next one
// is due, and each one moves that time on (the generic cell rate algorithm, ITU-T I.371). A second's worth may come at
// once. Safe for concurrent use.
type acceptRate struct {
	every int64        // nanoseconds from one to the next; 0: no bound
	due   atomic.Int64 // of the monotonic clock
}

func newAcceptRate(perSecond int) acceptRate {
	if perSecond == 0 {
		return acceptRate{}
	}
	return acceptRate{every: int64(time.Second) / int64(perSecond)}
}

// take reports whether one more socket may become a connection now.
func (r *acceptRate) take() bool {
	if r.every == 0 {
		return true
	}
	now := fanout.Monotonic()
	for {
		due := r.due.Load()
		next := max(due, now) + r.every
		if next > now+int64(time.Second) {
			return false
		}
		if r.due.CompareAndSwap(due, next) {
			return true
		}
	}
}
