package fanout

import "github.com/carillon-ws/carillon/protocol"

// maxJoin is the most bytes that are joined into one bundle. If a channel has more, it gets several bundles. A frame that
// is larger alone is a bundle of its own.
const maxJoin = 64 << 10

// Bundle is what a connection gets in one write: frames of one channel that were in the same batch. Its slices belong to
// the turn and are valid until the next call of [Turn.Next].
type Bundle struct {
	Channel string            // empty: the bundle is for every connection
	Frames  []*protocol.Frame // one by one, for a backlog to refer to
	Bytes   []byte            // the frames joined, in their plain form
	TakenAt []int64           // Item.TakenAt of each publication among them
}

// Turn is one batch while a loop sends it. The turn groups the items by channel; the groups are in the order of their
// first items. Within a channel the order of the batch is kept; between channels no order is promised. An item for every
// connection is a group of its own: it is sent after all items before it, and before all items after it.
//
// The loop calls the methods in this order:
//
//  1. Load, with the items of a batch. From now on the turn refers to them: the batch must not change.
//  2. Next, which returns a bundle. The loop sends it to the channel's subscribers. That may take long, and connections
//     may subscribe and leave meanwhile: a Turn does not depend on the subscribers.
//  3. Next again, when the bundle is sent. This invalidates the slices of the bundle before.
//  4. When Next returns false, the turn no longer refers to the batch. Now [Batch.Reset] may be called, and then Load with
//     the next batch.
//
// To give up a turn half-way, call Reset; after it the same holds as after step 4.
//
// A Turn belongs to its loop and is not safe for concurrent use. Its memory is reused.
type Turn[C any] struct {
	ix     *Index[C]
	items  []Item
	next   []int32 // next[i] is the next item in the group of item i, -1 at the end
	groups []group
	stamp  uint32 // marks the channels that have a group since the last item for every connection

	at   int   // the group that Next continues with
	item int32 // its item that Next continues with; -1 at the start of a group

	// Of the bundle that Next returned last.
	frames  []*protocol.Frame
	takenAt []int64
	scratch []byte // the frames joined, if there are several
}

// group is the items of one channel, or one item for every connection.
type group struct {
	channel     string
	first, last int32
}

// NewTurn returns a Turn without a batch, for the loop that owns ix.
func NewTurn[C any](ix *Index[C]) *Turn[C] {
	return &Turn[C]{ix: ix, item: -1}
}

// Load begins a turn with the items of a batch (step 1). Items whose channel has no subscriber on this loop now are left
// out.
func (t *Turn[C]) Load(items []Item) {
	t.Reset()
	t.items = items
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

// newStamp makes a stamp that no channel has, so that the next item of each channel begins a new group.
func (t *Turn[C]) newStamp() {
	t.stamp++
	if t.stamp == 0 { // after 4 billion stamps; 0 is the stamp of a channel that never had a group
		t.stamp = 1
		for _, id := range t.ix.byName {
			t.ix.channels.At(id).stamp = 0
		}
	}
}

// Reset gives up the turn. The turn refers to nothing of the batch any more, so the frames can be freed.
func (t *Turn[C]) Reset() {
	t.forgetBundle()
	t.items, t.at, t.item = nil, 0, -1
	t.groups, t.next = emptied(t.groups), emptied(t.next)
}

func (t *Turn[C]) forgetBundle() {
	clear(t.frames)
	t.frames, t.takenAt = t.frames[:0], t.takenAt[:0]
}

// Next returns the next bundle (steps 2 and 3). ok is false when there is none; then the turn is reset (step 4).
func (t *Turn[C]) Next() (bundle Bundle, ok bool) {
	if t.at >= len(t.groups) {
		t.Reset()
		return Bundle{}, false
	}
	t.forgetBundle()
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

// join returns the frames as one slice: the bytes of a single frame, or a copy of several in the turn's scratch memory.
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
