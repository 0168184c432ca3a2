package server

import (
	"sync"

	"github.com/panjf2000/gnet/v2"

	"github.com/carillon-ws/carillon/fanout"
)

// mailbox is a loop's inbox for work from other goroutines. It is bounded: a batch in bytes, writable sockets by the
// number of connections; calls are few and come from the server itself.
type mailbox struct {
	mu       sync.Mutex
	el       gnet.EventLoop // Guarded by mu. nil while the loop is not running.
	batch    fanout.Batch   // Guarded by mu.
	writable []uint32       // Guarded by mu. Slots whose socket takes bytes again.
	calls    []call         // Guarded by mu.
	awake    bool           // Guarded by mu. The loop knows that it must look here: no wake-up is needed.

	// waking counts those who are waking the loop. It is added to with mu held and el there, so that whoever has set el
	// to nil can wait for the last of them. They do not hold mu itself: the loop that they wake wants it at once.
	waking sync.WaitGroup
}

// call is what another goroutine has the loop do.
type call struct {
	run  func()
	lost func() // called instead if the loop ends before it comes to the call; nil: nobody waits
}

// Post implements [fanout.Loop]. Safe to call from any goroutine.
func (lp *loop) Post(item fanout.Item) {
	mb := &lp.mailbox
	mb.mu.Lock()
	if mb.el == nil {
		mb.mu.Unlock() // the loop is not running: it has no connections
		return
	}
	added := mb.batch.Add(item, lp.cfg.MaxMailbox)
	mb.mu.Unlock()
	if !added {
		lp.n.post.dropped.add("overload", 1)
	}
}

// waiting is how many bytes wait to be sent. Safe to call from any goroutine.
func (mb *mailbox) waiting() int64 {
	mb.mu.Lock()
	defer mb.mu.Unlock()
	return int64(mb.batch.Bytes())
}

// Wake implements [fanout.Loop]. Safe to call from any goroutine.
func (lp *loop) Wake() {
	lp.mailbox.mu.Lock()
	lp.wakeLocked()
}

// postWritable has the loop flush the backlog of a slot. Safe to call from any goroutine.
func (lp *loop) postWritable(slot uint32) {
	lp.mailbox.mu.Lock()
	if lp.mailbox.el == nil {
		lp.mailbox.mu.Unlock() // the loop is not running: the socket is closed
		return
	}
	lp.mailbox.writable = append(lp.mailbox.writable, slot)
	lp.wakeLocked()
}

// call has the loop run f. It reports false if the loop is not running. If the loop ends first, f is not run. Safe to
// call from any goroutine.
func (lp *loop) call(f func()) bool { return lp.callOr(f, nil) }

// callOr is call for whoever waits for f: lost is called, on any goroutine, if the loop ends first.
func (lp *loop) callOr(f, lost func()) bool {
	mb := &lp.mailbox
	mb.mu.Lock()
	if mb.el == nil {
		mb.mu.Unlock()
		return false
	}
	mb.calls = append(mb.calls, call{f, lost})
	lp.wakeLocked()
	return true
}

// wakeLocked wakes the loop unless it is awake, and unlocks the mailbox.
func (lp *loop) wakeLocked() {
	mb := &lp.mailbox
	wake, el := !mb.awake && mb.el != nil, mb.el
	mb.awake = true
	if wake {
		mb.waking.Add(1)
	}
	mb.mu.Unlock()
	if wake {
		lp.n.post.wakeups.Add(1)
		_ = el.Execute(lp.ctx, lp) // fails only when the engine is shutting down: nothing is left to send to
		mb.waking.Done()
	}
}
