package server

import (
	"syscall"
	"time"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/protocol"
)

// walkStep is how many subscribers are written to between looks at the clock.
const walkStep = 32

// broadcast is one turn under way: a batch that was taken from the mailbox, and how far the loop has come with it. Its
// bundles are sent one after the other, each to all subscribers of its channel.
//
// Owned by the loop.
type broadcast struct {
	batch    fanout.Batch // what the turn refers to
	turn     *fanout.Turn[member]
	sending  bool          // the turn is under way
	loaded   bool          // what waits for its channels is answered, and turn has the batch's items
	answered int           // how many of the batch's settled channels are answered
	bundle   fanout.Bundle // being sent to its subscribers
	walking  bool          // bundle is not sent to all yet
	everyone cursor        // of a bundle that goes to every connection
	width    int           // connections that the bundle went to so far
	began    int64         // when the turn began, as fanout.Monotonic tells
	written  int64         // when the turn's last bundle was written
	failing  bool          // the last turn was dropped: it panicked
	forms    [protocol.Forms]bundleForm
}

// bundleForm is the bundle in one form.
type bundleForm struct {
	bytes   []byte  // all frames joined; nil until it goes to the first connection that takes the form
	smaller int     // of its frames, those that differ from the plain ones
	sent    int     // how many connections it went to
	scratch []byte  // where several frames are joined
	held    []*held // its frames that backlogs of this loop share; nil entries are in none
}

// startTurn makes the batch that was taken the next turn.
func (lp *loop) startTurn() {
	defer lp.recoverTurn()
	lp.owner.mustOwn()
	lp.sending = true
	lp.n.turns.Add(1)
	lp.began = fanout.Monotonic()
	lp.written = lp.began // nobody may be left who hears any of it
	lp.loaded, lp.answered = false, 0
}

// sendTurn goes on with the turn: one write a connection for all frames of a channel that piled up. It reports
// false when the deadline came before the end; then the walk stands where it is, members may come and go, and the
// next call goes on.
func (lp *loop) sendTurn(deadline int64) bool {
	lp.owner.mustOwn()
	if !lp.sending {
		return true
	}
	defer lp.recoverTurn()
	if !lp.settle(deadline) { // who is to be ended hears nothing more
		return false
	}
	lp.n.slices.Add(1)
	if !lp.loaded {
		if !lp.settleChannels(deadline) {
			return false
		}
		lp.batch.AppendGaps(time.Now().UnixMilli())
		lp.turn.Load(lp.batch.Items)
		lp.loaded = true
	}
	for {
		if !lp.walking {
			bundle, ok := lp.turn.Next()
			if !ok {
				lp.batch.Reset()
				lp.sending, lp.failing = false, false
				lp.n.turn.observe(lp.written - lp.began)
				return true
			}
			lp.startBundle(bundle)
		}
		for lp.walking {
			lp.stepBundle()
			if !lp.settle(deadline) || fanout.Monotonic() > deadline {
				return false
			}
		}
	}
}

func (lp *loop) startBundle(bundle fanout.Bundle) {
	lp.bundle, lp.width = bundle, 0
	lp.forms[protocol.Plain].bytes = bundle.Bytes
	if bundle.Channel == "" {
		lp.everyone = cursor{}
		lp.walking = true
		return
	}
	lp.walking = lp.index.StartWalk(bundle.Channel)
}

// stepBundle sends the bundle to the next few connections.
func (lp *loop) stepBundle() {
	lp.owner.mustOwn()
	if lp.bundle.Channel == "" {
		lp.stepEveryone()
		return
	}
	members := lp.index.WalkNext(walkStep)
	writes, taken := 0, 0
	for i := range members {
		n, wrote := lp.deliver(members[i].Conn)
		taken += n
		writes += wrote
	}
	lp.width += len(members)
	lp.n.writes.Add(uint64(writes))
	lp.n.sentBytes.Add(uint64(taken))
	lp.n.deliveries.Add(uint64(len(members) * len(lp.bundle.Frames)))
	if len(members) < walkStep {
		lp.endBundle()
	}
}

// stepEveryone sends the bundle to the next few connections that have a subscription.
func (lp *loop) stepEveryone() {
	taken := 0
	defer func() { lp.n.sentBytes.Add(uint64(taken)) }()
	for range walkStep {
		c := lp.everyone.next(&lp.conns)
		if c == nil {
			lp.endBundle()
			return
		}
		if c.state == stateOpen && !c.subs.Empty() {
			n, _ := lp.deliver(member{c.fd, c.slot})
			taken += n
		}
	}
}

// deliver sends the bundle to one connection, in its form, or keeps it behind what already waits there. It returns how
// many bytes the socket took, and how many writes that was. While a connection keeps up its record is not touched.
func (lp *loop) deliver(m member) (taken, writes int) {
	form := lp.formOf(m.slot)
	data := lp.forms[form].bytes
	if form != protocol.Plain {
		data = lp.joinIn(form)
	}
	if lp.backlogs.has(m.slot) {
		lp.keepBundle(lp.conns.at(m.slot), form, 0)
		return 0, 0
	}
	n, errno := send(m.fd, data)
	if n == len(data) {
		return n, 1
	}
	if c := lp.conns.at(m.slot); errno != 0 && errno != syscall.EAGAIN {
		lp.cut(c, "write_error")
	} else {
		lp.keepBundle(c, form, n)
	}
	return n, 1
}

// joinIn is the bundle in another form, as it goes to one more connection. It is joined for the first of them; the
// frames, which other loops may share, are encoded by whoever comes first.
func (lp *loop) joinIn(form protocol.Form) []byte {
	bf := &lp.forms[form]
	bf.sent++
	if bf.bytes != nil {
		return bf.bytes
	}
	bf.scratch = bf.scratch[:0]
	for _, plain := range lp.bundle.Frames {
		f := plain.In(form)
		if f != plain {
			bf.smaller++
		}
		if len(lp.bundle.Frames) == 1 { // as it is, however large
			bf.bytes = f.Bytes()
			return bf.bytes
		}
		bf.scratch = append(bf.scratch, f.Bytes()...)
	}
	bf.bytes = bf.scratch
	return bf.bytes
}

// keepBundle appends the frames of the bundle to a connection's backlog, in the form that goes to it. The first sent
// bytes are sent.
func (lp *loop) keepBundle(c *conn, form protocol.Form, sent int) {
	for i, plain := range lp.bundle.Frames {
		f := plain.In(form)
		if sent >= f.Len() {
			sent -= f.Len()
			continue
		}
		lp.keepShared(c, lp.heldOf(i, form, f), sent)
		sent = 0
		if c.flags&flagEnding != 0 {
			return
		}
	}
}

// heldOf returns what the backlogs of this loop share of frame i of the bundle, which is f in that form.
func (lp *loop) heldOf(i int, form protocol.Form, f *protocol.Frame) *held {
	bf := &lp.forms[form]
	for len(bf.held) <= i {
		bf.held = append(bf.held, nil)
	}
	if bf.held[i] == nil {
		bf.held[i] = &held{Frame: f}
	}
	return bf.held[i]
}

// endBundle notes that the bundle's last write is done.
func (lp *loop) endBundle() {
	lp.written = fanout.Monotonic()
	for _, at := range lp.bundle.TakenAt {
		lp.published(lp.written - at)
	}
	lp.forgetBundle()
}

// countPublication takes note of a publication whose last write is done, so many nanoseconds after it was taken from the
// source.
func (lp *loop) countPublication(latency int64) {
	lp.n.latency.observe(latency)
	lp.n.width.observe(int64(lp.width))
}

// forgetBundle counts in which forms the bundle went out, and lets go of it. What backlogs hold of it stays theirs.
func (lp *loop) forgetBundle() {
	for form := range lp.forms {
		bf := &lp.forms[form]
		if form != int(protocol.Plain) && bf.bytes != nil {
			lp.n.compressed.Add(uint64(bf.sent * bf.smaller))
			lp.n.savedBytes.Add(uint64(bf.sent * (len(lp.bundle.Bytes) - len(bf.bytes))))
		}
		clear(bf.held)
		*bf = bundleForm{scratch: bf.scratch, held: bf.held[:0]}
	}
	lp.bundle = fanout.Bundle{}
	lp.walking = false
}
