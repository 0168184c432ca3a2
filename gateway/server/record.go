package server

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"

	"github.com/fxamacker/cbor/v2"
	"github.com/panjf2000/gnet/v2"

	"github.com/carillon-ws/carillon/gateway/identity"
	"github.com/carillon-ws/carillon/protocol"
	"github.com/carillon-ws/carillon/protocol/http1"
	"github.com/carillon-ws/carillon/protocol/websocket"
)

// A connection can be written down, in whatever state it is, and taken up again by another loop or by another process:
// everything but its socket. Times are seconds of the wall clock (clock.go), and the key is good for whoever has the
// process' clientIDs. Fields have numbers, so that a newer version may add some.

// connRecords are connections of one loop, written down together. A frame that several backlogs share is there once.
type connRecords struct {
	Frames []frameRecord `cbor:"1,keyasint,omitempty"`
	Conns  []connRecord  `cbor:"2,keyasint,omitempty"`

	numbers map[*held]int // of the frames that are in Frames
	held    []*held       // by number: what was taken up of Frames
}

// frameRecord is a frame that waits in backlogs.
type frameRecord struct {
	Bytes   []byte `cbor:"1,keyasint"`
	Channel string `cbor:"2,keyasint,omitempty"`
	Born    int64  `cbor:"3,keyasint"` // when it first had to wait, in Unix nanoseconds
}

// connRecord is one connection.
type connRecord struct {
	Key       uint64          `cbor:"1,keyasint"`
	State     connState       `cbor:"2,keyasint"`
	Flags     connFlags       `cbor:"3,keyasint,omitempty"`
	Dialect   uint8           `cbor:"4,keyasint,omitempty"`
	LastSeen  uint32          `cbor:"5,keyasint"`
	Accepted  uint32          `cbor:"6,keyasint"`
	BurstUsed uint16          `cbor:"7,keyasint,omitempty"`
	Heartbeat uint8           `cbor:"8,keyasint,omitempty"`
	Identity  *identity.State `cbor:"9,keyasint,omitempty"`
	Address   []byte          `cbor:"10,keyasint,omitempty"` // that it counts for, as netip.Addr.MarshalBinary has it
	Channels  []string        `cbor:"11,keyasint,omitempty"` // the first that it subscribed to first

	Head            []byte                 `cbor:"12,keyasint,omitempty"` // opening: what has come of the request head
	Via             []byte                 `cbor:"13,keyasint,omitempty"` // opening: the proxy that the PROXY protocol header names
	Refusal         *http1.Refusal         `cbor:"14,keyasint,omitempty"` // opening: what the request will be answered
	Reader          *websocket.ReaderState `cbor:"15,keyasint,omitempty"`
	UnfinishedSince uint32                 `cbor:"16,keyasint,omitempty"`
	Backlog         *backlogRecord         `cbor:"17,keyasint,omitempty"`
	Discarded       int                    `cbor:"18,keyasint,omitempty"`
	Waiting         []waitRecord           `cbor:"19,keyasint,omitempty"` // subscriptions that are not confirmed yet
}

// backlogRecord is what a socket has not taken yet.
type backlogRecord struct {
	Frames []int        `cbor:"1,keyasint,omitempty"` // by their numbers in connRecords
	Off    int          `cbor:"2,keyasint,omitempty"`
	Lost   []lostRecord `cbor:"3,keyasint,omitempty"`
	Moved  uint32       `cbor:"4,keyasint"`
}

type waitRecord struct {
	Channel string `cbor:"1,keyasint"`
	ID      []byte `cbor:"2,keyasint,omitempty"`
}

type lostRecord struct {
	Channel string `cbor:"1,keyasint"`
	N       uint64 `cbor:"2,keyasint"`
}

// recordedFlags are those that mean something elsewhere.
const recordedFlags = flagPinged | flagProxied | flagRefused | flagAsked

// errRecord is what a record that no gateway can have written is refused with.
var errRecord = errors.New("not a connection's record")

// encode returns the records as bytes.
func (rs *connRecords) encode() ([]byte, error) { return cbor.Marshal(rs) }

// recordDecoder takes as many elements as there are: a loop may have a million connections, and by default lists end at
// 131,072. Memory is bounded by the text, of which every element needs a byte.
var recordDecoder = func() cbor.DecMode {
	mode, err := cbor.DecOptions{MaxArrayElements: math.MaxInt32}.DecMode()
	if err != nil {
		panic(err) // the options are constant
	}
	return mode
}()

// decodeRecords reads what encode wrote.
func decodeRecords(text []byte) (*connRecords, error) {
	rs := new(connRecords)
	if err := recordDecoder.Unmarshal(text, rs); err != nil {
		return nil, fmt.Errorf("%w: %w", errRecord, err)
	}
	rs.held = make([]*held, len(rs.Frames))
	return rs, nil
}

// add writes a connection down; the connection stays as it is. No turn may be under way if it is to be taken up elsewhere:
// there it enters its channels anew, and would miss what the turn has still to send. It reports false for one that is to be ended: that comes
// first.
func (lp *loop) add(rs *connRecords, c *conn) bool {
	lp.owner.mustOwn()
	if c.state == stateFree || c.state == stateDead || c.flags&flagEnding != 0 {
		return false
	}
	r := connRecord{
		Key: c.key, State: c.state, Flags: c.flags & recordedFlags, Dialect: c.dialectNumber,
		LastSeen: c.lastSeen, Accepted: c.accepted, BurstUsed: c.burstUsed, Heartbeat: c.heartbeat, Identity: c.identity.State(),
		Channels: slices.Collect(lp.index.Each(c.subs)),
	}
	slices.Reverse(r.Channels) // Each gives the latest first
	if c.address != nil {
		r.Address = addrBytes(c.address.addr)
	}
	if e := c.ext; e != nil {
		r.Head, r.Via, r.Refusal = slices.Clone(e.head), addrBytes(e.via), e.refusal
		r.Reader, r.UnfinishedSince, r.Discarded = e.reader.State(), e.unfinishedSince, e.discarded
		if !e.backlog.empty() {
			r.Backlog = rs.backlog(&e.backlog)
		}
		for _, w := range e.waiting {
			r.Waiting = append(r.Waiting, waitRecord{w.channel, w.id})
		}
	}
	rs.Conns = append(rs.Conns, r)
	return true
}

func (rs *connRecords) backlog(b *backlog) *backlogRecord {
	r := &backlogRecord{Off: b.off, Moved: b.moved}
	for _, l := range b.lost {
		r.Lost = append(r.Lost, lostRecord{l.channel, l.n})
	}
	for _, h := range b.frames {
		number, known := rs.numbers[h]
		if !known {
			if rs.numbers == nil {
				rs.numbers = make(map[*held]int)
			}
			number = len(rs.Frames)
			rs.numbers[h] = number
			rs.Frames = append(rs.Frames, frameRecord{h.Bytes(), h.Channel(), unixNano(h.born)})
		}
		r.Frames = append(r.Frames, number)
	}
	return r
}

// takeUp makes a connection of a record and of the socket that it belongs to, which gnet has opened. Its timers run from
// the times that were written down. The error tells why the record is refused; then the socket is the caller's.
func (lp *loop) takeUp(rs *connRecords, r *connRecord, gc gnet.Conn) (*conn, error) {
	lp.owner.mustOwn()
	who, err := r.Identity.Identity()
	reader, ok := websocket.ReaderOf(r.Reader)
	address, viaErr := addrOf(r.Address)
	via, addrErr := addrOf(r.Via)
	switch err := errors.Join(err, viaErr, addrErr); {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errRecord, err)
	case !ok || !r.sound() || !rs.holds(r.Backlog):
		return nil, errRecord
	case r.Reader != nil && r.Reader.Deflated && !dialects[r.Dialect].AcceptsDeflated():
		return nil, errRecord
	case r.State == stateOpen && who == nil && lp.cfg.Verifier != nil:
		return nil, fmt.Errorf("%w: tokens are asked for, and it has none", errRecord)
	}
	c := lp.conns.take()
	c.gc, c.fd, c.key = gc, int32(gc.Fd()), r.Key
	c.state, c.flags, c.dialectNumber, c.identity = r.State, r.Flags&recordedFlags, r.Dialect, who
	now := lp.now()
	c.lastSeen, c.accepted = min(r.LastSeen, now), min(r.Accepted, now) // the clock of the process that wrote it may have been ahead
	c.burstUsed, c.heartbeat = r.BurstUsed, r.Heartbeat
	gc.SetContext(c)
	lp.n.sockets.Add(1)
	lp.srv.sockets.Add(1)
	if c.flags&flagRefused != 0 {
		lp.srv.refused.Add(1)
	}
	if address.IsValid() {
		c.address = lp.srv.addresses.takeOver(address)
	}
	if r.Head != nil || via.IsValid() || r.Refusal != nil || reader.Mid() || r.Backlog != nil || r.State == stateClosing {
		c.ext = &connExt{
			head: r.Head, via: via, refusal: knownRefusal(r.Refusal), reader: reader, unfinishedSince: min(r.UnfinishedSince, now), discarded: r.Discarded,
		}
	}
	if c.state == stateOpen {
		lp.n.connections.Add(1)
		lp.startForm(c)
		for _, channel := range r.Channels {
			if kept, added, first := lp.index.Subscribe(&c.subs, channel, member{c.fd, c.slot}); added {
				c.count++
				if first {
					lp.cfg.Interest.Add(kept, lp.id)
				}
			}
		}
	}
	if r.Backlog != nil {
		lp.takeUpBacklog(rs, r.Backlog, c)
	}
	for _, w := range r.Waiting {
		lp.hear(c, w.ID, w.Channel)
	}
	lp.countUnfinished(c, false)
	lp.wheel.schedule(&lp.conns, c, now+1) // what is due is worked out then
	return c, nil
}

// sound reports whether the fields of a record fit together: whether a connection can have been so.
func (r *connRecord) sound() bool {
	if r.Key == 0 || r.Key >= mostKeys || int(r.Dialect) >= len(dialects) || len(r.Channels) > MostChannels {
		return false
	}
	for _, channel := range r.Channels {
		if protocol.CheckName(channel) != nil {
			return false
		}
	}
	channels := make(map[string]struct{}) // that it waits for
	for _, w := range r.Waiting {
		if protocol.CheckName(w.Channel) != nil {
			return false
		}
		channels[w.Channel] = struct{}{}
	}
	if len(r.Channels)+len(channels) > MostChannels {
		return false
	}
	request := r.Head != nil || r.Via != nil
	switch r.State {
	case stateOpening:
		return r.Channels == nil && r.Waiting == nil && r.Reader == nil && r.Backlog == nil
	case stateOpen:
		return !request && r.Refusal == nil && r.Flags&(flagRefused|flagProxied) == 0
	case stateClosing:
		return r.Channels == nil && r.Waiting == nil && r.Reader == nil && r.Head == nil
	default:
		return false
	}
}

// holds reports whether a backlog is one, and its frames are there.
func (rs *connRecords) holds(b *backlogRecord) bool {
	if b == nil {
		return true
	}
	if len(b.Frames)+len(b.Lost) == 0 {
		return false
	}
	for _, number := range b.Frames {
		if number < 0 || number >= len(rs.Frames) || len(rs.Frames[number].Bytes) == 0 {
			return false
		}
	}
	return b.Off >= 0 && (b.Off == 0 || len(b.Frames) > 0 && b.Off < len(rs.Frames[b.Frames[0]].Bytes))
}

// takeUpBacklog gives a connection the backlog that it had. Nothing of it is dropped here: limits are for what comes.
func (lp *loop) takeUpBacklog(rs *connRecords, r *backlogRecord, c *conn) {
	lp.owner.mustOwn()
	for i, number := range r.Frames {
		h := rs.held[number]
		if h == nil {
			f := rs.Frames[number]
			h = &held{Frame: protocol.FrameOf(f.Bytes, f.Channel)}
			rs.held[number] = h
		}
		off := 0
		if i == 0 {
			off = r.Off
			lp.startBacklog(c)
		}
		lp.account(c.ext.backlog.push(h, off))
		h.born = monotonic(rs.Frames[number].Born)
	}
	b := &c.ext.backlog
	if len(r.Frames) == 0 {
		lp.startBacklog(c)
	}
	for _, l := range r.Lost {
		b.lost = append(b.lost, lost{l.Channel, l.N})
	}
	b.moved = min(r.Moved, lp.now())
	lp.rank(c)
}

// knownRefusal is the refusal of our own list that r is like, so that it can be compared; or r.
func knownRefusal(r *http1.Refusal) *http1.Refusal {
	if r != nil && *r == *http1.RefuseAddress {
		return http1.RefuseAddress
	}
	return r
}

func addrBytes(addr netip.Addr) []byte {
	if !addr.IsValid() {
		return nil
	}
	return addr.AsSlice()
}

func addrOf(text []byte) (netip.Addr, error) {
	if len(text) == 0 {
		return netip.Addr{}, nil
	}
	addr, ok := netip.AddrFromSlice(text)
	if !ok {
		return netip.Addr{}, fmt.Errorf("an address of %d bytes", len(text))
	}
	return addr, nil
}
