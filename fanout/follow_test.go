package fanout

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
)

func follow(t *testing.T) (in *Interest, woken func() int) {
	t.Helper()
	in = NewInterest()
	n := 0
	in.Follow(func() { n++ })
	return in, func() int { defer func() { n = 0 }(); return n }
}

func changed(in *Interest) string {
	names := in.TakeChanged(nil)
	slices.Sort(names)
	return strings.Join(names, " ")
}

func TestFollowedInterestKeepsNames(t *testing.T) {
	in, woken := follow(t)
	if in.Add("a", 1) {
		t.Error("a channel that nobody asked for is settled")
	}
	in.Add("a", 2)
	in.Add("b", 0)
	if n := woken(); n != 2 {
		t.Errorf("woken %d times, want 2: for the first loop of each channel", n)
	}
	if got := changed(in); got != "a b" {
		t.Errorf("changed = %q, want a b", got)
	}
	in.Remove("a", 1)
	in.Remove("b", 0)
	in.Add("b", 5) // back before anybody has looked
	in.Remove("c", 0)
	if got := changed(in); got != "b" {
		t.Errorf("changed = %q, want b", got)
	}
	in.Remove("a", 2)
	if got := changed(in); got != "a" {
		t.Errorf("changed = %q, want a", got)
	}
	if got := changed(in); got != "" {
		t.Errorf("changed = %q, want nothing", got)
	}
}

func TestSettledUntilReleased(t *testing.T) {
	in, _ := follow(t)
	in.Add("a", 1)
	in.Add("a", 3)
	if loops := in.settle("a"); loops != 1<<1|1<<3 {
		t.Errorf("settle tells loops %b", loops)
	}
	if loops := in.settle("a"); loops != 0 {
		t.Errorf("settle tells loops %b a second time", loops)
	}
	if !in.Add("a", 2) {
		t.Error("a channel that is settled has a client wait")
	}
	if in.Release("a") {
		t.Error("released although loops hold it")
	}
	for _, loop := range []int{1, 2, 3} {
		in.Remove("a", loop)
	}
	if !in.Settled("a") {
		t.Error("not settled during the grace")
	}
	if !in.Release("a") {
		t.Error("not released although no loop holds it")
	}
	if in.Settled("a") || in.Add("a", 0) {
		t.Error("settled after it was released")
	}
}

// A loop that has lost all its connections gives its interest back.
func TestForget(t *testing.T) {
	in, _ := follow(t)
	in.Add("a", 1)
	in.Add("b", 1)
	in.Add("b", 2)
	changed(in)
	in.Forget(1)
	if got := changed(in); got != "a" {
		t.Errorf("changed = %q, want a", got)
	}
	if in.Loops("a") != 0 || in.Loops("b") != 1<<2 {
		t.Errorf("loops of a: %b, of b: %b", in.Loops("a"), in.Loops("b"))
	}
	plain := NewInterest()
	plain.Add("a", 0)
	plain.Forget(0)
	if plain.Channels() != 0 {
		t.Error("an interest that nobody follows forgets nothing")
	}
}

// In pattern mode nothing is kept but the loops.
func TestPlainInterestKeepsNothing(t *testing.T) {
	in := NewInterest()
	if !in.Add("a", 0) || !in.Settled("a") {
		t.Error("not settled although everything is heard")
	}
	in.Remove("a", 0)
	if got := in.TakeChanged(nil); len(got) > 0 {
		t.Errorf("changed = %q", got)
	}
	if got := testing.AllocsPerRun(100, func() { in.Add("b", 0); in.Add("b", 1); in.Remove("b", 1) }); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

// Whatever loops do while the source looks, what it has looked at last is how things are.
func TestFollowedInterestConcurrently(t *testing.T) {
	wake := make(chan struct{}, 1)
	in := NewInterest()
	in.Follow(func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	})
	const loops, names = 4, 50
	var wg sync.WaitGroup
	for loop := range loops {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(loop)))
			for range 5000 {
				if name := fmt.Sprint(rnd.IntN(names)); rnd.IntN(2) == 0 {
					in.Add(name, loop)
				} else {
					in.Remove(name, loop)
				}
			}
		})
	}
	finished := make(chan struct{})
	go func() { wg.Wait(); close(finished) }()
	seen := map[string]bool{}
	look := func() {
		for _, name := range in.TakeChanged(nil) {
			seen[name] = in.Loops(name) != 0
		}
	}
	for running := true; running; {
		select {
		case <-wake:
			look()
		case <-finished:
			running = false
		}
	}
	look()
	for i := range names {
		name := fmt.Sprint(i)
		if want := in.Loops(name) != 0; seen[name] != want {
			t.Errorf("%s was last seen as %v, and is %v", name, seen[name], want)
		}
	}
}

func TestFeederSettles(t *testing.T) {
	f, in, loops := newFeeder(3)
	in.Follow(func() {})
	in.Add("a", 0)
	in.Add("a", 2)
	f.Settled("notifications:a")
	f.Settled("notifications:a")
	f.Settled("elsewhere:a")
	f.Flush()
	for i, want := range []int{1, 0, 1} {
		if n := len(loops[i].items); n != want || loops[i].wakes != want {
			t.Errorf("loop %d has %d items and %d wake-ups, want %d", i, n, loops[i].wakes, want)
		}
	}
	if it := loops[0].items[0]; it.Channel != "a" || it.Frame != nil {
		t.Errorf("item %+v, want one without a frame", it)
	}
}

func TestFeederTellsSomeOfALoss(t *testing.T) {
	f, in, loops := newFeeder(2)
	in.Add("a", 0)
	in.Add("b", 1)
	in.Add("c", 1)
	fork := f.Fork()
	fork.Lost("notifications:a", "notifications:c", "notifications:nobody", "elsewhere:b")
	for i, want := range []string{"a", "c"} {
		if len(loops[i].items) != 1 || loops[i].items[0].Channel != want || loops[i].wakes != 1 {
			t.Errorf("loop %d got %+v, want a gap for %s", i, loops[i].items, want)
			continue
		}
		text := string(loops[i].items[0].Frame.Bytes())
		if !strings.Contains(text, `"type":"gap","channel":"`+want+`"`) {
			t.Errorf("loop %d got %s", i, text)
		}
	}
	if got, want := f.Stats(), (FeederStats{ChannelGaps: 2}); got != want {
		t.Errorf("Stats = %+v, want %+v: forks count together", got, want)
	}
}

func TestBatchKeepsSettledApart(t *testing.T) {
	var b Batch
	b.Add(item("a", "x"), 1)
	for range 3 {
		if !b.Add(Item{Channel: "s"}, 1) {
			t.Error("a settled channel was dropped")
		}
	}
	if len(b.Items) != 1 || len(b.Settled) != 3 || b.Empty() {
		t.Errorf("%d items, %d settled", len(b.Items), len(b.Settled))
	}
	b.Reset()
	if !b.Empty() || len(b.Settled) != 0 {
		t.Error("a batch that was reset is not empty")
	}
	b.Add(Item{Channel: "s"}, 1)
	if b.Empty() {
		t.Error("a batch with a settled channel is empty")
	}
}
