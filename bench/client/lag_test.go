package client

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// idleWorker has one reader, and nothing to read.
func idleWorker(t *testing.T) *Worker {
	t.Helper()
	target := Target{Addr: netip.MustParseAddrPort("127.0.0.1:1"), Host: "127.0.0.1:1", Path: "/"}
	w, err := NewWorker(Plan{Targets: []Target{target}, Load: Workload{Connections: 1, Channels: 1}, Count: 1, Threads: 1, Mark: "x"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close(None{}, nil) }) // nothing is connected
	return w
}

// watch has publications under way, or no more.
func watch(t *testing.T, w *Worker, on bool) {
	t.Helper()
	if err := w.Expect(Outlook{Watch: on}, nil); err != nil {
		t.Fatal(err)
	}
}

// A reader that is kept from reading must know since when, whatever keeps it, and only for what may have waited.
func TestReaderKnowsSinceWhenItIsLate(t *testing.T) {
	t.Parallel()
	type turn struct {
		at     int64
		events int // of at most 10; -1: interrupted
		since  int64
	}
	for _, tt := range []struct {
		name  string
		turns []turn
	}{
		{"on time", []turn{{12, 1, 12}, {19, 1, 19}}},
		{"late once", []turn{{12, 1, 12}, {55, 1, 20}, {56, 1, 20}, {57, 1, 57}}}, // the events of the late turn may have been taken before it was stopped
		{"interrupted first", []turn{{55, -1, 20}, {55, 3, 20}, {56, 1, 56}}},
		{"with a queue", []turn{{55, 10, 20}, {56, 10, 20}, {57, 4, 20}, {58, 1, 58}}},
		{"with a queue that has no end", []turn{{55, 10, 20}, {56, 10, 20}, {57, 10, 20}, {58, 10, 55}, {59, 10, 55}, {65, 10, 55}, {66, 10, 57}}},
		{"long turns, one after the other", []turn{{35, 1, 20}, {55, 1, 20}, {75, 1, 40}, {95, 1, 60}}},
	} {
		l := lag{every: 20, next: 20, left: 30}
		for i, turn := range tt.turns {
			if l.begin(turn.at); l.since != turn.since {
				t.Errorf("%s, turn %d: late since %d, want %d", tt.name, i, l.since, turn.since)
			}
			l.end(turn.events, turn.events == 10, 30)
		}
	}
}

// A tick wakes the thread: there is none while nothing is published.
func TestReaderIsNotWokenForNothing(t *testing.T) {
	t.Parallel()
	w := idleWorker(t)
	for _, on := range []bool{false, true, false} {
		watch(t, w, on)
		var timer unix.ItimerSpec
		var err error
		w.pollers[0].do(func() { err = unix.TimerfdGettime(w.pollers[0].tickfd, &timer) })
		if ticks := timer.Interval != (unix.Timespec{}); err != nil || ticks != on {
			t.Errorf("with publications under way %v: ticks %v, %v", on, ticks, err)
		}
	}
}
