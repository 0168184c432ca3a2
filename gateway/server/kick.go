package server

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/carillon-ws/carillon/protocol"
	"github.com/carillon-ws/carillon/protocol/websocket"
)

// Kick says which connections are to be ended, and how. One of User and Client is given.
type Kick struct {
	User   string // all connections of this user, or with this label where nobody is asked for a token
	Client string // the connection with this client id
	Return bool   // with 1012 and a hint to come back within kickWindow; else with 4008, which a client takes as final
}

const kickWindow = time.Second

// Kick ends connections and returns how many. The error is ctx's. Must not run on the loop: it waits for all loops.
func (s *Server) Kick(ctx context.Context, k Kick) (int, error) {
	match := func(c *conn) bool { return c.identity != nil && c.identity.User == k.User }
	if k.Client != "" {
		key, ok := s.ids.key(k.Client)
		if !ok {
			return 0, nil
		}
		match = func(c *conn) bool { return c.key == key }
	}
	how := func() *websocket.CloseError { return protocol.ErrKicked }
	if k.Return {
		how = func() *websocket.CloseError { return protocol.RestartAfter(rand.Int64N(kickWindow.Milliseconds())) }
	}
	var ended atomic.Int64
	asked := 0
	done := make(chan struct{}, len(s.loops))
	for _, lp := range s.loops {
		if lp.callOr(func() { lp.kick(match, how, &ended, done) }, func() { done <- struct{}{} }) {
			asked++
		}
	}
	for range asked {
		select {
		case <-done:
		case <-ctx.Done():
			return int(ended.Load()), ctx.Err()
		}
	}
	return int(ended.Load()), nil
}

// kick begins a sweep that ends the connections that match.
func (lp *loop) kick(match func(*conn) bool, how func() *websocket.CloseError, ended *atomic.Int64, done chan<- struct{}) {
	lp.startSweep(&sweep{
		visit: func(c *conn) int {
			if c.state != stateOpen || c.flags&flagEnding != 0 || !match(c) {
				return 1
			}
			ended.Add(1)
			lp.end(c, how())
			return lookEvery
		},
		done: func() { done <- struct{}{} },
	})
}
