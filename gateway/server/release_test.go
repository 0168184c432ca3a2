package server

import (
	"io"
	"runtime"
	"strings"
	"testing"
	"weak"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/protocol"
)

// TestQuietLoopLetsGoOfABurst: when a burst of 60 MiB is sent and nothing follows, the loop keeps none of its frames.
func TestQuietLoopLetsGoOfABurst(t *testing.T) {
	t.Parallel()
	const n, size = 6000, 10 << 10
	s, _ := startServer(t, func(cfg *Config) {
		cfg.Loops, cfg.MaxMailbox, cfg.MaxBacklog = 1, 1<<30, 1<<30
	})
	lp := s.loops[0]
	p := dial(t, s)
	p.subscribe("a")

	release := blockLoop(t, lp) // one turn takes all of it
	frames, total := make([]weak.Pointer[protocol.Frame], n), int64(0)
	for i := range frames {
		f, _ := protocol.NewNotification("a", strings.Repeat("x", size), 0)
		frames[i] = weak.Make(f)
		total += int64(f.Len())
		lp.Post(fanout.Item{Channel: "a", Frame: f})
	}
	lp.Wake()
	release()
	if _, err := io.CopyN(io.Discard, p.br, total); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the turn is over", func() bool {
		over := false
		onLoop(t, lp, func() { over = !lp.sending && len(lp.writable) == 0 })
		return over
	})
	eventually(t, "nothing refers to the frames", func() bool {
		runtime.GC()
		for _, f := range frames {
			if f.Value() != nil {
				return false
			}
		}
		return true
	})
}
