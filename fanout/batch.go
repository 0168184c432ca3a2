package fanout

import "github.com/carillon-ws/carillon/protocol"

// Item is one frame for the subscribers of a channel on one loop.
type Item struct {
	Channel string          // short form; empty: for every connection
	Frame   *protocol.Frame // shared with the other loops
	TakenAt int64           // when it was taken from the source, as [Monotonic] tells; 0 when that does not matter
}

// maxGapChannels bounds how many channels a full batch remembers by name. Beyond it the gap is told to everybody.
const maxGapChannels = 1024

// Batch is what one loop has to send, in order. It is bounded in bytes: what does not fit is dropped whole, counted,
// and told to the subscribers as a gap. Guarded by the lock of the mailbox it lies in.
type Batch struct {
	Items []Item
	bytes int

	dropped    map[string]uint64 // publications dropped, by channel
	droppedAll bool              // more channels than are remembered
}

// Add appends item, or drops it when the batch would hold more than limit bytes. A batch takes at least one item,
// whatever its size.
func (b *Batch) Add(item Item, limit int) (added bool) {
	if n := item.Frame.Len(); b.bytes > 0 && b.bytes+n > limit {
		b.drop(item.Channel, 1)
		return false
	}
	b.bytes += item.Frame.Len()
	b.Items = append(b.Items, item)
	return true
}

func (b *Batch) drop(channel string, n uint64) {
	if b.dropped == nil {
		b.dropped = make(map[string]uint64)
	}
	if _, known := b.dropped[channel]; !known && len(b.dropped) >= maxGapChannels {
		b.droppedAll = true
		return
	}
	b.dropped[channel] += n
}

// Lose notes that an item did not reach all of its subscribers: a gap will tell them. What is no publication counts as
// none dropped.
func (b *Batch) Lose(item Item) {
	n := uint64(0)
	if item.TakenAt != 0 {
		n = 1
	}
	b.drop(item.Channel, n)
}

// Bytes is the size of the frames in the batch.
func (b *Batch) Bytes() int { return b.bytes }

// Empty reports whether there is nothing to send and nothing to tell.
func (b *Batch) Empty() bool { return len(b.Items) == 0 && b.dropped == nil }

// TellGaps appends a gap message for each channel that lost a publication, behind what was kept. now is in Unix
// milliseconds.
func (b *Batch) TellGaps(now int64) {
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

// keepList is the longest list, in elements, whose memory a batch or a turn keeps for the next one. What a burst made
// longer is given back.
const keepList = 4096

// Reset empties the batch and keeps the memory of its list, unless a burst made that large.
func (b *Batch) Reset() {
	*b = Batch{Items: emptied(b.Items)}
}

// emptied is the list without its elements, for the next ones. Nothing that they referred to is kept alive, not even by
// somebody who still holds the list.
func emptied[T any](list []T) []T {
	clear(list)
	if cap(list) > keepList {
		return nil
	}
	return list[:0]
}
