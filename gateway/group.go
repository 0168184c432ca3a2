package main

import (
	"context"
	"sync"
)

// group runs the parts of the program, each on a goroutine of its own. When one part returns, the context of all parts
// ends. wait returns when all parts have returned, with what the first one returned.
type group struct {
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	once   sync.Once
	err    error
}

func newGroup(ctx context.Context) *group {
	ctx, cancel := context.WithCancel(ctx)
	return &group{ctx: ctx, cancel: cancel}
}

// run starts a part. It must return soon after its context ends.
func (g *group) run(part func(context.Context) error) {
	g.wg.Go(func() {
		err := part(g.ctx)
		g.once.Do(func() { g.err = err })
		g.cancel()
	})
}

func (g *group) wait() error {
	g.wg.Wait()
	g.cancel()
	return g.err
}
