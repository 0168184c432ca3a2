package server

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/protocol"
	"github.com/carillon-ws/carillon/protocol/websocket"
)

// maxFlush is how many bytes of one backlog are sent before the loop turns to others.
const maxFlush = 64 << 10

// write sends framed bytes to one connection: answers, control frames, the handshake. What the socket does not take
// is kept. framed is scratch memory: it is not kept.
//
// Runs on the loop.
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
		lp.kill(c, "write_error")
	}
}

// answerPiece is about how many bytes of answers wait as one piece. What is half sent must be finished even if the
// connection is too slow, so pieces are small.
const answerPiece = 16 << 10

// keepAnswers appends a copy of answers to the backlog of a connection, in pieces. The first sent bytes are sent.
//
// Runs on the loop.
func (lp *loop) keepAnswers(c *conn, framed []byte, sent int) {
	doomed := c.flags & flagDoomed // for another reason: it is still to hear these
	for len(framed) > 0 {
		n := websocket.CutFrames(framed, answerPiece)
		if sent < n {
			lp.keep(c, protocol.FrameOf(framed[:n], ""), sent) // whole: nothing may come between its halves
		}
		if c.flags&flagDoomed != doomed {
			return // too slow now: the rest would be thrown away
		}
		framed, sent = framed[n:], max(0, sent-n)
	}
}

// keep appends a frame to the backlog of a connection and has it watched. off bytes of the frame are sent.
//
// Runs on the loop.
func (lp *loop) keep(c *conn, f *protocol.Frame, off int) {
	b := &c.more().backlog
	if b.empty() {
		b.moved = lp.now()
		lp.busy.set(c.slot)
		lp.n.backlogged.Add(1)
		lp.wheel.schedule(&lp.conns, c, b.moved+seconds(lp.cfg.MaxBacklogAge))
		lp.watch(c)
	}
	b.push(f, off)
	lp.n.backlogBytes.Add(int64(f.Len() - off))
	lp.limitBacklog(c)
}

// keepRun appends the frames of a run, in the form that goes to this connection, of which the first sent bytes are sent.
//
// Runs on the loop.
func (lp *loop) keepRun(c *conn, run *fanout.Run, sent int) {
	for _, f := range run.Frames {
		f = lp.formOf(f, c.slot)
		if sent >= f.Len() {
			sent -= f.Len()
			continue
		}
		lp.keep(c, f, sent)
		sent = 0
		if c.flags&flagDoomed != 0 {
			return
		}
	}
}

// limitBacklog carries out the policy on a backlog over its cap.
//
// Runs on the loop.
func (lp *loop) limitBacklog(c *conn) {
	b := &c.ext.backlog
	totalOver := lp.n.backlogBytes.Load() > int64(lp.cfg.MaxBacklogTotal)
	// A single publication is never too much for one connection, or the largest could not be heard at all.
	alone := len(b.frames) == 1 && b.frames[0].Channel() != ""
	if c.state != stateOpen || !totalOver && (b.bytes <= lp.cfg.MaxBacklog || alone) {
		return
	}
	if lp.cfg.SlowConsumer == SlowDrop {
		limit := lp.cfg.MaxBacklog
		if b.bytes <= limit {
			limit = b.bytes / 2 // the loop's total is over, not this one's share
		}
		dropped, freed := b.dropOldest(limit)
		lp.n.dropped.add("slow", dropped)
		lp.n.backlogBytes.Add(-int64(freed))
		// Over the total an answer must have made room for itself: those that nobody reads cannot be dropped, and together
		// they would know no bound. A publication that has not is one of two at most: shared, and dropped by the next.
		answer := b.frames[len(b.frames)-1].Channel() == ""
		if b.bytes <= lp.cfg.MaxBacklog && (freed > 0 || !answer) {
			return
		}
	}
	lp.doom(c, protocol.ErrSlowConsumer)
}

// flush sends what a socket takes of its backlog.
//
// Runs on the loop.
func (lp *loop) flush(c *conn) {
	lp.owner.mustOwn()
	if c.ext == nil || c.ext.backlog.empty() {
		return
	}
	b := &c.ext.backlog
	lp.n.backlogBytes.Add(int64(b.tellLost(time.Now().UnixMilli())))
	for sent := 0; len(b.frames) > 0 && sent < maxFlush; {
		lp.scratch = b.peek(lp.scratch[:0], maxFlush)
		n, errno := send(c.fd, lp.scratch)
		if errno == syscall.EAGAIN {
			break
		}
		if errno != 0 {
			lp.kill(c, "write_error")
			return
		}
		sent += n
		b.advance(n)
		b.moved = lp.now()
		lp.n.sentBytes.Add(uint64(n))
		lp.n.backlogBytes.Add(-int64(n))
	}
	if len(b.frames) > 0 {
		lp.watch(c)
		return
	}
	lp.unbusy(c)
	if c.state == stateClosing {
		lp.finish(c)
		return
	}
	c.less()
}

// unbusy takes note that a connection's backlog is gone.
func (lp *loop) unbusy(c *conn) {
	lp.busy.clear(c.slot)
	lp.n.backlogged.Add(-1)
	lp.n.backlogBytes.Add(-int64(c.ext.backlog.bytes))
	c.ext.backlog = backlog{}
	if c.flags&flagWatched != 0 {
		c.flags &^= flagWatched
		lp.srv.watcher.forget(c.fd)
	}
}

func (lp *loop) watch(c *conn) {
	if err := lp.srv.watcher.watch(c.fd, lp.id, c.slot, c.flags&flagWatched != 0); err != nil {
		lp.cfg.Log.Debug("watch for writability", "conn", c.key, "error", err)
		lp.kill(c, "watch_error")
		return
	}
	c.flags |= flagWatched
}

// closeWrite ends our side of the stream: the peer reads the end after the last byte. It is how a close frame
// survives: a plain close(2) with unread input would send a reset that overtakes it.
func closeWrite(fd int32) { _ = unix.Shutdown(int(fd), unix.SHUT_WR) }

func seconds(d time.Duration) uint32 { return uint32((d + time.Second - 1) / time.Second) }
