package server

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/panjf2000/gnet/v2"

	"github.com/carillon-ws/carillon/fanout"
)

// hesitantLoop is an event loop whose Execute takes its time.
type hesitantLoop struct {
	gnet.EventLoop
	entered, proceed chan struct{}
	left             atomic.Bool
}

func (el *hesitantLoop) Execute(context.Context, gnet.Runnable) error {
	close(el.entered)
	<-el.proceed
	el.left.Store(true)
	return nil
}

// Whoever wakes a loop uses a descriptor that gnet closes when the loop has ended. So the loop does not end before.
func TestLoopDoesNotEndWhileItIsWoken(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*loop){
		"with a self-wake":    (*loop).closeMailbox,
		"without a self-wake": func(lp *loop) { lp.boot.over = make(chan struct{}); lp.OnShutdown(gnet.Engine{}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				lp := newLoop(0, &Server{cfg: Config{Interest: fanout.NewInterest()}})
				el := &hesitantLoop{entered: make(chan struct{}), proceed: make(chan struct{})}
				lp.mailbox.el = el
				go lp.Wake()
				<-el.entered
				ended := false
				go func() { end(lp); ended = true }()
				synctest.Wait()
				if ended {
					t.Error("the loop has ended while it is being woken")
				}
				if lp.call(func() {}) {
					t.Error("a loop that is ending takes a call")
				}
				close(el.proceed)
				synctest.Wait()
				if !ended {
					t.Error("the loop does not end")
				}
			})
		})
	}
}
