package server

import (
	"syscall"
	"time"

	"github.com/carillon-ws/carillon/protocol"
	"github.com/carillon-ws/carillon/protocol/websocket"
)

// maxFlush is how many bytes of one backlog are sent before the loop turns to others.
const maxFlush = 64 << 10

// write sends framed bytes to one connection: answers, control frames, the handshake. What the socket does not take
// is kept. framed is scratch memory: it is not kept.
func (lp *loop) write(c *conn, framed []byte) {
	lp.owner.mustOwn()
	if len(framed) == 0 || c.state == stateDead {
		return
	}
	if c.ext != nil && !c.ext.backlog.empty() {
		lp.keepAnswers(c, framed, 0)
		return
	}
	n, errno := send(c.fd, framed)
	lp.n.sentBytes.Add(uint64(n))
	switch {
	case n == len(framed):
	case errno == 0 || errno == syscall.EAGAIN:
		lp.keepAnswers(c, framed, n)
	default:
		lp.cut(c, "write_error")
	}
}

// answerPiece is about how many bytes of answers wait as one piece. What is half sent must be finished even if the
// connection is too slow, so pieces are small.
const answerPiece = 16 << 10

// keepAnswers appends a copy of answers to the backlog of a connection, in pieces. The first sent bytes are sent.
func (lp *loop) keepAnswers(c *conn, framed []byte, sent int) {
	doomed := c.flags & flagEnding // for another reason: it is still to hear these
	for len(framed) > 0 {
		n := websocket.CutFrames(framed, answerPiece)
		if sent < n {
			lp.keep(c, protocol.FrameOf(framed[:n], ""), sent) // whole: nothing may come between its halves
		}
		if c.flags&flagEnding != doomed {
			return // too slow now: the rest would be thrown away
		}
		framed, sent = framed[n:], max(0, sent-n)
	}
}

// keep appends a frame that no other connection shares to the backlog of a connection. off bytes of the frame are sent.
func (lp *loop) keep(c *conn, f *protocol.Frame, off int) { lp.keepShared(c, &held{Frame: f}, off) }

// keepShared appends a frame to the backlog of a connection and has it watched. off bytes of the frame are sent.
func (lp *loop) keepShared(c *conn, h *held, off int) {
	lp.owner.mustOwn()
	b := &c.extension().backlog
	if b.empty() {
		lp.startBacklog(c)
	}
	lp.account(b.push(h, off))
	if len(b.frames) == 1 || lp.cfg.SlowConsumer == SlowDrop {
		lp.rank(c)
	}
	lp.limitBacklog(c)
}

// startBacklog notes that bytes wait for a connection from now on, and has its socket watched.
func (lp *loop) startBacklog(c *conn) {
	lp.owner.mustOwn()
	b := &c.ext.backlog
	b.moved = lp.now()
	lp.backlogs.set(c.slot)
	lp.ages.add(c)
	lp.n.backlogged.Add(1)
	lp.wheel.schedule(&lp.conns, c, b.moved+seconds(lp.cfg.MaxBacklogAge))
	lp.watch(c)
}

// limitBacklog carries out the policy on a backlog over its cap.
func (lp *loop) limitBacklog(c *conn) {
	b := &c.ext.backlog
	// A single publication is never too much for one connection, or the largest could not be heard at all.
	alone := len(b.frames) == 1 && b.frames[0].Channel() != ""
	if c.state != stateOpen || b.bytes <= lp.cfg.MaxBacklog || alone {
		return
	}
	if lp.cfg.SlowConsumer == SlowDrop {
		dropped, freed := b.dropOldest(lp.cfg.MaxBacklog)
		lp.n.dropped.add("slow", dropped)
		lp.account(-freed)
		lp.rank(c)
		if b.bytes <= lp.cfg.MaxBacklog {
			return
		}
	}
	lp.end(c, protocol.ErrSlowConsumer)
}

// flush sends what a socket takes of its backlog.
func (lp *loop) flush(c *conn) {
	lp.owner.mustOwn()
	if c.ext == nil || c.ext.backlog.empty() {
		return
	}
	b := &c.ext.backlog
	lp.account(b.tellLost(time.Now().UnixMilli()))
	for sent := 0; len(b.frames) > 0 && sent < maxFlush; {
		lp.scratch = b.peek(lp.scratch[:0], maxFlush)
		n, errno := send(c.fd, lp.scratch)
		if errno == syscall.EAGAIN {
			break
		}
		if errno != 0 {
			lp.cut(c, "write_error")
			return
		}
		sent += n
		lp.account(-b.advance(n))
		b.moved = lp.now()
		lp.n.sentBytes.Add(uint64(n))
	}
	if len(b.frames) > 0 {
		lp.rank(c)
		lp.watch(c)
		return
	}
	lp.clearBacklog(c)
	if c.state == stateClosing {
		lp.hangUp(c)
		return
	}
	if c.state == stateOpen {
		lp.backlogSent(c)
	}
	c.dropExt()
}

// clearBacklog takes note that a connection's backlog is gone.
func (lp *loop) clearBacklog(c *conn) {
	lp.owner.mustOwn()
	lp.backlogs.clear(c.slot)
	lp.n.backlogged.Add(-1)
	lp.account(-c.ext.backlog.forget())
	lp.unrank(c)
	c.ext.backlog = backlog{}
	if c.flags&flagWatched != 0 {
		c.flags &^= flagWatched
		lp.srv.watcher.forget(c.fd)
	}
}

func (lp *loop) watch(c *conn) {
	lp.owner.mustOwn()
	if err := lp.srv.watcher.watch(c.fd, lp.id, c.slot, c.flags&flagWatched != 0); err != nil {
		lp.cfg.Log.Debug("watch for writability", "conn", c.key, "error", err)
		lp.cut(c, "watch_error")
		return
	}
	c.flags |= flagWatched
}
