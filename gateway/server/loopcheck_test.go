//go:build loopcheck

package server

import (
	"testing"

	"github.com/panjf2000/gnet/v2"
)

// Trap 11, our side: everything that other tests do runs under this check. Here: it does notice.
func TestOurTrap11LoopOwnership(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, nil)
	dial(t, s)
	first, second := s.loops[0], s.loops[1]
	panics := func(f func()) (p any) {
		defer func() { p = recover() }()
		f()
		return nil
	}
	if panics(first.owner.mustOwn) == nil {
		t.Error("the test's goroutine passes for a loop")
	}
	onLoop(t, first, func() {
		if p := panics(first.owner.mustOwn); p != nil {
			t.Errorf("the loop does not pass for itself: %v", p)
		}
		if panics(second.owner.mustOwn) == nil {
			t.Error("one loop passes for another")
		}
	})
	// The ticker is not the loop: it only posts.
	if _, action := tickElsewhere(first); action != gnet.None {
		t.Errorf("OnTick = %v", action)
	}
	ids := make(map[uint64]bool)
	for _, lp := range s.loops {
		onLoop(t, lp, func() { ids[goroutineID()] = true })
	}
	if len(ids) != len(s.loops) || ids[goroutineID()] {
		t.Errorf("%d goroutines for %d loops", len(ids), len(s.loops))
	}
}

// tickElsewhere calls OnTick as gnet does, from a goroutine that is not the loop's.
func tickElsewhere(lp *loop) (any, gnet.Action) { return lp.OnTick() }
