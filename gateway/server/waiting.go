package server

import (
	"slices"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/protocol"
)

// Where Redis is asked for each channel (-interest dynamic or sharded), the first subscriber of a channel waits until
// Redis has confirmed it: only then it enters the index and is told `subscribed`. While it waits it is on the lists here.
// With a source that hears everything by a pattern nobody waits, and the lists stay empty.

// waiter is a subscription that is not confirmed yet.
type waiter struct {
	who     connRef
	channel string
	id      []byte // of the command, to be echoed; nil without one
	over    bool   // it is answered, or given up
}

// waitList are the subscriptions that wait for one channel, in the order in which they came.
type waitList struct {
	list []*waiter // those that are over are passed over, so that it costs the same to give one up in a long list
	left int       // of list, those that are not over. Invariant: not 0 in loop.waiting
}

// waitFor has a connection wait for a channel. id is copied.
func (lp *loop) waitFor(c *conn, channel string, id []byte) {
	lp.owner.mustOwn()
	w := &waiter{who: c.ref(), channel: channel, id: slices.Clone(id)}
	if !c.waitsFor(channel) {
		c.count++
	}
	e := c.extension()
	e.waiting = append(e.waiting, w)
	if lp.waiting == nil {
		lp.waiting = make(map[string]*waitList)
	}
	ws := lp.waiting[channel]
	if ws == nil {
		ws = new(waitList)
		lp.waiting[channel] = ws
	}
	if len(ws.list) > 2*ws.left+walkStep {
		ws.list = slices.DeleteFunc(ws.list, func(w *waiter) bool { return w.over })
	}
	ws.list = append(ws.list, w)
	ws.left++
	lp.n.waiting.Add(1)
}

// waitsFor reports whether the connection waits for the channel.
func (c *conn) waitsFor(channel string) bool {
	if c.ext == nil {
		return false
	}
	for _, w := range c.ext.waiting {
		if w.channel == channel {
			return true
		}
	}
	return false
}

// stopWaiting ends a connection's wait for a channel, and returns its subscriptions to it that were not confirmed.
func (lp *loop) stopWaiting(c *conn, channel string) (given []*waiter) {
	if !c.waitsFor(channel) {
		return nil
	}
	c.ext.waiting = slices.DeleteFunc(c.ext.waiting, func(w *waiter) bool {
		if w.channel == channel {
			given = append(given, w)
			return true
		}
		return false
	})
	c.count--
	for _, w := range given {
		lp.waitEnds(w)
	}
	lp.endInterest(channel)
	c.dropExt()
	return given
}

// stopWaitingAll is stopWaiting for every channel that the connection waits for: it leaves.
func (lp *loop) stopWaitingAll(c *conn) {
	if c.ext == nil {
		return
	}
	waiting := c.ext.waiting
	c.ext.waiting = nil
	for _, w := range waiting {
		lp.waitEnds(w)
		lp.endInterest(w.channel)
	}
}

// waitEnds takes a subscription out of what waits for its channel.
func (lp *loop) waitEnds(w *waiter) {
	w.over = true
	lp.n.waiting.Add(-1)
	ws := lp.waiting[w.channel]
	if ws.left--; ws.left == 0 {
		delete(lp.waiting, w.channel)
	}
}

// endInterest ends the loop's interest in a channel if nobody hears it and nobody waits for it.
func (lp *loop) endInterest(channel string) {
	if lp.index.Subscribers(channel) == 0 && lp.waiting[channel] == nil {
		lp.cfg.Interest.Remove(channel, lp.id)
	}
}

// settleChannels answers those who wait for the channels that the turn's batch says are settled, before anything of the
// batch is sent, which may be for them. It reports false when the deadline came before the last.
func (lp *loop) settleChannels(deadline int64) bool {
	for i := 1; lp.answered < len(lp.batch.Settled); i++ {
		if !lp.settleChannel(lp.batch.Settled[lp.answered], deadline) {
			return false
		}
		lp.answered++
		if i%walkStep == 0 && fanout.Monotonic() > deadline {
			return false
		}
	}
	return true
}

// settleChannel has those who wait for a channel enter the index, and tells them. It reports false when the deadline came
// before the last; the next call goes on.
func (lp *loop) settleChannel(channel string, deadline int64) bool {
	ws := lp.waiting[channel]
	if ws == nil || !lp.cfg.Interest.Settled(channel) {
		return true // given up meanwhile, and perhaps asked for again: then this is told once more
	}
	for i := 1; len(ws.list) > 0; i++ {
		w := ws.list[0]
		ws.list = ws.list[1:] // before it is answered: if that panics, it is not tried again
		if !w.over {
			lp.settleWaiter(w)
		}
		if i%walkStep == 0 && len(ws.list) > 0 && fanout.Monotonic() > deadline {
			return false
		}
	}
	lp.endInterest(channel)
	return true
}

// settleWaiter has one who waits enter the index. The right to the channel is checked once more: a connection may have
// another token by now.
func (lp *loop) settleWaiter(w *waiter) {
	c := lp.connOf(w.who) // whoever leaves waits no longer
	lp.atHand = c
	lp.waitEnds(w)
	c.ext.waiting = slices.DeleteFunc(c.ext.waiting, func(of *waiter) bool { return of == w })
	if !c.waitsFor(w.channel) {
		c.count-- // it is counted in the index from now on
	}
	if !lp.may(c, w.channel) {
		lp.refuseCommand(c, w.id, w.channel, protocol.ErrorForbidden, "the new token does not allow this channel")
	} else {
		lp.enter(c, w.id, w.channel)
	}
	c.dropExt()
	lp.atHand = nil
}

// enter has a connection hear a channel, and tells it so.
func (lp *loop) enter(c *conn, id []byte, channel string) {
	kept, added, _ := lp.index.Subscribe(&c.subs, channel, member{c.fd, c.slot})
	if added {
		c.count++
	}
	lp.answer(c, &protocol.Message{Type: protocol.MessageSubscribed, ID: id, Channel: kept})
}
