package server

import (
	"github.com/carillon-ws/carillon/protocol"
	"github.com/carillon-ws/carillon/protocol/websocket"
)

// compression is what a loop keeps for the connections that negotiated permessage-deflate. No window outlives a
// message, in either direction, so all of them share it, and a connection of its own has one bit.
type compression struct {
	on     bitset           // slots of such connections, from the 101 until they leave
	limits websocket.Limits // for what they send: the limits of all, with the loop's Inflater

	run     []byte // the run under way, compressed; nil until it goes to the first of them
	smaller int    // of its frames, those that compression made smaller
	sent    int    // how many of them it went to
	scratch []byte // where a run of several frames is joined
}

// startCompressing takes note of what the handshake agreed on.
//
// Runs on the loop.
func (lp *loop) startCompressing(c *conn) {
	lp.deflate.on.set(c.slot)
	lp.n.compressing.Add(1)
}

// stopCompressing forgets it: nothing is fanned out to the connection any more, nor read from it.
//
// Runs on the loop.
func (lp *loop) stopCompressing(c *conn) {
	if lp.deflate.on.has(c.slot) {
		lp.deflate.on.clear(c.slot)
		lp.n.compressing.Add(-1)
	}
}

// limitsOf is what bounds a connection's messages.
func (lp *loop) limitsOf(c *conn) *websocket.Limits {
	if lp.deflate.on.has(c.slot) {
		return &lp.deflate.limits
	}
	return &lp.limits
}

// formOf is a frame of a run as it goes to the connection in a slot. It is the same for as long as the connection is
// open, so what of it is sent and what waits never mix two forms.
func (lp *loop) formOf(f *protocol.Frame, slot uint32) *protocol.Frame {
	if lp.deflate.on.has(slot) {
		return f.In(protocol.Deflated)
	}
	return f
}

// deflatedRun is the run as it goes to one more of the connections that compress. It is joined for the first of them;
// the frames, which other loops may share, are compressed by whoever comes first.
//
// Runs on the loop.
func (lp *loop) deflatedRun() []byte {
	d := &lp.deflate
	d.sent++
	if d.run != nil {
		return d.run
	}
	d.scratch = d.scratch[:0]
	for _, f := range lp.run.Frames {
		form := f.In(protocol.Deflated)
		if form != f {
			d.smaller++
		}
		if len(lp.run.Frames) == 1 { // as it is, however large
			d.run = form.Bytes()
			return d.run
		}
		d.scratch = append(d.scratch, form.Bytes()...)
	}
	d.run = d.scratch
	return d.run
}

// countDeflated adds the run that ends to the statistics.
func (lp *loop) countDeflated() {
	d := &lp.deflate
	if d.run == nil {
		return
	}
	lp.n.compressed.Add(uint64(d.sent * d.smaller))
	lp.n.savedBytes.Add(uint64(d.sent * (len(lp.run.Bytes) - len(d.run))))
	d.run, d.smaller, d.sent = nil, 0, 0
}
