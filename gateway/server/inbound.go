package server

import (
	"container/heap"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carillon-ws/carillon/protocol"
)

const (
	// unfinishedCost is added to the bytes of what is unfinished: the records around them (connExt, unfinished, the
	// reader's, and a part of the holder's) are held with the first byte.
	unfinishedCost = 448
	// shedStep is how many unfinished messages are given up in one step. What is left is done behind the sockets.
	shedStep = 64

	inboundRetryLeast = time.Second
	inboundRetryMost  = 5 * time.Second
)

// inbound bounds what unfinished messages and request heads hold, in the whole process. Over the bound, the address that
// holds most gives up its oldest one. So whoever holds little loses nothing because of somebody who holds much.
//
// Only connections with something unfinished are here. Safe for concurrent use: the lock is held for a look-up in a map
// and a few steps in a heap, when something becomes unfinished, when its buffer grows, and when it ends.
type inbound struct {
	limit int64

	held    atomic.Int64 // all bytes, those that were given up and are not freed yet included
	counted atomic.Int64 // bytes of what is not given up; written with mu held

	mu      sync.Mutex
	holders map[netip.Addr]*holder // Guarded by mu.
	largest holderHeap             // Guarded by mu. The same; who holds most is first.
}

// holder is an address with something unfinished. Guarded by inbound.mu.
type holder struct {
	addr           netip.Addr
	bytes          int64
	at             int // where it is in the heap
	oldest, newest *unfinished
}

// unfinished is a message or a request head of which a part has arrived.
type unfinished struct {
	lp    *loop
	ref   connRef
	bytes int64 // Owned by the loop.

	holder     *holder // Guarded by inbound.mu. nil: given up, its loop was told to close the connection.
	prev, next *unfinished
}

// begin counts something that has become unfinished. end must follow.
func (in *inbound) begin(lp *loop, c *conn, addr netip.Addr, bytes int64) *unfinished {
	u := &unfinished{lp: lp, ref: c.ref()}
	in.mu.Lock()
	defer in.mu.Unlock()
	h := in.holders[addr]
	if h == nil {
		if in.holders == nil {
			in.holders = make(map[netip.Addr]*holder)
		}
		h = &holder{addr: addr}
		in.holders[addr] = h
		heap.Push(&in.largest, h)
	}
	u.holder, u.prev = h, h.newest
	if h.newest != nil {
		h.newest.next = u
	} else {
		h.oldest = u
	}
	h.newest = u
	in.addLocked(u, bytes)
	return u
}

// resize notes that u holds another number of bytes now.
func (in *inbound) resize(u *unfinished, bytes int64) {
	if bytes == u.bytes {
		return
	}
	in.mu.Lock()
	in.addLocked(u, bytes-u.bytes)
	in.mu.Unlock()
}

// end notes that u is finished, or that its connection ends.
func (in *inbound) end(u *unfinished) {
	in.mu.Lock()
	in.held.Add(-u.bytes)
	if u.holder != nil {
		in.giveUpLocked(u)
	}
	in.mu.Unlock()
}

func (in *inbound) addLocked(u *unfinished, bytes int64) {
	u.bytes += bytes
	in.held.Add(bytes)
	if h := u.holder; h != nil {
		h.bytes += bytes
		in.counted.Add(bytes)
		heap.Fix(&in.largest, h.at)
	}
}

// giveUpLocked takes u out of its holder. Its bytes are held until its connection has let go of them.
func (in *inbound) giveUpLocked(u *unfinished) {
	h := u.holder
	if u.prev != nil {
		u.prev.next = u.next
	} else {
		h.oldest = u.next
	}
	if u.next != nil {
		u.next.prev = u.prev
	} else {
		h.newest = u.prev
	}
	u.holder, u.prev, u.next = nil, nil, nil
	h.bytes -= u.bytes
	in.counted.Add(-u.bytes)
	if h.oldest == nil {
		heap.Remove(&in.largest, h.at)
		delete(in.holders, h.addr)
		return
	}
	heap.Fix(&in.largest, h.at)
}

func (in *inbound) over() bool { return in.counted.Load() > in.limit }

// shed gives up what is over the bound, shedStep at most. The caller has those connections closed.
func (in *inbound) shed() (victims []*unfinished) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for in.over() && len(victims) < shedStep && len(in.largest) > 0 {
		u := in.largest[0].oldest
		in.giveUpLocked(u)
		victims = append(victims, u)
	}
	return victims
}

// holderHeap implements [heap.Interface].
type holderHeap []*holder

func (h holderHeap) Len() int           { return len(h) }
func (h holderHeap) Less(i, j int) bool { return h[i].bytes > h[j].bytes }

func (h holderHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

func (h *holderHeap) Push(x any) {
	x.(*holder).at = len(*h)
	*h = append(*h, x.(*holder))
}

func (h *holderHeap) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return x
}

// countUnfinished counts what a connection has unfinished now, and acts if all connections hold too much. another: a
// message has ended since it was counted last, and what is unfinished now is a new one.
func (lp *loop) countUnfinished(c *conn, another bool) {
	lp.owner.mustOwn()
	e := c.ext
	if e == nil {
		return
	}
	in := &lp.srv.inbound
	bytes := int64(0)
	switch {
	case e.head != nil:
		bytes = int64(cap(e.head)) + unfinishedCost
	case e.reader.Mid():
		bytes = int64(e.reader.Kept()) + unfinishedCost
	}
	if e.held != nil && (bytes == 0 || another) {
		in.end(e.held)
		e.held = nil
	}
	switch {
	case bytes == 0:
		return
	case e.held == nil:
		e.held = in.begin(lp, c, lp.clientAddr(c), bytes)
	default:
		in.resize(e.held, bytes)
	}
	if in.over() {
		lp.shedInbound()
	}
}

// shedInbound has connections closed whose unfinished message is over the bound, on whichever loop they are.
func (lp *loop) shedInbound() {
	for _, u := range lp.srv.inbound.shed() {
		if u.lp == lp {
			lp.closeUnfinished(u)
			continue
		}
		u.lp.call(func() { u.lp.closeUnfinished(u) }) // a loop that is not running has no connections
	}
	if lp.srv.inbound.over() {
		lp.call(lp.shedInbound)
	}
}

// closeUnfinished closes the connection of u, unless u was finished meanwhile.
func (lp *loop) closeUnfinished(u *unfinished) {
	lp.owner.mustOwn()
	if c := lp.connOf(u.ref); c != nil && c.ext != nil && c.ext.held == u {
		lp.end(c, protocol.InboundFullAfter((inboundRetryLeast + rand.N(inboundRetryMost-inboundRetryLeast)).Milliseconds()))
	}
}

// clientAddr is the address that a connection counts for, as far as it is known by now.
func (lp *loop) clientAddr(c *conn) netip.Addr {
	switch {
	case c.address != nil:
		return c.address.addr
	case c.ext != nil && c.ext.via.IsValid():
		return subscriberOf(c.ext.via)
	default:
		return subscriberOf(peerAddr(c.gc))
	}
}
