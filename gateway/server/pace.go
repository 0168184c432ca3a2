package server

import (
	"sync/atomic"
	"time"

	"github.com/carillon-ws/carillon/fanout"
)

// pace bounds how many sockets a second become connections, over all loops: the time at which the next one is due,
// moved on by each (the generic cell rate algorithm, ITU-T I.371). A second's worth may come at once. Safe for
// concurrent use.
type pace struct {
	every int64        // nanoseconds from one to the next; 0: no bound
	due   atomic.Int64 // of the monotonic clock
}

func newPace(perSecond int) pace {
	if perSecond == 0 {
		return pace{}
	}
	return pace{every: int64(time.Second) / int64(perSecond)}
}

// take reports whether one more may come now.
func (p *pace) take() bool {
	if p.every == 0 {
		return true
	}
	now := fanout.Monotonic()
	for {
		due := p.due.Load()
		next := max(due, now) + p.every
		if next > now+int64(time.Second) {
			return false
		}
		if p.due.CompareAndSwap(due, next) {
			return true
		}
	}
}
