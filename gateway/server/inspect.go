package server

import (
	"context"
	"sync/atomic"
)

// Bounds of an inspection.
const (
	MaxConnectionList = 1000 // connections told at most
	maxChannelList    = 20   // channels told of each
)

// ConnectionQuery says which connections are to be told of; empty fields match any.
type ConnectionQuery struct {
	User       string
	Channel    string // in its short form
	Limit      int    // at most this many, and MaxConnectionList; at least 1
	Backlogged bool   // only those with a backlog: the slow consumers of now or soon
}

// ConnectionList is what was found.
type ConnectionList struct {
	Matched     int64            `json:"matched"` // those beyond the limit included
	Connections []ConnectionInfo `json:"connections"`
}

// ConnectionInfo tells of one connection.
type ConnectionInfo struct {
	Client       string   `json:"client"` // its clientId
	User         string   `json:"user"`   // or its label where nobody is asked for a token; empty: none
	Loop         int      `json:"loop"`
	State        string   `json:"state"`    // opening, open or closing
	Channels     []string `json:"channels"` // the newest, maxChannelList at most
	ChannelCount int      `json:"channelCount"`
	Age          uint32   `json:"ageSeconds"`   // whole seconds since its socket was accepted
	Idle         uint32   `json:"idleSeconds"`  // whole seconds since its last sign of life: a byte of it, or the end of its backlog
	Backlog      int      `json:"backlogBytes"` // that wait for it
	Stuck        uint32   `json:"stuckSeconds"` // whole seconds since it took a byte of its backlog; 0 without one
}

// Connections tells of connections, each loop's in the order of its records. Must not run on the loop: it waits for
// all loops. The error is ctx's.
func (s *Server) Connections(ctx context.Context, q ConnectionQuery) (ConnectionList, error) {
	q.Limit = min(max(q.Limit, 1), MaxConnectionList)
	var left, matched atomic.Int64
	left.Store(int64(q.Limit))
	parts := make(chan []ConnectionInfo, len(s.loops))
	asked := 0
	for _, lp := range s.loops {
		scan := &scan{ctx: ctx, q: q, left: &left, matched: &matched, done: parts}
		if lp.callOr(func() { lp.scan(scan) }, func() { parts <- nil }) {
			asked++
		}
	}
	list := ConnectionList{Connections: []ConnectionInfo{}}
	for range asked {
		select {
		case part := <-parts:
			list.Connections = append(list.Connections, part...)
		case <-ctx.Done():
			return ConnectionList{}, ctx.Err()
		}
	}
	list.Matched = matched.Load()
	return list, nil
}

// scan is one loop's part of an inspection.
type scan struct {
	ctx           context.Context //nolint:containedctx // of whoever waits for the answer
	q             ConnectionQuery
	left, matched *atomic.Int64 // of all loops
	found         []ConnectionInfo
	done          chan<- []ConnectionInfo
}

// scan begins a sweep that looks at the connections.
func (lp *loop) scan(sc *scan) {
	sw := &sweep{done: func() { sc.done <- sc.found }}
	sw.visit = func(c *conn) int {
		sw.park = sc.ctx.Err() != nil // nobody waits for the answer any more
		return lp.look(sc, c)
	}
	lp.startSweep(sw)
}

// look adds a connection to what was found, if it matches. It returns how much work that was: the channels of a
// connection are a list, and to look for one in it is to read it.
func (lp *loop) look(sc *scan, c *conn) (units int) {
	if !lp.matches(c, &sc.q) {
		return 1
	}
	units = 1
	if sc.q.Channel != "" {
		units += int(c.count)
		if !lp.index.Subscribed(c.subs, sc.q.Channel) {
			return units
		}
	}
	sc.matched.Add(1)
	if sc.left.Add(-1) >= 0 {
		sc.found = append(sc.found, lp.describe(c))
		units = max(units, lookEvery)
	}
	return units
}

// matches tells whether a connection is asked for, its channels left aside.
func (lp *loop) matches(c *conn, q *ConnectionQuery) bool {
	switch {
	case c.state == stateFree, c.state == stateDead:
		return false
	case q.User != "" && (c.identity == nil || c.identity.User != q.User):
		return false
	case q.Backlogged && !lp.backlogs.has(c.slot):
		return false
	}
	return true
}

func (lp *loop) describe(c *conn) ConnectionInfo {
	now := lp.now()
	info := ConnectionInfo{
		Client: lp.srv.ids.of(c.key), Loop: lp.id, State: c.state.String(), ChannelCount: int(c.count),
		Age: now - c.accepted, Idle: now - c.lastSeen,
	}
	if c.identity != nil {
		info.User = c.identity.User
	}
	if e := c.ext; e != nil && !e.backlog.empty() {
		info.Backlog, info.Stuck = e.backlog.bytes, now-e.backlog.moved
	}
	info.Channels = make([]string, 0, min(info.ChannelCount, maxChannelList))
	for channel := range lp.index.Each(c.subs) {
		if len(info.Channels) == maxChannelList {
			break
		}
		info.Channels = append(info.Channels, channel)
	}
	return info
}

func (s connState) String() string {
	switch s {
	case stateOpening:
		return "opening"
	case stateOpen:
		return "open"
	case stateClosing:
		return "closing"
	default:
		return "gone"
	}
}
