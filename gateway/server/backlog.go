package server

import (
	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/protocol"
)

// backlog is what one socket has not taken yet: references to frames that are shared with other connections, in
// order, the first of them perhaps half sent. It costs a slow connection pointers, not copies.
//
// Two sizes are counted. bytes is what this connection waits for; MaxBacklog bounds it. What the frames cost the loop is
// counted by held, once for all backlogs that share a frame; MaxBacklogTotal bounds it. Methods that change the frames
// return the change of that cost.
type backlog struct {
	frames []*held
	off    int    // bytes of frames[0] that are sent
	bytes  int    // Invariant: the frames' lengths less off
	firm   int    // Invariant: what the frames without a channel cost
	lost   []lost // notifications dropped from the front, to be told there
	moved  uint32 // second at which the socket last took something, or the backlog began
	place  int32  // in the loop's queue of backlogs by age
}

// lost counts a channel's dropped notifications.
type lost struct {
	channel string
	n       uint64
}

func (b *backlog) empty() bool { return len(b.frames) == 0 && len(b.lost) == 0 }

// push appends a frame of which the first off bytes are sent already; off is 0 unless the backlog is empty.
func (b *backlog) push(h *held, off int) (added int) {
	if len(b.frames) == 0 {
		b.off = off
	}
	b.frames = append(b.frames, h)
	b.bytes += h.Len() - off
	return b.take(h)
}

// take counts one more reference to a frame.
func (b *backlog) take(h *held) (added int) {
	if h.Channel() == "" {
		b.firm += h.cost()
	}
	return h.take()
}

// release counts one reference less.
func (b *backlog) release(h *held) (freed int) {
	if h.Channel() == "" {
		b.firm -= h.cost()
	}
	return h.release()
}

// advance forgets n bytes that the socket has taken.
func (b *backlog) advance(n int) (freed int) {
	b.bytes -= n
	b.off += n
	done := 0
	for done < len(b.frames) && b.off >= b.frames[done].Len() {
		b.off -= b.frames[done].Len()
		freed += b.release(b.frames[done])
		b.frames[done] = nil
		done++
	}
	if b.frames = b.frames[done:]; len(b.frames) == 0 {
		b.frames = nil
	}
	return freed
}

// dropOldest drops whole notifications, the oldest first, until at most limit bytes are left, and remembers what
// must be told. A frame that is half sent, a frame that is no notification and the newest frame stay: a backlog of
// a single frame is never over its cap. It returns how many were dropped.
//
// A connection that has stalled comes here with every delivery, so what lies behind the dropped is not looked at.
func (b *backlog) dropOldest(limit int) (dropped uint64, freed int) {
	stay, seen := 0, 0
	for ; b.bytes > limit && seen < len(b.frames)-1; seen++ {
		f := b.frames[seen]
		if half := seen == 0 && b.off > 0; half || f.Channel() == "" {
			b.frames[stay] = f
			stay++
			continue
		}
		b.bytes -= f.Len()
		freed += b.release(f)
		dropped++
		b.remember(f.Channel())
	}
	copy(b.frames[dropped:], b.frames[:stay])
	clear(b.frames[:dropped])
	b.frames = b.frames[dropped:]
	return dropped, freed
}

// drop drops the notification frames[at], of which nothing is sent, and remembers what must be told.
func (b *backlog) drop(at int) (freed int) {
	h := b.frames[at]
	b.bytes -= h.Len()
	freed = b.release(h)
	b.remember(h.Channel())
	copy(b.frames[1:], b.frames[:at]) // few stand before it
	b.frames[0] = nil
	if b.frames = b.frames[1:]; len(b.frames) == 0 {
		b.frames = nil
	}
	return freed
}

func (b *backlog) remember(channel string) {
	for i := range b.lost {
		if b.lost[i].channel == channel {
			b.lost[i].n++
			return
		}
	}
	b.lost = append(b.lost, lost{channel, 1})
}

// tellLost puts a gap message for each channel that lost something where the first of it was missed: in front, but
// behind a frame that is half sent.
func (b *backlog) tellLost(now int64) (added int) {
	if len(b.lost) == 0 {
		return 0
	}
	gaps := make([]*held, 0, len(b.lost)+len(b.frames))
	born := fanout.Monotonic()
	if len(b.frames) > 0 {
		born = b.frames[0].born // so that those behind do not seem younger than they are
	}
	if b.off > 0 {
		gaps = append(gaps, b.frames[0])
		b.frames = b.frames[1:]
	}
	for _, l := range b.lost {
		f := protocol.NewFrame(&protocol.Message{
			Type: protocol.MessageGap, Channel: l.channel, Reason: protocol.GapSlow, Dropped: l.n, Timestamp: now,
		})
		h := &held{Frame: f}
		gaps = append(gaps, h)
		b.bytes += f.Len()
		added += b.take(h)
		h.born = born
	}
	b.frames = append(gaps, b.frames...)
	b.lost = nil
	return added
}

// keepHalfSent forgets everything but a frame that is half sent, which must be finished or the stream has a hole. If
// little of it is left, that is copied: then the frame is not held any longer, and the copy is new.
func (b *backlog) keepHalfSent() (freed int) {
	var rest *held
	off := b.off
	if off > 0 {
		rest = b.frames[0]
		if left := rest.Bytes()[off:]; len(left) <= answerPiece {
			rest, off = &held{Frame: protocol.FrameOf(left, "")}, 0
		}
		freed -= rest.take() // so that it keeps its age when all is forgotten
	}
	freed += b.forget()
	if rest != nil {
		freed -= b.push(rest, off)
		freed += rest.release()
	}
	return freed
}

// forget empties the backlog.
func (b *backlog) forget() (freed int) {
	for _, h := range b.frames {
		freed += b.release(h)
	}
	*b = backlog{moved: b.moved, place: b.place}
	return freed
}

// peek appends what is to be sent next to dst, up to limit bytes: of a frame that is larger only a part, or each write
// of it would cost a copy of all that is left.
func (b *backlog) peek(dst []byte, limit int) []byte {
	off := b.off
	for _, f := range b.frames {
		room := limit - len(dst)
		if room <= 0 {
			break
		}
		part := f.Bytes()[off:]
		dst = append(dst, part[:min(room, len(part))]...)
		off = 0
	}
	return dst
}
