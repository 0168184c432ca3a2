package main

import (
	"math"
	"time"
)

// maxDefaultDeliveries bounds what a run without -rate asks for: a laptop reaches it, so that a first run measures
// the gateway's latency and not its queue.
const maxDefaultDeliveries = 20_000

// maxDefaultRate keeps a run with many small channels from measuring the publisher instead.
const maxDefaultRate = 1_000

// defaultRate is the largest whole number of publications per second that stays below maxDefaultDeliveries, and at
// least one.
func defaultRate(connections, channels int) float64 {
	perChannel := (connections + channels - 1) / channels
	return float64(min(maxDefaultRate, max(1, (maxDefaultDeliveries-1)/perChannel)))
}

// subscribersOf is how many of connections, dealt to channels in turn, subscribe to channel ch.
func subscribersOf(ch, connections, channels int) int {
	n := connections / channels
	if ch < connections%channels {
		n++
	}
	return n
}

// schedule says when publications are meant to be sent. It is fixed before the first one: a gateway that stalls
// does not delay the times that latency is counted from, and so cannot hide the stall.
type schedule struct {
	start int64 // Unix nanoseconds of number 0
	rate  float64
	total int
}

func newSchedule(start int64, rate float64, d time.Duration) schedule {
	return schedule{start: start, rate: rate, total: max(1, int(math.Round(rate*d.Seconds())))}
}

// at is when number i is meant to be sent.
func (s schedule) at(i int) int64 { return s.start + int64(float64(i)/s.rate*1e9) }

// due is how many should have been sent by now.
func (s schedule) due(now int64) int {
	if now < s.start {
		return 0
	}
	n := int(float64(now-s.start)/1e9*s.rate) + 1
	// Rounding may be off by one in either direction; at decides.
	for n < s.total && s.at(n) <= now {
		n++
	}
	for n > 0 && s.at(n-1) > now {
		n--
	}
	return min(n, s.total)
}
