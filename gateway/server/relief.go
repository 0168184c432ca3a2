package server

import (
	"container/heap"
	"math"
	"time"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/protocol"
)

// MaxBacklogTotal bounds what all backlogs of the process cost. Each loop counts its own part: a frame costs its bytes
// once, however many backlogs of the loop refer to it, and each reference costs a little. When the sum is over the bound,
// whoever holds the oldest frame gives way, and never whoever happens to grow: else a few connections that take their
// bytes slowly could have all others closed.

// firmAllowance is the cost of answers and of a half-sent notification, which cannot be dropped, up to which the policy
// SlowDrop looks for something else to drop.
const firmAllowance = 64 << 10

const (
	ageNone = math.MaxInt64 // no frame is held
	ageLast = 1 << 62       // added to an age: this connection gives way only after those that can drop something
)

// oldest is the age by which a connection gives way, the least first, and the frame that has that age.
func (b *backlog) oldest(policy SlowPolicy) (age int64, at int) {
	if len(b.frames) == 0 {
		return ageNone, 0
	}
	if policy == SlowDrop {
		firm := b.firm
		if front := b.frames[0]; b.off > 0 && front.Channel() != "" {
			firm += front.cost()
		}
		if firm <= firmAllowance { // so there are few frames to skip
			for at := range b.frames {
				if b.droppable(at) {
					return b.frames[at].born, at
				}
			}
			return ageLast + b.frames[0].born, 0
		}
	}
	return b.frames[0].born, 0
}

// droppable reports whether frames[at] is a notification of which nothing is sent.
func (b *backlog) droppable(at int) bool {
	return b.frames[at].Channel() != "" && (at > 0 || b.off == 0)
}

// ages is a heap of the connections with a backlog, the one that gives way first in front.
type ages []aged

type aged struct {
	age int64
	c   *conn
}

func (a ages) Len() int           { return len(a) }
func (a ages) Less(i, j int) bool { return a[i].age < a[j].age }

func (a ages) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].c.ext.backlog.place, a[j].c.ext.backlog.place = int32(i), int32(j)
}

// Push implements [heap.Interface], which wants an any; add is used instead.
func (a *ages) Push(any) { panic("ages: use add") }

// Pop implements [heap.Interface].
func (a *ages) Pop() any {
	last := len(*a) - 1
	(*a)[last] = aged{}
	*a = (*a)[:last]
	return nil
}

// add appends a connection. It must be moved to its place.
func (a *ages) add(c *conn) {
	c.ext.backlog.place = int32(len(*a))
	*a = append(*a, aged{ageNone, c})
}

// rank moves a connection to its place in the queue by age. It must be called whenever the frames of its backlog change.
func (lp *loop) rank(c *conn) {
	lp.owner.mustOwn()
	b := &c.ext.backlog
	age, _ := b.oldest(lp.cfg.SlowConsumer)
	if entry := &lp.ages[b.place]; entry.age != age {
		entry.age = age
		heap.Fix(&lp.ages, int(b.place))
		lp.publishOldest()
	}
}

// unrank takes a connection out of the queue.
func (lp *loop) unrank(c *conn) {
	lp.owner.mustOwn()
	heap.Remove(&lp.ages, int(c.ext.backlog.place))
	lp.publishOldest()
}

// publishOldest tells the other loops how old the oldest frame of this one is.
func (lp *loop) publishOldest() {
	age := int64(ageNone)
	if len(lp.ages) > 0 {
		age = lp.ages[0].age
	}
	if lp.n.oldest.Load() != age {
		lp.n.oldest.Store(age)
	}
}

const (
	// relieveFor is how long a loop makes room at a time, beside its other work.
	relieveFor = time.Millisecond

	// sameAge is the difference in age up to which a loop lets its own connections give way and does not ask another loop.
	sameAge = 100 * time.Millisecond
)

// relieve makes connections give way until all backlogs are within MaxBacklogTotal, those with the oldest frames first. If
// another loop holds older frames, that loop is asked to do it. relieve reports false if its time was over before it was
// done. No walk over subscribers may be half-way through a slice of the index.
func (lp *loop) relieve() (done bool) {
	lp.owner.mustOwn()
	if !lp.grown {
		return true
	}
	for deadline := int64(0); lp.srv.backlogBytes() > int64(lp.cfg.MaxBacklogTotal); {
		now := fanout.Monotonic()
		if deadline == 0 {
			deadline = now + int64(relieveFor)
		}
		if now > deadline {
			return false
		}
		age := lp.n.oldest.Load()
		if older := lp.srv.holdsOlder(lp, age-int64(sameAge)); older != nil && older.askRelief() || age == ageNone {
			break
		}
		lp.giveWay(lp.ages[0].c, deadline)
	}
	lp.grown = false
	return true
}

// giveWay has the connection that holds the oldest frame drop it, as the policy says, or ends the connection.
func (lp *loop) giveWay(c *conn, deadline int64) {
	lp.owner.mustOwn()
	lp.atHand = c
	b := &c.ext.backlog
	switch c.state {
	case stateOpen:
		if _, at := b.oldest(lp.cfg.SlowConsumer); lp.cfg.SlowConsumer == SlowDrop && b.droppable(at) {
			lp.account(-b.drop(at))
			lp.n.dropped.add("slow", 1)
			lp.rank(c)
			lp.atHand = nil
			return
		}
		lp.end(c, protocol.ErrSlowConsumer)
	case stateDead: // gnet has not closed it yet
		lp.clearBacklog(c)
	default: // its close frame waits behind what it does not take
		lp.cut(c, "lingered")
	}
	lp.atHand = nil
	lp.settle(deadline)
}

// askRelief has this loop make room. It reports false if the loop is not running. Safe to call from any goroutine.
func (lp *loop) askRelief() bool {
	if !lp.asked.CompareAndSwap(false, true) {
		return true
	}
	called := lp.call(func() {
		lp.asked.Store(false)
		lp.grown = true // work ends with relieve
	})
	if !called {
		lp.asked.Store(false)
	}
	return called
}

// backlogBytes is what all backlogs of the process cost. Safe to call from any goroutine.
func (s *Server) backlogBytes() (total int64) {
	for _, lp := range s.loops {
		total += lp.n.backlogBytes.Load()
	}
	return total
}

// holdsOlder returns the loop that holds the oldest frame, if that is another loop and the frame is older than age; else
// nil. Safe to call from any goroutine.
func (s *Server) holdsOlder(than *loop, age int64) (oldest *loop) {
	for _, lp := range s.loops {
		if at := lp.n.oldest.Load(); lp != than && at < age {
			oldest, age = lp, at
		}
	}
	return oldest
}
