package benchtest

import (
	"os"
	"runtime"
	"runtime/pprof"
	"testing"
	"time"
)

// Run runs a package's tests, and fails when they leave goroutines behind.
func Run(m *testing.M) (code int) {
	code = m.Run()
	if code == 0 && goroutinesLeft() {
		_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
		code = 1
	}
	return code
}

// goroutinesLeft reports whether more than this one are there after a while.
func goroutinesLeft() bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 200 {
		// The runtime's own: os/signal keeps one once it was used.
		if runtime.NumGoroutine() <= 2 {
			return false
		}
		<-tick.C
	}
	return true
}
