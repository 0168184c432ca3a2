package server

import (
	"math"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/protocol"
	"github.com/carillon-ws/carillon/protocol/http1"
	"github.com/carillon-ws/carillon/protocol/websocket"
)

// startClose ends a connection with a close frame: it hears nothing more, what waits for it is sent (unless it is
// too slow for that), then the close frame, then the end of the stream.
//
// Runs on the loop.
func (lp *loop) startClose(c *conn, err *websocket.CloseError) {
	switch c.state {
	case stateOpening:
		switch {
		case !lp.srv.draining.Load() && err.Label == protocol.ErrInboundFull.Label:
			lp.refuse(c, http1.RefuseInbound)
		case !lp.srv.draining.Load():
			lp.refuse(c, http1.RefuseInternal)
		case c.ext == nil || c.ext.refusal == nil:
			lp.refuse(c, http1.RefuseDraining)
		}
		return
	case stateOpen:
	default:
		return
	}
	lp.n.closed.add(err.Label, 1)
	lp.event(c, "closed", err.Label)
	lp.leave(c)
	lp.beginClosing(c)
	if c.ext != nil && err == protocol.ErrSlowConsumer {
		lp.keepHalfSent(c)
	}
	if c == lp.current { // what was answered before it went wrong is sent before the close frame
		lp.out = websocket.AppendClose(lp.out, err)
		lp.write(c, lp.out)
		lp.out = lp.out[:0]
	} else {
		var frame [maxCloseFrame]byte
		lp.write(c, websocket.AppendClose(frame[:0], err))
	}
	lp.finishIfFlushed(c)
}

// keepHalfSent forgets what waits for a connection that is too slow, but for what must be finished.
func (lp *loop) keepHalfSent(c *conn) {
	b := &c.ext.backlog
	if b.empty() {
		return
	}
	lp.account(-b.keepHalfSent())
	if b.empty() {
		lp.unbusy(c)
		return
	}
	lp.rank(c)
}

// maxCloseFrame holds any close frame: a header of 2 bytes and a payload of at most 125.
const maxCloseFrame = 127

const (
	notSentLow  = 16 << 10         // TCP_NOTSENT_LOWAT in bytes: what waits beyond it waits in our backlog
	userTimeout = 30 * time.Second // TCP_USER_TIMEOUT at least: a peer that acknowledges nothing for so long is gone
)

// beginClosing enters the last state but one.
func (lp *loop) beginClosing(c *conn) {
	c.state, c.seen = stateClosing, lp.now()
	if c.ext != nil {
		c.ext.in, c.ext.reader = nil, websocket.Reader{}
		lp.countUnfinished(c, false)
	}
	lp.wheel.schedule(&lp.conns, c, c.seen+seconds(lingerFor))
}

func (lp *loop) finishIfFlushed(c *conn) {
	if c.state == stateClosing && (c.ext == nil || c.ext.backlog.empty()) {
		lp.finish(c)
	}
}

// finish ends our side of the stream once everything is handed to the kernel. The peer reads it all and closes; what
// it still sends meanwhile is thrown away, for lingerFor and maxLinger at most.
//
// Runs on the loop.
func (lp *loop) finish(c *conn) {
	closeWrite(c.fd)
}

// cut closes the socket now.
//
// Runs on the loop.
func (lp *loop) cut(c *conn, label string) {
	if c.state == stateOpen {
		lp.n.closed.add(label, 1)
		lp.event(c, "closed", label)
		lp.leave(c)
	}
	c.state = stateDead
	if c != lp.current { // else gnet closes it when its callback returns
		_ = lp.el.Close(c.gc)
	}
}

// leave takes an open connection out of everything that could write to it.
//
// Runs on the loop.
func (lp *loop) leave(c *conn) {
	lp.index.Leave(&c.subs, func(channel string) { lp.cfg.Interest.Remove(channel, lp.id) })
	c.count = 0
	lp.n.connections.Add(-1)
	lp.stopCompressing(c)
}

// gone forgets a connection that gnet is closing, whoever wanted it.
//
// Runs on the loop.
func (lp *loop) gone(c *conn) {
	if c.state == stateOpen { // the peer left without a close frame
		lp.n.closed.add("peer_gone", 1)
		lp.event(c, "closed", "peer_gone")
		lp.leave(c)
	}
	if c.ext != nil && !c.ext.backlog.empty() {
		lp.unbusy(c)
	}
	lp.uncount(c)
	lp.wheel.remove(&lp.conns, c)
	lp.conns.put(c)
	lp.n.sockets.Add(-1)
	lp.srv.sockets.Add(-1)
	lp.publishGauges()
}

// uncount takes a connection out of what all loops count together.
func (lp *loop) uncount(c *conn) {
	if c.address != nil {
		lp.srv.addresses.put(c.address)
		c.address = nil
	}
	if c.ext != nil && c.ext.held != nil {
		lp.srv.inbound.end(c.ext.held)
		c.ext.held = nil
	}
	if c.flags&flagRefused != 0 {
		lp.srv.refused.Add(-1)
		c.flags &^= flagRefused
	}
}

// expire looks at a connection whose second has come: something is overdue, or it is put back.
//
// Runs on the loop.
func (lp *loop) expire(c *conn) {
	now := lp.now()
	switch c.state {
	case stateOpening:
		r := http1.RefuseTimeout
		if c.ext != nil && c.ext.refusal != nil {
			r = c.ext.refusal
		} else if due := lp.headDue(c); now < due {
			lp.wheel.schedule(&lp.conns, c, due)
			return
		}
		c.flags |= flagAsked
		lp.refuse(c, r)
	case stateClosing:
		if due := c.seen + seconds(lingerFor); now < due {
			lp.wheel.schedule(&lp.conns, c, due)
			return
		}
		lp.kill(c, "lingered")
	case stateOpen:
		lp.expireOpen(c, now)
	default: // gone, or going
	}
}

// headDue is the second at which a request head is overdue. Seconds are counted whole, and the one in which the socket
// came may have been nearly over: without one more the shortest timeout would be none.
func (lp *loop) headDue(c *conn) uint32 { return c.seen + 1 + seconds(lp.cfg.HandshakeTimeout) }

// messageDue is the second at which an unfinished message is; see headDue.
func (lp *loop) messageDue(e *connExt) uint32 { return e.midSince + 1 + seconds(lp.cfg.MessageTimeout) }

func (lp *loop) expireOpen(c *conn, now uint32) {
	next := uint32(0)
	look := func(due uint32) bool {
		if now >= due {
			return true
		}
		if next == 0 || due < next {
			next = due
		}
		return false
	}
	if e := c.ext; e != nil {
		if e.reader.Mid() && look(lp.messageDue(e)) {
			lp.doom(c, protocol.ErrMessageTimeout)
			return
		}
		if !e.backlog.empty() && look(e.backlog.moved+seconds(lp.cfg.MaxBacklogAge)) {
			lp.doom(c, protocol.ErrSlowConsumer)
			return
		}
	}
	if lp.cfg.Verifier != nil && look(lp.expiry(c)) {
		lp.doom(c, protocol.ErrTokenExpired)
		return
	}
	if lp.cfg.PingInterval > 0 {
		if lp.heartbeat(c, now, look) {
			return
		}
	}
	if lp.cfg.Heartbeat > 0 {
		lp.beat(c, now, look)
	}
	if next != 0 {
		lp.wheel.schedule(&lp.conns, c, next)
	}
}

// begin takes the event loop that gnet runs for us, the first time it calls us on it. What an earlier engine of this
// loop left half done is forgotten: its connections are gone.
func (lp *loop) begin(el gnet.EventLoop) {
	if lp.el == el {
		return
	}
	if lp.el != nil { // an engine that ended before it had its self-wake
		lp.end()
	}
	lp.owner.adopt()
	lp.el = el
	lp.endTurn()
	lp.asked.Store(false)
	lp.failing = false
	clear(lp.doomed)
	lp.doomed = lp.doomed[:0]
	lp.drain = drainState{}
	lp.atHand = nil
	if lp.n.sockets.Load() != 0 { // the last engine left a mess
		for slot := uint32(1); slot <= lp.conns.used; slot++ {
			lp.uncount(lp.conns.at(slot))
		}
		lp.index, lp.conns, lp.busy, lp.wheel = fanout.NewIndex[member](), arena{}, nil, wheel{}
		lp.turn = fanout.NewTurn(lp.index)
		lp.srv.sockets.Add(-lp.n.sockets.Swap(0))
		lp.deflate.on = nil
		lp.n.connections.Store(0)
		lp.n.compressing.Store(0)
		lp.n.backlogged.Store(0)
		lp.n.backlogBytes.Store(0)
		lp.ages = nil
		lp.publishOldest()
	}
	lp.calls, lp.writable = nil, nil
	lp.wheel.now = lp.now()
	lp.ticked = lp.wheel.now
	lp.mailbox.mu.Lock()
	lp.mailbox.el = el
	lp.mailbox.awake = false
	lp.mailbox.mu.Unlock()
}

// end is called when the engine closes the self-wake: the loop is ending, and its connections with it.
func (lp *loop) end() {
	lp.mailbox.mu.Lock()
	lp.mailbox.el = nil
	lp.mailbox.batch.Reset()
	lp.mailbox.calls, lp.mailbox.writable = nil, nil
	lp.mailbox.mu.Unlock()
	// gnet closes the loop's event descriptor as soon as its loop has ended. Whoever is about to wake the loop would then
	// write to whatever has that number next.
	lp.mailbox.waking.Wait()
	lp.endSweeps()
	lp.wake.close()
	lp.el = nil
	lp.owner.disown()
}

// setListenerOptions bounds what the kernel keeps for one connection. Accepted sockets inherit it. Without it a
// client that does not read takes up to tcp_wmem's maximum, 4 MiB, of kernel memory.
func setListenerOptions(eng gnet.Engine, cfg *Config) error {
	fd, err := eng.Dup()
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // a copy of the listener's descriptor: nothing is lost with it
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, cfg.SendBuffer); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, notSentLow); err != nil {
		return err
	}
	// The kernel also ends a connection whose window stays closed for so long, whatever it acknowledges: a slow
	// consumer is not to go before its time.
	patience := max(userTimeout, cfg.MaxBacklogAge)
	patience = min(patience, math.MaxInt32*time.Millisecond) // the kernel counts milliseconds in 32 bits: 24.8 days
	return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(patience.Milliseconds()))
}
