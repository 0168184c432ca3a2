package fanout

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"weak"

	"github.com/carillon-ws/carillon/protocol"
)

// When a batch is sent, or its turn is given up, nothing refers to its frames, however many they were. Otherwise a loop
// that has nothing more to send keeps a whole burst in memory until the next publication.
func TestTurnForgetsTheBatch(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		n       int
		givenUp bool // after the first bundle
	}{{1, false}, {100, false}, {6000, false}, {1, true}, {6000, true}} {
		n := tc.n
		t.Run(fmt.Sprintf("items=%d/given-up=%t", n, tc.givenUp), func(t *testing.T) {
			t.Parallel()
			ix := NewIndex[int]()
			var subs Subscriptions
			ix.Subscribe(&subs, "a", 1)
			ix.Subscribe(&subs, "b", 1)
			turn := NewTurn(ix)
			var batch Batch
			frames := make([]weak.Pointer[protocol.Frame], n)
			for i := range frames {
				it := item([]string{"a", "b", "unheard"}[i%3], strings.Repeat("x", 10<<10))
				frames[i] = weak.Make(it.Frame)
				batch.Add(it, 1<<30)
			}
			turn.Load(batch.Items)
			for ok := true; ok && !tc.givenUp; {
				_, ok = turn.Next()
			}
			if tc.givenUp {
				turn.Next()
				turn.Reset()
			}
			batch.Reset()
			runtime.GC()
			kept := 0
			for _, f := range frames {
				if f.Value() != nil {
					kept++
				}
			}
			if kept > 0 {
				t.Errorf("%d of %d frames are still referred to", kept, n)
			}
			runtime.KeepAlive(turn)
			runtime.KeepAlive(&batch)
		})
	}
}
