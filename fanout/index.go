package fanout

import (
	"errors"
	"fmt"
	"iter"
)

// Index is one loop's table of channels and their subscribers. C is what the loop needs to write to a connection. It is
// copied into the lists, so that a walk reads no other memory.
//
// Not safe for concurrent use: it belongs to one loop.
type Index[C any] struct {
	byName   map[string]uint32
	channels Slab[channel[C]]
	subs     Slab[subscription]
	walk     walk
}

// channel is one channel with its subscribers. They are in the order in which they subscribed, until one leaves.
type channel[C any] struct {
	name    string
	members []Member[C]
	stamp   uint32 // Turn.stamp when the channel last got a group; 0: never
	group   int32  // that group's place in Turn.groups
}

// Member is one entry of a channel's list of subscribers.
type Member[C any] struct {
	Conn C
	sub  uint32
}

// subscription is one channel of one connection. A connection's subscriptions are a linked list.
type subscription struct {
	channel uint32
	pos     uint32 // Invariant: channels[channel].members[pos].sub is this subscription
	next    uint32 // the connection's next subscription, 0 at the end
}

// Subscriptions is the head of one connection's list of subscriptions. The zero value is an empty list. It belongs
// to the connection; only the Index changes it.
type Subscriptions struct{ first uint32 }

// Empty reports whether the connection has no subscription.
func (s Subscriptions) Empty() bool { return s.first == 0 }

// walk is the place of a walk over a channel's subscribers. An Index has at most one walk at a time.
type walk struct {
	channel  uint32 // 0: none
	cur, end int    // members [cur, end) are still to be visited
}

// NewIndex returns an empty Index.
func NewIndex[C any]() *Index[C] {
	return &Index[C]{byName: make(map[string]uint32)}
}

// Channels returns the number of channels with a subscriber.
func (ix *Index[C]) Channels() int { return len(ix.byName) }

// Subscriptions returns the number of (connection, channel) pairs.
func (ix *Index[C]) Subscriptions() int { return ix.subs.Live() }

// Subscribers returns how many subscribers the channel has.
func (ix *Index[C]) Subscribers(name string) int {
	if id := ix.byName[name]; id != 0 {
		return len(ix.channels.At(id).members)
	}
	return 0
}

// Subscribe adds c, whose list is subs, to the channel. kept is the channel's name as the Index keeps it: callers keep
// that string, not their own copy. added reports whether c was not subscribed before, first whether the channel had no
// subscriber.
func (ix *Index[C]) Subscribe(subs *Subscriptions, name string, c C) (kept string, added, first bool) {
	id, known := ix.byName[name]
	if known && ix.find(*subs, id) != 0 {
		return ix.channels.At(id).name, false, false
	}
	var ch *channel[C]
	if known {
		ch = ix.channels.At(id)
	} else {
		id, ch = ix.channels.Take()
		ch.name = name
		ix.byName[name] = id
	}
	subID, sub := ix.subs.Take()
	*sub = subscription{channel: id, pos: uint32(len(ch.members)), next: subs.first}
	subs.first = subID
	if ch.members == nil {
		ch.members = make([]Member[C], 0, 1) // most channels have one subscriber; append would start with room for more
	}
	ch.members = append(ch.members, Member[C]{c, subID})
	return ch.name, true, !known
}

// Unsubscribe removes the connection whose list is subs from the channel. removed reports whether it was subscribed, last
// whether it was the last subscriber.
func (ix *Index[C]) Unsubscribe(subs *Subscriptions, name string) (removed, last bool) {
	id, known := ix.byName[name]
	if !known {
		return false, false
	}
	for link := &subs.first; *link != 0; {
		subID := *link
		sub := ix.subs.At(subID)
		if sub.channel == id {
			*link = sub.next
			return true, ix.remove(subID)
		}
		link = &sub.next
	}
	return false, false
}

// Leave removes the connection whose list is subs from all its channels. gone is called with the name of each channel
// that has lost its last subscriber.
func (ix *Index[C]) Leave(subs *Subscriptions, gone func(name string)) {
	for subs.first != 0 {
		subID := subs.first
		sub := ix.subs.At(subID)
		subs.first = sub.next
		name := ix.channels.At(sub.channel).name
		if ix.remove(subID) {
			gone(name)
		}
	}
}

// Subscribed reports whether the connection whose list is subs is subscribed to the channel.
func (ix *Index[C]) Subscribed(subs Subscriptions, name string) bool {
	id := ix.byName[name]
	return id != 0 && ix.find(subs, id) != 0
}

// Each yields the name of each channel on the list, the newest first. The list must not change meanwhile.
func (ix *Index[C]) Each(subs Subscriptions) iter.Seq[string] {
	return func(yield func(string) bool) {
		for id := subs.first; id != 0; {
			sub := ix.subs.At(id)
			if !yield(ix.channels.At(sub.channel).name) {
				return
			}
			id = sub.next
		}
	}
}

// find returns the subscription to channel id on the list, or 0.
func (ix *Index[C]) find(subs Subscriptions, id uint32) uint32 {
	if members := ix.channels.At(id).members; len(members) == 1 {
		// One subscriber: compare its number, which saves reading the record that matches.
		only := members[0].sub
		for subID := subs.first; subID != 0; subID = ix.subs.At(subID).next {
			if subID == only {
				return only
			}
		}
		return 0
	}
	for subID := subs.first; subID != 0; {
		sub := ix.subs.At(subID)
		if sub.channel == id {
			return subID
		}
		subID = sub.next
	}
	return 0
}

// remove deletes a subscription that is no longer on its connection's list. It reports whether the channel is gone.
//
// The last member moves into the hole. A walk that is under way stays right: it visits each remaining member once. The
// members are those it has visited, [0, cur), those it will visit, [cur, end), and those that came later. So the hole
// moves through the parts: the last member of each part fills the hole in it.
func (ix *Index[C]) remove(subID uint32) (gone bool) {
	sub := ix.subs.At(subID)
	id, hole := sub.channel, int(sub.pos)
	ix.subs.Put(subID)
	ch := ix.channels.At(id)
	if w := &ix.walk; w.channel == id {
		if hole < w.cur {
			w.cur--
			hole = ix.move(ch, w.cur, hole)
		}
		if hole < w.end {
			w.end--
			hole = ix.move(ch, w.end, hole)
		}
	}
	last := len(ch.members) - 1
	ix.move(ch, last, hole)
	ch.members[last] = Member[C]{}
	ch.members = ch.members[:last]
	if last == 0 {
		delete(ix.byName, ch.name)
		ix.channels.Put(id)
		if ix.walk.channel == id {
			ix.walk = walk{}
		}
		return true
	}
	if c := cap(ch.members); c > 64 && last < c/4 {
		ch.members = append(make([]Member[C], 0, c/2), ch.members...)
	}
	return false
}

// move puts the member at from into the hole at to, and returns from, which is the hole now.
func (ix *Index[C]) move(ch *channel[C], from, to int) int {
	if from != to {
		ch.members[to] = ch.members[from]
		ix.subs.At(ch.members[to].sub).pos = uint32(to)
	}
	return from
}

// StartWalk begins a walk over the subscribers that the channel has now; those that come later are not visited. It
// reports whether there are any. It ends a walk that is under way.
func (ix *Index[C]) StartWalk(name string) bool {
	id := ix.byName[name]
	if id == 0 {
		ix.walk = walk{}
		return false
	}
	ix.walk = walk{channel: id, end: len(ix.channels.At(id).members)}
	return true
}

// WalkNext returns the next subscribers of the walk, at most n. An empty slice says that the walk has ended. The slice is
// the Index's own memory: it is valid until the Index changes. The Index may change between two calls: a subscriber that
// leaves is not visited any more.
func (ix *Index[C]) WalkNext(n int) []Member[C] {
	w := &ix.walk
	if w.channel == 0 {
		return nil
	}
	part := ix.channels.At(w.channel).members[w.cur:min(w.cur+n, w.end)]
	w.cur += len(part)
	if len(part) == 0 {
		ix.walk = walk{}
	}
	return part
}

var errInvariant = errors.New("index invariant broken")

// checkInvariants is called by tests.
func (ix *Index[C]) checkInvariants() error {
	if ix.channels.Live() != len(ix.byName) {
		return fmt.Errorf("%w: %d channels live, %d named", errInvariant, ix.channels.Live(), len(ix.byName))
	}
	members := 0
	for name, id := range ix.byName {
		ch := ix.channels.At(id)
		if ch.name != name || len(ch.members) == 0 {
			return fmt.Errorf("%w: channel %q is %q with %d members", errInvariant, name, ch.name, len(ch.members))
		}
		for pos, m := range ch.members {
			if sub := ix.subs.At(m.sub); sub.channel != id || int(sub.pos) != pos {
				return fmt.Errorf("%w: member %d of %q has subscription %+v", errInvariant, pos, name, *sub)
			}
		}
		members += len(ch.members)
	}
	if members != ix.subs.Live() {
		return fmt.Errorf("%w: %d members, %d subscriptions", errInvariant, members, ix.subs.Live())
	}
	if w := ix.walk; w.channel != 0 && (w.cur > w.end || w.end > len(ix.channels.At(w.channel).members)) {
		return fmt.Errorf("%w: walk %+v", errInvariant, w)
	}
	return nil
}
