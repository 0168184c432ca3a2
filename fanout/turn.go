package fanout

import "github.com/carillon-ws/carillon/protocol"

// maxJoin is the most bytes that are joined into one write. More of a channel is sent in several.
const maxJoin = 64 << 10

// Bundle is what one connection gets in one write: the frames of one channel that piled up, joined. Its slices are the
// turn's: they are valid until the next call of [Turn.Next].
type Bundle struct {
	Channel string            // empty: for every connection
	Frames  []*protocol.Frame // one by one, for a backlog to refer to
	Bytes   []byte            // all of them, in their plain form
	TakenAt []int64           // of each publication among them, when it was taken from the source, as [Monotonic] tells
}

// Turn is a batch being sent by a loop: its items grouped by channel, in order of their first item. Within a channel
// the order of the batch is kept; between channels there is none to keep. An item for every connection stays where
// it is: what came later is sent later.
//
// It belongs to the loop, and its memory is reused.
type Turn[C any] struct {
	ix     *Index[C]
	items  []Item
	next   []int32 // next[i] is the next item of the channel of item i, -1 at the end
	groups []group
	stamp  uint32 // of this turn, or of its part since the last item for every connection

	at   int   // the group that Next goes on with
	item int32 // its item that Next goes on with; -1 at a group's start

	frames  []*protocol.Frame
	takenAt []int64
	scratch []byte
}

type group struct {
	channel     string
	first, last int32
}

// NewTurn returns a Turn with nothing to do.
func NewTurn[C any](ix *Index[C]) *Turn[C] {
	return &Turn[C]{ix: ix, item: -1}
}

// Done reports whether everything has been given out.
func (t *Turn[C]) Done() bool { return t.at >= len(t.groups) }

// Load takes the items of a batch, which must stay as they are until the turn is done. Items that nobody on this
// loop hears (any more) are left out.
func (t *Turn[C]) Load(items []Item) {
	t.release()
	t.items, t.item = items, -1
	t.newStamp()
	for i, item := range items {
		t.next = append(t.next, -1)
		if item.Channel == "" {
			t.groups = append(t.groups, group{"", int32(i), int32(i)})
			t.newStamp()
			continue
		}
		id := t.ix.byName[item.Channel]
		if id == 0 {
			continue
		}
		ch := t.ix.channels.At(id)
		if ch.stamp == t.stamp {
			g := &t.groups[ch.group]
			t.next[g.last] = int32(i)
			g.last = int32(i)
			continue
		}
		ch.stamp, ch.group = t.stamp, int32(len(t.groups))
		t.groups = append(t.groups, group{ch.name, int32(i), int32(i)})
	}
}

func (t *Turn[C]) newStamp() {
	t.stamp++
	if t.stamp == 0 { // after 4 billion turns: 0 is the stamp of a channel that was never grouped
		t.stamp = 1
		for _, id := range t.ix.byName {
			t.ix.channels.At(id).stamp = 0
		}
	}
}

// release forgets the batch: what the turn still refers to would stay in memory until the next one.
func (t *Turn[C]) release() {
	t.items, t.at = nil, 0
	t.groups, t.next = emptied(t.groups), emptied(t.next)
}

// Next gives out the next bundle. ok is false at the end: the turn has forgotten the batch then, which may be reused.
func (t *Turn[C]) Next() (bundle Bundle, ok bool) {
	clear(t.frames)
	t.frames, t.takenAt = t.frames[:0], t.takenAt[:0]
	if t.Done() {
		t.release()
		return Bundle{}, false
	}
	g := &t.groups[t.at]
	i := t.item
	if i < 0 {
		i = g.first
	}
	size := 0
	for ; i >= 0; i = t.next[i] {
		f := t.items[i].Frame
		if size > 0 && size+f.Len() > maxJoin {
			break
		}
		size += f.Len()
		t.frames = append(t.frames, f)
		if at := t.items[i].TakenAt; at != 0 {
			t.takenAt = append(t.takenAt, at)
		}
	}
	if t.item = i; i < 0 {
		t.at++
	}
	return Bundle{Channel: g.channel, Frames: t.frames, Bytes: t.join(), TakenAt: t.takenAt}, true
}

// join returns the frames as one piece: a single one as it is, several copied once into the turn's scratch memory.
func (t *Turn[C]) join() []byte {
	if len(t.frames) == 1 {
		return t.frames[0].Bytes()
	}
	t.scratch = t.scratch[:0]
	for _, f := range t.frames {
		t.scratch = append(t.scratch, f.Bytes()...)
	}
	return t.scratch
}
