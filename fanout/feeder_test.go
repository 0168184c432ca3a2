package fanout

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
)

// recorder is a Loop that keeps what it is given.
type recorder struct {
	items []Item
	wakes int
}

func (r *recorder) Post(item Item) { r.items = append(r.items, item) }
func (r *recorder) Wake()          { r.wakes++ }

func newFeeder(loops int) (*Feeder, *Interest, []*recorder) {
	interest := NewInterest()
	recorders := make([]*recorder, loops)
	asLoops := make([]Loop, loops)
	for i := range recorders {
		recorders[i] = &recorder{}
		asLoops[i] = recorders[i]
	}
	return NewFeeder(interest, asLoops), interest, recorders
}

func TestFeederPostsToLoopsWithSubscribers(t *testing.T) {
	f, interest, loops := newFeeder(4)
	interest.Add("user:1", 1)
	interest.Add("user:1", 3)
	interest.Add("user:2", 0)

	f.Publish("notifications:user:1", "x")
	f.Publish("notifications:user:9", "nobody")
	f.Publish("other:user:1", "not ours")

	for i, want := range []int{0, 1, 0, 1} {
		if got := len(loops[i].items); got != want {
			t.Errorf("loop %d got %d items, want %d", i, got, want)
		}
	}
	if loops[1].items[0].Frame != loops[3].items[0].Frame {
		t.Error("two loops got two frames: a publication is encoded once")
	}
	if got, want := f.Stats(), (FeederStats{Publications: 3, Unheard: 1, Foreign: 1}); got != want {
		t.Errorf("Stats = %+v, want %+v", got, want)
	}
}

func TestFeederWakesOncePerFlush(t *testing.T) {
	f, interest, loops := newFeeder(2)
	interest.Add("a", 0)
	interest.Add("b", 1)
	for range 10 {
		f.Publish("notifications:a", "x")
	}
	if loops[0].wakes != 0 {
		t.Errorf("woken %d times before Flush", loops[0].wakes)
	}
	f.Flush()
	f.Flush()
	if loops[0].wakes != 1 || loops[1].wakes != 0 {
		t.Errorf("wake-ups %d and %d, want 1 and 0", loops[0].wakes, loops[1].wakes)
	}
	for range maxUnflushed {
		f.Publish("notifications:a", "x")
	}
	if loops[0].wakes != 2 {
		t.Errorf("%d publications without a pause wake the loop %d times, want 1", maxUnflushed, loops[0].wakes-1)
	}
}

func TestFeederReplacesBadUTF8(t *testing.T) {
	f, interest, loops := newFeeder(1)
	interest.Add("c", 0)
	f.Publish("notifications:c", "a\xffb")
	if got := string(loops[0].items[0].Frame.Bytes()); !strings.Contains(got, "a\ufffdb") {
		t.Errorf("frame %q does not hold the replaced text", got)
	}
	if got := f.Stats().Replaced; got != 1 {
		t.Errorf("Replaced = %d, want 1", got)
	}
}

func TestFeederLostPostsToEveryLoop(t *testing.T) {
	f, interest, loops := newFeeder(3)
	f.Lost()
	if n := f.Stats().Gaps; n != 0 {
		t.Errorf("%d gaps without a subscriber", n)
	}
	interest.Add("user:1", 0)
	f.Lost()
	for i, lp := range loops {
		if len(lp.items) != 1 || lp.items[0].Channel != "" || lp.items[0].Frame != loops[0].items[0].Frame {
			t.Errorf("loop %d got %+v, want the one gap that all loops share", i, lp.items)
		}
	}
}

func TestInterestAgainstModel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 3))
	in := NewInterest()
	want := map[string]map[int]bool{}
	for range 10_000 {
		channel, loop := fmt.Sprint(rnd.IntN(50)), rnd.IntN(MaxLoops)
		if want[channel] == nil {
			want[channel] = map[int]bool{}
		}
		if rnd.IntN(2) == 0 {
			in.Add(channel, loop)
			want[channel][loop] = true
		} else {
			in.Remove(channel, loop)
			delete(want[channel], loop)
		}
		if got := bits.OnesCount64(in.Loops(channel)); got != len(want[channel]) {
			t.Fatalf("Loops(%s) has %d bits, want %d", channel, got, len(want[channel]))
		}
	}
	channels := 0
	for _, loops := range want {
		if len(loops) > 0 {
			channels++
		}
	}
	if got := in.Channels(); got != channels {
		t.Errorf("Channels = %d, want %d", got, channels)
	}
}

func TestInterestConcurrently(t *testing.T) {
	in := NewInterest()
	var wg sync.WaitGroup
	for loop := range 8 {
		wg.Go(func() {
			for i := range 2000 {
				channel := fmt.Sprint(i % 100)
				in.Add(channel, loop)
				if in.Loops(channel)&(1<<loop) == 0 {
					t.Errorf("loop %d is missing right after Add", loop)
				}
				in.Remove(channel, loop)
			}
		})
	}
	wg.Wait()
	if got := in.Channels(); got != 0 {
		t.Errorf("Channels = %d after everyone left", got)
	}
}

// discard is a Loop that drops everything, for benchmarks of what comes before.
type discard struct{}

func (discard) Post(Item) {}
func (discard) Wake()     {}

func BenchmarkFeederPublish(b *testing.B) {
	payload := strings.Repeat("x", 128)
	for name, heard := range map[string]bool{"unheard": false, "heard": true} {
		b.Run(name, func(b *testing.B) {
			interest := NewInterest()
			if heard {
				interest.Add("user:42", 0)
			}
			f := NewFeeder(interest, []Loop{discard{}})
			b.ReportAllocs()
			for b.Loop() {
				f.Publish("notifications:user:42", payload)
			}
		})
	}
}

func BenchmarkInterestLoops(b *testing.B) {
	in := NewInterest()
	names := make([]string, 100_000)
	for i := range names {
		names[i] = fmt.Sprint("user:", i)
		in.Add(names[i], i%MaxLoops)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		in.Loops(names[i%len(names)])
		i++
	}
}
