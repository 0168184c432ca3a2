package server

import "github.com/carillon-ws/carillon/protocol"

// backlog is what one socket has not taken yet: references to frames that are shared with other connections, in
// order, the first of them perhaps half sent. It costs a slow connection pointers, not copies.
type backlog struct {
	frames []*protocol.Frame
	off    int    // bytes of frames[0] that are sent
	bytes  int    // Invariant: the frames' lengths less off
	lost   []lost // notifications dropped from the front, to be told there
	moved  uint32 // second at which the socket last took something, or the backlog began
}

// lost counts a channel's dropped notifications.
type lost struct {
	channel string
	n       uint64
}

func (b *backlog) empty() bool { return len(b.frames) == 0 && len(b.lost) == 0 }

// push appends a frame of which the first off bytes are sent already; off is 0 unless the backlog is empty.
func (b *backlog) push(f *protocol.Frame, off int) {
	if len(b.frames) == 0 {
		b.off = off
	}
	b.frames = append(b.frames, f)
	b.bytes += f.Len() - off
}

// advance forgets n bytes that the socket has taken.
func (b *backlog) advance(n int) {
	b.bytes -= n
	b.off += n
	done := 0
	for done < len(b.frames) && b.off >= b.frames[done].Len() {
		b.off -= b.frames[done].Len()
		b.frames[done] = nil
		done++
	}
	if b.frames = b.frames[done:]; len(b.frames) == 0 {
		b.frames = nil
	}
}

// dropOldest drops whole notifications, the oldest first, until at most limit bytes are left, and remembers what
// must be told. A frame that is half sent, a frame that is no notification and the newest frame stay: a backlog of
// a single frame is never over its cap. It returns how many were dropped and their bytes.
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
		freed += f.Len()
		dropped++
		b.remember(f.Channel())
	}
	copy(b.frames[dropped:], b.frames[:stay])
	clear(b.frames[:dropped])
	b.frames = b.frames[dropped:]
	return dropped, freed
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
// behind a frame that is half sent. It returns the bytes that this adds.
func (b *backlog) tellLost(now int64) (added int) {
	if len(b.lost) == 0 {
		return 0
	}
	gaps := make([]*protocol.Frame, 0, len(b.lost)+len(b.frames))
	if b.off > 0 {
		gaps = append(gaps, b.frames[0])
		b.frames = b.frames[1:]
	}
	for _, l := range b.lost {
		f := protocol.NewFrame(&protocol.Message{
			Type: protocol.MessageGap, Channel: l.channel, Reason: protocol.GapSlow, Dropped: l.n, Timestamp: now,
		})
		gaps = append(gaps, f)
		added += f.Len()
	}
	b.frames = append(gaps, b.frames...)
	b.lost = nil
	b.bytes += added
	return added
}

// keepHalfSent forgets everything but a frame that is half sent, which must be finished or the stream has a hole.
// It returns the bytes forgotten.
func (b *backlog) keepHalfSent() (freed int) {
	if b.off == 0 {
		freed = b.bytes
		*b = backlog{moved: b.moved}
		return freed
	}
	left := b.frames[0].Len() - b.off
	freed = b.bytes - left
	*b = backlog{frames: b.frames[:1:1], off: b.off, bytes: left, moved: b.moved}
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
