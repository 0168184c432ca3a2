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
}

// waitFor has a connection wait for a channel. id is copied.
func (lp *loop) waitFor(c *conn, channel string, id []byte) {
	lp.owner.mustOwn()
	w := &waiter{who: c.ref(), channel: channel, id: slices.Clone(id)}
	e := c.extension()
	if !c.waitsFor(channel) {
		c.count++
	}
	e.waiting = append(e.waiting, w)
	if lp.waiting == nil {
		lp.waiting = make(map[string][]*waiter)
	}
	lp.waiting[channel] = append(lp.waiting[channel], w)
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

// stopWaiting takes a connection off the list of a channel, and returns its subscriptions to it that were not confirmed. If
// nobody is left who waits for the channel or hears it, the interest ends.
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
	lp.removeWaiters(channel, c.ref())
	c.dropExt()
	return given
}

// stopWaitingAll is stopWaiting for every channel that the connection waits for: it leaves.
func (lp *loop) stopWaitingAll(c *conn) {
	if c.ext == nil {
		return
	}
	for len(c.ext.waiting) > 0 {
		channel := c.ext.waiting[0].channel
		c.ext.waiting = slices.DeleteFunc(c.ext.waiting, func(w *waiter) bool { return w.channel == channel })
		lp.removeWaiters(channel, c.ref())
	}
	c.ext.waiting = nil
}

// removeWaiters takes the waiters of one connection off the list of a channel.
func (lp *loop) removeWaiters(channel string, who connRef) {
	before := lp.waiting[channel]
	left := slices.DeleteFunc(before, func(w *waiter) bool { return w.who == who })
	lp.n.waiting.Add(int64(len(left) - len(before)))
	if len(left) > 0 {
		lp.waiting[channel] = left
		return
	}
	delete(lp.waiting, channel)
	if lp.index.Subscribers(channel) == 0 {
		lp.cfg.Interest.Remove(channel, lp.id)
	}
}

// settleChannels answers those who wait for the channels that the turn's batch says are settled, before anything of the
// batch is sent, which may be for them. It reports false when the deadline came before the last.
func (lp *loop) settleChannels(deadline int64) bool {
	for i := 1; lp.answered < len(lp.batch.Settled); i++ {
		lp.settleChannel(lp.batch.Settled[lp.answered])
		lp.answered++
		if i%walkStep == 0 && fanout.Monotonic() > deadline {
			return false
		}
	}
	return true
}

// settleChannel has those who wait for a channel enter the index, and tells them. The right to the channel is checked once
// more: a connection may have another token by now.
func (lp *loop) settleChannel(channel string) {
	if len(lp.waiting[channel]) == 0 || !lp.cfg.Interest.Settled(channel) {
		return // given up meanwhile, and perhaps asked for again: then this is told once more
	}
	waiters := lp.waiting[channel]
	delete(lp.waiting, channel)
	lp.n.waiting.Add(-int64(len(waiters)))
	for _, w := range waiters {
		c := lp.connOf(w.who)
		if c == nil || c.state != stateOpen {
			continue // cannot be: whoever leaves is on no list
		}
		c.ext.waiting = slices.DeleteFunc(c.ext.waiting, func(of *waiter) bool { return of == w })
		if !c.waitsFor(channel) {
			c.count-- // it is counted in the index from now on
		}
		if !lp.may(c, channel) {
			lp.refuseCommand(c, w.id, channel, protocol.ErrorForbidden, "the new token does not allow this channel")
		} else {
			lp.enter(c, w.id, channel)
		}
		c.dropExt()
	}
	if lp.index.Subscribers(channel) == 0 {
		lp.cfg.Interest.Remove(channel, lp.id)
	}
}

// enter has a connection hear a channel, and tells it so.
func (lp *loop) enter(c *conn, id []byte, channel string) {
	kept, added, _ := lp.index.Subscribe(&c.subs, channel, member{c.fd, c.slot})
	if added {
		c.count++
	}
	lp.answer(c, &protocol.Message{Type: protocol.MessageSubscribed, ID: id, Channel: kept})
}
