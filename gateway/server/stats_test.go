package server

import (
	"testing"
	"time"
	"unsafe"

	"github.com/carillon-ws/carillon/fanout"
)

// What the loop counts for every delivery, what posting counts, and the mailbox's lock lie apart: 64 bytes is a cache
// line.
func TestCountersShareNoCacheLine(t *testing.T) {
	t.Parallel()
	const line = 64
	var lp loop
	var n loopCounters
	counters := unsafe.Offsetof(lp.n)
	type span struct {
		name       string
		begin, end uintptr
	}
	loops := span{"the loop's counters", counters + unsafe.Offsetof(n.connections), counters + unsafe.Offsetof(n.width) + unsafe.Sizeof(n.width)}
	posts := span{"posting's counters", counters + unsafe.Offsetof(n.post), counters + unsafe.Offsetof(n.post) + unsafe.Sizeof(n.post)}
	mail := span{"the mailbox", unsafe.Offsetof(lp.mailbox), unsafe.Offsetof(lp.mailbox) + unsafe.Sizeof(lp.mailbox)}
	up := span{"what comes before", unsafe.Offsetof(lp.upOnce), unsafe.Offsetof(lp.upOnce) + unsafe.Sizeof(lp.upOnce)}
	for _, pair := range [][2]span{{up, loops}, {loops, posts}, {posts, mail}} {
		if pair[1].begin < pair[0].end+line-1 {
			t.Errorf("%s end at %d and %s begin at %d: they can share a cache line", pair[0].name, pair[0].end, pair[1].name, pair[1].begin)
		}
	}
	if size := unsafe.Sizeof(lp); size < line*2 {
		t.Errorf("a loop is %d bytes", size) // each is an object of its own; neighbours are kept apart by the mailbox's far end
	}
}

func TestStall(t *testing.T) {
	t.Parallel()
	const ms = int64(time.Millisecond)
	var s stall
	at := 5 * stallWindow
	want := func(step string, now, ns int64) {
		t.Helper()
		if got := s.read(now); got != ns {
			t.Errorf("%s: %d ns, want %d", step, got, ns)
		}
	}
	want("nothing yet", at, 0)
	s.note(at, 3*ms)
	s.note(at+1, 2*ms)
	want("the longer of two", at+2, 3*ms)
	s.ask(at + 10)
	want("a question that waits", at+10+7*ms, 7*ms)
	s.ask(at + 10 + 8*ms)
	want("a second one does not shorten it", at+10+9*ms, 9*ms)
	s.answer(at + 10 + 9*ms)
	want("answered", at+10+20*ms, 9*ms)
	s.note(at+stallWindow, ms)
	want("the window before counts", at+stallWindow, 9*ms)
	want("and is forgotten", at+2*stallWindow, ms)
	want("with everything else", at+3*stallWindow, 0)
	s.note(at+9*stallWindow, 2*ms)
	want("after a long silence", at+9*stallWindow, 2*ms)
}

// A turn is measured, and how many connections each publication went to on its loop.
func TestTurnsAreMeasured(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, func(cfg *Config) { cfg.Loops = 1 })
	const subscribers = 40 // more than a step of the walk
	peers := make([]*peer, subscribers)
	for i := range peers {
		peers[i] = dial(t, s)
		peers[i].subscribe("all")
	}
	peers[0].subscribe("one")
	feeder.Publish("notifications:all", "x")
	for _, p := range peers {
		p.wantNotification("all", "x")
	}
	feeder.Publish("notifications:one", "x")
	peers[0].wantNotification("one", "x")
	eventually(t, "both turns to end", func() bool { return count(s.Stats().Loops[0].Turn) == 2 })
	lp := s.Stats().Loops[0]
	if lp.Width.Sum != subscribers+1 || lp.Width.Classic[0] != 1 || lp.Width.Classic[5] != 1 {
		t.Errorf("widths %+v, want one of %d and one of 1", lp.Width, subscribers)
	}
	if lp.Turn.Sum == 0 || lp.Latency.Sum < lp.Turn.Sum || lp.Turns != 2 {
		t.Errorf("%d turns took %d ns, latencies %d", lp.Turns, lp.Turn.Sum, lp.Latency.Sum)
	}
	eventually(t, "work to be counted", func() bool { lp := s.Stats().Loops[0]; return lp.BusyNs > 0 && lp.StallNs > 0 })
}

func count(h Histogram) (n uint64) {
	for _, in := range h.Classic {
		n += in
	}
	return n
}

func TestAStalledLoopShows(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.Loops = 1 })
	lp := s.loops[0]
	held, release := make(chan struct{}), make(chan struct{})
	lp.call(func() { close(held); <-release })
	<-held
	const away = 300 * time.Millisecond
	<-time.After(away)
	close(release)
	onLoop(t, lp, func() {}) // the work that was held has ended
	if got := s.Stats().Loops[0].StallNs; got < int64(away) {
		t.Errorf("the longest stall is %v, want at least %v", time.Duration(got), away)
	}
}

// BenchmarkEndBundle times what a publication costs in histograms on each loop that hears it, whatever its width.
func BenchmarkEndBundle(b *testing.B) {
	lp := newLoop(0, &Server{cfg: Config{Interest: fanout.NewInterest()}})
	takenAt := []int64{fanout.Monotonic()}
	for b.Loop() {
		lp.bundle.TakenAt, lp.width = takenAt, 10
		lp.endBundle()
	}
}

// A loop that has just come up, and to no work yet, is not stuck, however long the process has run.
func TestLoopThatIsOnlyJustUpIsAlive(t *testing.T) {
	t.Parallel()
	lp := &loop{up: make(chan struct{})}
	s := &Server{loops: []*loop{lp}, ready: make(chan struct{})}
	long := int64(seconds(maxSilence)) + 1
	lp.n.lastWork.Store(int64(nowSeconds()) - long)
	lp.isUp()
	close(s.ready)
	if err := s.Live(); err != nil {
		t.Errorf("only just up: %v", err)
	}
	lp.n.lastWork.Store(int64(nowSeconds()) - long)
	if err := s.Live(); err == nil {
		t.Error("a loop that does nothing for too long is alive")
	}
}
