package client

import (
	"net"
	"strings"
	"testing"
	"time"
)

// silence is a worker that takes what it is asked and never answers, as one does that was stopped.
func silence(t *testing.T) *Remote {
	t.Helper()
	ours, theirs := net.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for buf := make([]byte, 1024); ; {
			if _, err := theirs.Read(buf); err != nil {
				return
			}
		}
	}()
	r := NewRemote("w", ours)
	t.Cleanup(func() {
		r.Abandon()
		<-ended
		_ = theirs.Close()
	})
	return r
}

func TestSilentWorkerIsGivenUp(t *testing.T) {
	t.Parallel()
	r := silence(t)
	_, err := callWithin[int64](r, 10*time.Millisecond, "Time", None{})
	if err == nil || !strings.Contains(err.Error(), "worker w has not answered for 10ms") {
		t.Errorf("error %v, want that it has not answered", err)
	}
	if _, err := Ask(&Handle{There: r}, (*Worker).Watch, None{}); err == nil {
		t.Error("a worker that was given up still answers")
	}
}

func TestAbandonEndsWaiting(t *testing.T) {
	t.Parallel()
	r := silence(t)
	waiting := make(chan error, 1)
	go func() {
		_, err := Ask(&Handle{There: r}, (*Worker).Watch, None{})
		waiting <- err
	}()
	r.Abandon()
	if err := <-waiting; err == nil {
		t.Error("no error from a worker that was abandoned")
	}
}
