package fanout

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"weak"

	"github.com/carillon-ws/carillon/protocol"
)

// TestTurnLetsGoOfABurst: once a batch is sent, nothing refers to its frames, however many they were. Otherwise a loop
// on which it turns quiet keeps the whole burst in memory until the next publication.
func TestTurnLetsGoOfABurst(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 100, 6000} {
		t.Run(fmt.Sprintf("items=%d", n), func(t *testing.T) {
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
			for ok := true; ok; {
				_, ok = turn.Next()
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
