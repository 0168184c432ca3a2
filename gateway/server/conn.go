package server

import (
	"net/netip"
	"sync/atomic"

	"github.com/panjf2000/gnet/v2"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/gateway/identity"
	"github.com/carillon-ws/carillon/protocol/http1"
	"github.com/carillon-ws/carillon/protocol/websocket"
)

// connState is where a connection is in its life. It only goes forward.
type connState uint8

const (
	stateFree    connState = iota // the record is not in use
	stateOpening                  // waiting for a whole request head
	stateOpen                     // upgraded
	stateClosing                  // the last bytes are on their way; input is thrown away
	stateDead                     // to be closed as soon as no callback of gnet is using it
)

// conn is the state of one connection: small, plain, in one place, and nothing in it could not be handed to another
// process. Records lie in chunks that never move; gnet's connection points to its record.
type conn struct {
	// Fixed at creation.
	gc   gnet.Conn
	fd   int32
	slot uint32 // which record of the loop this is
	key  uint64 // distinguishes it from every other connection of the process; the clientId is made of it

	// Owned by the loop.
	ext           *connExt           // what few connections need; nil for an idle one
	identity      *identity.Identity // of the client; only a label if no tokens are asked for; nil if it gave none
	address       *address           // whose connections it is counted among; nil without a limit and without trusted proxies
	subs          fanout.Subscriptions
	count         uint16 // channels subscribed to
	burstUsed     uint16 // messages that are counted against the burst, as of second lastSeen
	state         connState
	flags         connFlags
	dialectNumber uint8  // open: its dialect, as dialects counts them
	heartbeat     uint8  // which message heartbeat was the last, modulo 256
	lastSeen      uint32 // opening: second of the accept; open: of the last sign of life; closing: of its start
	accepted      uint32 // second of the accept
	next          uint32 // timing wheel: the list of its slot, by record; 0 is none
	prev          uint32
	due           uint32 // second at which the wheel looks at it; 0: it is not on the wheel
}

type connFlags uint8

const (
	flagPinged  connFlags = 1 << iota // a ping was sent after lastSeen
	flagWatched                       // the watcher knows its socket
	flagEnding                        // on the list of those to be ended
	flagProxied                       // opening: a PROXY protocol header must come first
	flagRefused                       // opening, closing: it counts in Server.refused
	flagAsked                         // opening: it has sent something, or had its time to
)

// connRef names a connection. Its record may be another's by the time that it is looked up.
type connRef struct {
	slot uint32
	key  uint64
}

func (c *conn) ref() connRef { return connRef{c.slot, c.key} }

// connOf returns the connection that ref names, or nil if it is gone.
func (lp *loop) connOf(ref connRef) *conn {
	if ref.slot > lp.conns.used { // of another engine
		return nil
	}
	if c := lp.conns.at(ref.slot); c.key == ref.key && c.state != stateFree {
		return c
	}
	return nil
}

// keys numbers connections; shared by all loops. Zero is never used.
var keys atomic.Uint64

// connExt is what a connection needs while something is unfinished.
type connExt struct {
	head            []byte         // opening: the request head so far
	via             netip.Addr     // opening: the proxy that the PROXY protocol header names
	refusal         *http1.Refusal // opening: what the request will be answered, whatever it says
	reader          websocket.Reader
	unfinishedSince uint32      // second at which the unfinished message began
	held            *unfinished // what in or reader hold, as Server.inbound counts it
	backlog         backlog
	waiting         []*waiter // open: subscriptions that are not confirmed yet
	discarded       int       // closing: bytes thrown away
}

// member is how a connection appears in the index: enough to write to it without touching its record.
type member struct {
	fd   int32
	slot uint32
}

// extension returns the connection's extension, making it if need be.
func (c *conn) extension() *connExt {
	if c.ext == nil {
		c.ext = &connExt{}
	}
	return c.ext
}

// dropExt frees the extension if no field of it is used.
func (c *conn) dropExt() {
	if e := c.ext; e != nil && e.head == nil && !e.reader.Mid() && e.backlog.empty() && len(e.waiting) == 0 && c.state != stateClosing {
		c.ext = nil
	}
}

// arena holds a loop's connections. Slot 0 is never given out: it means none.
type arena struct {
	records fanout.Slab[conn]
	used    uint32 // the highest slot given out so far; up to it there is a record for each
}

func (a *arena) at(slot uint32) *conn { return a.records.At(slot) }

// take returns a free record, its slot set.
func (a *arena) take() *conn {
	slot, c := a.records.Take()
	a.used = max(a.used, slot)
	c.slot = slot
	return c
}

func (a *arena) put(c *conn) { a.records.Put(c.slot) }

// bitset marks slots. It is read on the way of every delivery instead of the records themselves.
type bitset []uint64

func (b bitset) has(slot uint32) bool {
	word := slot >> 6
	return int(word) < len(b) && b[word]&(1<<(slot&63)) != 0
}

func (b *bitset) set(slot uint32) {
	for int(slot>>6) >= len(*b) {
		*b = append(*b, 0)
	}
	(*b)[slot>>6] |= 1 << (slot & 63)
}

func (b bitset) clear(slot uint32) {
	if word := slot >> 6; int(word) < len(b) {
		b[word] &^= 1 << (slot & 63)
	}
}
