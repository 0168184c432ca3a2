package fanout

import "github.com/carillon-ws/carillon/protocol"

// Item is one frame for the subscribers of a channel on one loop. An item without a frame says that the channel is settled
// (see [Interest]): the loop answers the clients that wait for it.
type Item struct {
	Channel string          // short form; empty: the frame is for every connection
	Frame   *protocol.Frame // shared with the other loops; nil: the channel is settled
	TakenAt int64           // when the publication was taken from the source, as [Monotonic] returns it; 0: not a publication
}

// maxGapChannels bounds how many channels a full batch remembers by name. If more channels lose something, every
// connection gets a gap.
const maxGapChannels = 1024

// Batch is what one loop has to send, in order. It is bounded in bytes: an item that does not fit is dropped whole, and
// the channel's subscribers get a gap message. It is guarded by the lock of the mailbox that it is in.
type Batch struct {
	Items   []Item
	Settled []string // channels that have been settled; the loop handles them before Items
	bytes   int

	dropped    map[string]uint64 // dropped publications, by channel
	droppedAll bool              // more than maxGapChannels channels lost something
}

// Add appends item, or drops it if the batch would hold more than limit bytes. An empty batch takes an item of any size.
// An item without a frame goes to Settled. It is never dropped: there is at most one for each channel that the loop has
// added to the interest.
func (b *Batch) Add(item Item, limit int) (added bool) {
	if item.Frame == nil {
		b.Settled = append(b.Settled, item.Channel)
		return true
	}
	if n := item.Frame.Len(); b.bytes > 0 && b.bytes+n > limit {
		b.Lose(item)
		return false
	}
	b.bytes += item.Frame.Len()
	b.Items = append(b.Items, item)
	return true
}

// Lose notes that an item did not reach all of its subscribers, so that AppendGaps makes a gap message for them. The gap
// counts publications only: another message that is lost adds nothing to the count.
func (b *Batch) Lose(item Item) {
	if b.dropped == nil {
		b.dropped = make(map[string]uint64)
	}
	n, known := b.dropped[item.Channel]
	if !known && len(b.dropped) >= maxGapChannels {
		b.droppedAll = true
		return
	}
	if item.TakenAt != 0 {
		n++
	}
	b.dropped[item.Channel] = n
}

// Bytes is the size of the frames that Add has appended.
func (b *Batch) Bytes() int { return b.bytes }

// Empty reports whether there is nothing to do: no item, no settled channel, and no gap message.
func (b *Batch) Empty() bool { return len(b.Items) == 0 && len(b.Settled) == 0 && b.dropped == nil }

// AppendGaps appends a gap message for each channel that lost something. They come after all items that were kept. now is
// in Unix milliseconds.
func (b *Batch) AppendGaps(now int64) {
	if b.dropped == nil {
		return
	}
	if b.droppedAll {
		b.dropped = map[string]uint64{"": 0}
	}
	for channel, n := range b.dropped {
		b.Items = append(b.Items, Item{Channel: channel, Frame: protocol.NewFrame(&protocol.Message{
			Type: protocol.MessageGap, Channel: channel, Reason: protocol.GapOverload, Dropped: n, Timestamp: now,
		})})
	}
	b.dropped, b.droppedAll = nil, false
}

// keepList is the longest list, in elements, whose memory a batch or a turn keeps for the next one. The memory of a longer
// list, which only a burst makes, is freed.
const keepList = 4096

// Reset empties the batch. It keeps the memory of its lists, unless a list is longer than keepList.
func (b *Batch) Reset() {
	*b = Batch{Items: emptied(b.Items), Settled: emptied(b.Settled)}
}

// emptied returns the list without its elements, for new ones. The old elements are cleared, so that the list keeps
// nothing alive, even if another variable still holds it.
func emptied[T any](list []T) []T {
	clear(list)
	if cap(list) > keepList {
		return nil
	}
	return list[:0]
}
