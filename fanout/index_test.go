package fanout

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// model is what an Index should contain, in plain maps.
type model struct {
	members map[string]map[int]bool // channel -> connections
	lists   map[int]*Subscriptions
}

func TestIndexAgainstModel(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			runIndexModel(t, rand.New(rand.NewPCG(seed, 1)))
		})
	}
}

// runIndexModel changes an Index and the model in the same random way, and compares them. Members come and go also during
// a walk. The walk must visit once who was there at its start and stays. It must not visit who left before, or who came
// later.
func runIndexModel(t *testing.T, rnd *rand.Rand) {
	t.Helper()
	ix := NewIndex[int]()
	m := model{members: map[string]map[int]bool{}, lists: map[int]*Subscriptions{}}
	for conn := range 40 {
		m.lists[conn] = &Subscriptions{}
	}
	var walked string // channel of the walk under way
	var start, visited, left map[int]bool
	for range 2000 {
		conn, channel := rnd.IntN(40), fmt.Sprint("c", rnd.IntN(6))
		switch op := rnd.IntN(10); {
		case op < 4:
			_, added, first := ix.Subscribe(m.lists[conn], channel, conn)
			if want := !m.members[channel][conn]; added != want {
				t.Fatalf("Subscribe(%d, %s) added = %v, want %v", conn, channel, added, want)
			}
			if want := len(m.members[channel]) == 0; first != want {
				t.Fatalf("Subscribe(%d, %s) first = %v, want %v", conn, channel, first, want)
			}
			if m.members[channel] == nil {
				m.members[channel] = map[int]bool{}
			}
			m.members[channel][conn] = true
		case op < 6:
			removed, last := ix.Unsubscribe(m.lists[conn], channel)
			if want := m.members[channel][conn]; removed != want {
				t.Fatalf("Unsubscribe(%d, %s) = %v, want %v", conn, channel, removed, want)
			}
			delete(m.members[channel], conn)
			if want := removed && len(m.members[channel]) == 0; last != want {
				t.Fatalf("Unsubscribe(%d, %s) last = %v, want %v", conn, channel, last, want)
			}
			if removed && channel == walked {
				left[conn] = true
			}
		case op < 7:
			var gone []string
			ix.Leave(m.lists[conn], func(c string) { gone = append(gone, c) })
			for c, members := range m.members {
				if !members[conn] {
					continue
				}
				delete(members, conn)
				if c == walked {
					left[conn] = true
				}
				if slices.Contains(gone, c) != (len(members) == 0) {
					t.Fatalf("Leave(%d) gone = %v, but %s has %d members", conn, gone, c, len(members))
				}
			}
		case walked == "":
			if ix.StartWalk(channel) {
				walked, start, visited, left = channel, map[int]bool{}, map[int]bool{}, map[int]bool{}
				for c := range m.members[channel] {
					start[c] = true
				}
			}
		default:
			part := ix.WalkNext(1 + rnd.IntN(4))
			for _, p := range part {
				switch {
				case visited[p.Conn]:
					t.Fatalf("%d visited twice", p.Conn)
				case !start[p.Conn]:
					t.Fatalf("%d came after the walk began and was visited", p.Conn)
				case left[p.Conn] && !m.members[walked][p.Conn]:
					t.Fatalf("%d left before it was visited", p.Conn)
				}
				visited[p.Conn] = true
			}
			if len(part) == 0 {
				for c := range start {
					if !visited[c] && !left[c] {
						t.Fatalf("%d stayed and was not visited", c)
					}
				}
				walked = ""
			}
		}
		if err := ix.checkInvariants(); err != nil {
			t.Fatal(err)
		}
	}
	for channel, members := range m.members {
		if got := ix.Subscribers(channel); got != len(members) {
			t.Errorf("Subscribers(%s) = %d, want %d", channel, got, len(members))
		}
	}
}

func TestIndexKeepsSubscribeOrder(t *testing.T) {
	ix := NewIndex[int]()
	lists := make([]Subscriptions, 1000)
	for conn := range lists {
		ix.Subscribe(&lists[conn], "c", conn)
	}
	ix.StartWalk("c")
	for want := 0; ; {
		part := ix.WalkNext(64)
		if len(part) == 0 {
			break
		}
		for _, m := range part {
			if m.Conn != want {
				t.Fatalf("visited %d, want %d: the walk is in the order of the subscriptions", m.Conn, want)
			}
			want++
		}
	}
}

func TestIndexGivesMemoryBack(t *testing.T) {
	ix := NewIndex[int]()
	lists := make([]Subscriptions, 10_000)
	for conn := range lists {
		ix.Subscribe(&lists[conn], "all", conn)
		ix.Subscribe(&lists[conn], fmt.Sprint("user:", conn), conn)
	}
	for conn := range lists {
		ix.Leave(&lists[conn], func(string) {})
	}
	if ix.Channels() != 0 || ix.Subscriptions() != 0 {
		t.Errorf("after all left: %d channels, %d subscriptions", ix.Channels(), ix.Subscriptions())
	}
	used := ix.subs.used
	for conn := range lists {
		ix.Subscribe(&lists[conn], "all", conn)
	}
	if ix.subs.used > used {
		t.Errorf("records in use grew from %d to %d: freed ones are not reused", used, ix.subs.used)
	}
}

func TestIndexAllocations(t *testing.T) {
	ix := NewIndex[int]()
	lists := make([]Subscriptions, 1000)
	for conn := range lists {
		ix.Subscribe(&lists[conn], "c", conn)
	}
	var extra Subscriptions
	got := testing.AllocsPerRun(100, func() {
		ix.StartWalk("c")
		for len(ix.WalkNext(64)) > 0 {
			ix.Subscribe(&extra, "c", 1000)
			ix.Unsubscribe(&extra, "c")
		}
	})
	if got != 0 {
		t.Errorf("a walk during which members come and go allocates %v times", got)
	}
}

func BenchmarkIndexSubscribe(b *testing.B) {
	for _, channels := range []int{1, 1000, 100_000} {
		b.Run(fmt.Sprintf("channels=%d", channels), func(b *testing.B) {
			names := make([]string, channels)
			for i := range names {
				names[i] = fmt.Sprint("user:", i)
			}
			ix := NewIndex[int]()
			lists := make([]Subscriptions, 100_000)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				conn := i % len(lists)
				if i >= len(lists) {
					ix.Leave(&lists[conn], func(string) {})
				}
				ix.Subscribe(&lists[conn], names[i%channels], conn)
				i++
			}
		})
	}
}

func BenchmarkIndexWalk(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		b.Run(fmt.Sprintf("subs=%d", n), func(b *testing.B) {
			ix := NewIndex[[2]uint32]()
			lists := make([]Subscriptions, n)
			for conn := range lists {
				ix.Subscribe(&lists[conn], "c", [2]uint32{uint32(conn)})
			}
			b.ReportAllocs()
			sum := uint32(0)
			for b.Loop() {
				ix.StartWalk("c")
				for {
					part := ix.WalkNext(64)
					if len(part) == 0 {
						break
					}
					for i := range part {
						sum += part[i].Conn[0]
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/delivery")
			_ = sum
		})
	}
}
