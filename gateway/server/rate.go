package server

import "github.com/carillon-ws/carillon/protocol"

// What a message costs beside the one that every message, ping and pong costs.
const (
	authCharge = 20 // a signature's check takes as long as some 20 subscriptions

	// inflateUnit is how many compressed bytes cost one more: text takes 2 us of the loop for them, but data that is
	// made to be slow takes 20 (0.16 us a byte, BenchmarkInflate), and 100 of those a second are 0.2 % of it.
	inflateUnit = 128
)

// A malformed message costs a twentieth of the burst: a program that speaks something else is cut after a few.
const malformedPart = 20

// refill gives back what the seconds since the connection was last heard from are worth. c.lastSeen is still that second:
// it and c.burstUsed are the whole token bucket.
func (lp *loop) refill(c *conn, now uint32) {
	lp.owner.mustOwn()
	if c.burstUsed > 0 && now != c.lastSeen {
		back := min(uint64(now-c.lastSeen)*uint64(lp.cfg.MessageRate), uint64(c.burstUsed))
		c.burstUsed -= uint16(back)
	}
}

// charge takes n out of a connection's bucket. It reports false when it is empty: what was asked for is not done.
// Whoever goes on all the same and takes as much again is closed (4102).
func (lp *loop) charge(c *conn, n int) bool {
	lp.owner.mustOwn()
	if lp.cfg.MessageRate == 0 {
		return true
	}
	spent := int(c.burstUsed) + n
	c.burstUsed = uint16(min(spent, 2*lp.cfg.MessageBurst))
	if spent > 2*lp.cfg.MessageBurst {
		lp.end(c, protocol.ErrRateLimit)
	}
	return spent <= lp.cfg.MessageBurst
}
