//go:build loopcheck

package server

import (
	"bytes"
	"fmt"
	"runtime"
	"strconv"
	"sync/atomic"
)

// loopOwner proves that a loop's state is touched by its own goroutine only. The zero value belongs to nobody yet:
// the first goroutine that asks becomes the owner, until disown.
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

func goroutineID() uint64 {
	var buf [64]byte
	head := bytes.Fields(buf[:runtime.Stack(buf[:], false)])
	id, err := strconv.ParseUint(string(head[1]), 10, 64)
	if err != nil {
		panic("goroutine id: " + err.Error())
	}
	return id
}
