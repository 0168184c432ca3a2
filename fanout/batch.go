package fanout

import "github.com/carillon-ws/carillon/protocol"

// Item is one frame for the subscribers of a channel on one loop. Without a Frame it says that the channel is settled
// (see [Interest]): the loop answers the clients that wait for it.
type Item struct {
	Channel string          // short form; empty: for every connection
	Frame   *protocol.Frame // shared with the other loops; nil: the channel is settled
	TakenAt int64           // when it was taken from the source, as [Monotonic] tells; 0 when that does not matter
}

// maxGapChannels bounds how many channels a full batch remembers by name. Beyond it the gap is told to everybody.
const maxGapChannels = 1024

// Batch is what one loop has to send, in order. It is bounded in bytes: what does not fit is dropped whole, counted,
// and told to the subscribers as a gap. Guarded by the lock of the mailbox it lies in.
type Batch struct {
	Items   []Item
	Settled []string // channels that have been settled: to be dealt with before Items, whose first may be for them
	bytes   int

	dropped    map[string]uint64 // publications dropped, by channel
	droppedAll bool              // more channels than are remembered
}

// Add appends item, or drops it when the batch would hold more than limit bytes. A batch takes at least one item,
// whatever its size.
//
// An item without a Frame goes to Settled. It is never dropped: there is at most one for each channel that the loop has
// added to the interest.
func (b *Batch) Add(item Item, limit int) (added bool) {
	if item.Frame == nil {
		b.Settled = append(b.Settled, item.Channel)
		return true
	}
	if n := item.Frame.Len(); b.bytes > 0 && b.bytes+n > limit {
		b.drop(item.Channel)
		return false
	}
	b.bytes += item.Frame.Len()
	b.Items = append(b.Items, item)
	return true
}

func (b *Batch) drop(channel string) {
	if b.dropped == nil {
		b.dropped = make(map[string]uint64)
	}
	if _, known := b.dropped[channel]; !known && len(b.dropped) >= maxGapChannels {
		b.droppedAll = true
		return
	}
	b.dropped[channel]++
}

// Bytes is the size of the frames in the batch.
func (b *Batch) Bytes() int { return b.bytes }

// Empty reports whether there is nothing to send and nothing to tell.
func (b *Batch) Empty() bool { return len(b.Items) == 0 && len(b.Settled) == 0 && b.dropped == nil }

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
	*b = Batch{Items: emptied(b.Items), Settled: emptied(b.Settled)}
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
