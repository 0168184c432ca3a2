package client

import (
	"math"
	"time"
)

// Schedule says when publications are meant to be sent. It is fixed before the first one: a gateway that stalls
// does not delay the times that latency is counted from, and so cannot hide the stall.
type Schedule struct {
	Start int64 // when number 0 is meant to be sent
	Rate  float64
	Total int
}

// NewSchedule is that many a second for so long, and at least one.
func NewSchedule(start int64, rate float64, d time.Duration) Schedule {
	return Schedule{Start: start, Rate: rate, Total: max(1, int(math.Round(rate*d.Seconds())))}
}

// At is when number i is meant to be sent.
func (s Schedule) At(i int) int64 { return s.Start + int64(float64(i)/s.Rate*1e9) }

// Due is how many should have been sent by now.
func (s Schedule) Due(now int64) int {
	if now < s.Start {
		return 0
	}
	n := int(float64(now-s.Start)/1e9*s.Rate) + 1
	// Rounding may be off by one in either direction; At decides.
	for n < s.Total && s.At(n) <= now {
		n++
	}
	for n > 0 && s.At(n-1) > now {
		n--
	}
	return min(n, s.Total)
}
