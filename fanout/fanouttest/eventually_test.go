package fanouttest

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestEventually(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		Eventually(t, time.Minute, "a second passes", func() bool { return time.Since(began) >= time.Second })
		if late := time.Since(began) - time.Second; late > pollMax {
			t.Errorf("seen %v after it happened, want at most %v", late, pollMax)
		}

		began = time.Now()
		r := &recorder{TB: t}
		done := make(chan struct{})
		go func() {
			defer close(done) // Fatalf ends this goroutine, not the test
			Eventually(r, time.Minute, "pigs fly", func() bool { return false })
		}()
		<-done
		if took := time.Since(began); took != time.Minute || !strings.Contains(r.fatal, "pigs fly") {
			t.Errorf("gave up after %v with %q, want a minute and the reason", took, r.fatal)
		}
	})
}

// recorder keeps what Fatalf says.
type recorder struct {
	testing.TB
	fatal string
}

func (r *recorder) Helper() {}

func (r *recorder) Fatalf(format string, args ...any) {
	r.fatal = fmt.Sprintf(format, args...)
	runtime.Goexit()
}
