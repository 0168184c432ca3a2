//go:build loopcheck

package server

import (
	"fmt"
	"runtime"
	"sync/atomic"
)

// loopOwner proves that a loop's state is touched by its own goroutine only. It belongs to nobody until
// adopt, and after disown.
type loopOwner struct{ id atomic.Uint64 }

// adopt makes the calling goroutine the owner.
func (o *loopOwner) adopt() { o.id.Store(goroutineID()) }

func (o *loopOwner) disown() { o.id.Store(0) }

func (o *loopOwner) mustOwn() {
	me := goroutineID()
	if owner := o.id.Load(); owner != me {
		panic(fmt.Sprintf("loop of goroutine %d touched by goroutine %d", owner, me))
	}
}

// stackBufs are reused, so that the check allocates nothing and tests can count what does.
var stackBufs = make(chan *[64]byte, 16)

func goroutineID() (id uint64) {
	var buf *[64]byte
	select {
	case buf = <-stackBufs:
	default:
		buf = new([64]byte)
	}
	const prefix = "goroutine "
	n := runtime.Stack(buf[:], false)
	for _, c := range buf[min(n, len(prefix)):n] {
		if c < '0' || c > '9' {
			break
		}
		id = id*10 + uint64(c-'0')
	}
	select {
	case stackBufs <- buf:
	default:
	}
	if id == 0 {
		panic("goroutine id: not found")
	}
	return id
}
