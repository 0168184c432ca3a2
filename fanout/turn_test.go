package fanout

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/carillon-ws/carillon/protocol"
)

func item(channel, data string) Item {
	f, _ := protocol.NewNotification(channel, data, 0)
	return Item{Channel: channel, Frame: f, TakenAt: 1}
}

// bundles calls Next until the end, and writes each bundle as channel:data,data.
func bundles(turn *Turn[int]) string {
	var out []string
	for {
		bundle, ok := turn.Next()
		if !ok {
			return strings.Join(out, " ")
		}
		var data []string
		joined := ""
		for _, f := range bundle.Frames {
			joined += string(f.Bytes())
			_, rest, _ := strings.Cut(string(f.Bytes()), `"data":"`)
			text, _, _ := strings.Cut(rest, `"`)
			data = append(data, text)
		}
		if joined != string(bundle.Bytes) {
			return "Bytes is not the frames joined"
		}
		out = append(out, bundle.Channel+":"+strings.Join(data, ","))
	}
}

func TestTurnGroups(t *testing.T) {
	everyone := Item{Frame: protocol.NewFrame(&protocol.Message{Type: protocol.MessageGap})}
	tests := []struct {
		name  string
		items []Item
		want  string
	}{
		{"nothing", nil, ""},
		{"one", []Item{item("a", "1")}, "a:1"},
		{"joined", []Item{item("a", "1"), item("a", "2"), item("a", "3")}, "a:1,2,3"},
		{"two channels", []Item{item("a", "1"), item("b", "2"), item("a", "3"), item("b", "4")}, "a:1,3 b:2,4"},
		{"no subscriber", []Item{item("x", "1"), item("a", "2")}, "a:2"},
		{"for every connection stays in its place", []Item{item("a", "1"), everyone, item("a", "2"), item("a", "3")}, "a:1 : a:2,3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ix := NewIndex[int]()
			var subs Subscriptions
			ix.Subscribe(&subs, "a", 1)
			ix.Subscribe(&subs, "b", 1)
			turn := NewTurn(ix)
			for range 2 { // the second time the turn's memory is reused
				turn.Load(tt.items)
				if got := bundles(turn); got != tt.want {
					t.Errorf("bundles = %q, want %q", got, tt.want)
				}
			}
		})
	}
}

func TestTurnSplitsLongGroups(t *testing.T) {
	ix := NewIndex[int]()
	var subs Subscriptions
	ix.Subscribe(&subs, "a", 1)
	turn := NewTurn(ix)
	var items []Item
	for range 10 {
		items = append(items, item("a", strings.Repeat("x", maxJoin/4)))
	}
	turn.Load(items)
	frames := 0
	for {
		bundle, ok := turn.Next()
		if !ok {
			break
		}
		if len(bundle.Bytes) > maxJoin {
			t.Errorf("a bundle of %d bytes, want at most %d", len(bundle.Bytes), maxJoin)
		}
		frames += len(bundle.Frames)
	}
	if frames != len(items) {
		t.Errorf("%d frames came out, want %d", frames, len(items))
	}
}

// Within a channel, the order of the batch is kept.
func TestTurnOrder(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 7))
	ix := NewIndex[int]()
	var subs Subscriptions
	for c := range 5 {
		ix.Subscribe(&subs, fmt.Sprint(c), 1)
	}
	turn := NewTurn(ix)
	for range 200 {
		var items []Item
		want := map[string][]*protocol.Frame{}
		for i := range rnd.IntN(50) {
			it := item(fmt.Sprint(rnd.IntN(5)), fmt.Sprint(i))
			items = append(items, it)
			want[it.Channel] = append(want[it.Channel], it.Frame)
		}
		turn.Load(items)
		for {
			bundle, ok := turn.Next()
			if !ok {
				break
			}
			for _, f := range bundle.Frames {
				if f != want[bundle.Channel][0] {
					t.Fatalf("channel %s: frame out of order", bundle.Channel)
				}
				want[bundle.Channel] = want[bundle.Channel][1:]
			}
		}
		for c, rest := range want {
			if len(rest) > 0 {
				t.Fatalf("channel %s: %d frames missing", c, len(rest))
			}
		}
	}
}

func TestTurnAllocations(t *testing.T) {
	ix := NewIndex[int]()
	var subs Subscriptions
	ix.Subscribe(&subs, "a", 1)
	ix.Subscribe(&subs, "b", 1)
	turn := NewTurn(ix)
	items := []Item{item("a", "1"), item("b", "2"), item("a", "3")}
	if got := testing.AllocsPerRun(100, func() {
		turn.Load(items)
		for {
			if _, ok := turn.Next(); !ok {
				break
			}
		}
	}); got != 0 {
		t.Errorf("a turn allocates %v times", got)
	}
}

func TestBatchDropsWholeItems(t *testing.T) {
	var b Batch
	big := item("a", strings.Repeat("x", 1000))
	limit := big.Frame.Len() * 3
	for i := range 5 {
		if added, want := b.Add(big, limit), i < 3; added != want {
			t.Errorf("Add %d = %v, want %v", i, added, want)
		}
	}
	if b.Add(item("b", strings.Repeat("y", 1000)), limit) {
		t.Error("Add over the limit = true")
	}
	b.AppendGaps(42)
	got := map[string]string{}
	for _, it := range b.Items[3:] {
		got[it.Channel] = string(it.Frame.Bytes()[2:])
	}
	want := map[string]string{
		"a": `{"type":"gap","channel":"a","reason":"overload","dropped":2,"timestamp":42}`,
		"b": `{"type":"gap","channel":"b","reason":"overload","dropped":1,"timestamp":42}`,
	}
	for c, w := range want {
		if got[c] != w {
			t.Errorf("gap of %s = %s, want %s", c, got[c], w)
		}
	}
	b.Reset()
	if !b.Empty() || b.Bytes() != 0 {
		t.Error("a batch that was reset is not empty")
	}
}

// A gap says how many publications were dropped. A message that is not a publication is none of them.
func TestBatchCountsOnlyPublications(t *testing.T) {
	var b Batch
	b.Add(item("a", "x"), 1)
	if b.Add(Item{Frame: protocol.NewFrame(&protocol.Message{Type: protocol.MessageGap, Reason: protocol.GapRedis})}, 1) {
		t.Fatal("Add over the limit = true")
	}
	b.AppendGaps(42)
	got := string(b.Items[1].Frame.Bytes()[2:])
	if want := `{"type":"gap","reason":"overload","timestamp":42}`; got != want {
		t.Errorf("gap = %s, want %s", got, want)
	}
}

func TestBatchForgetsNamesNotGaps(t *testing.T) {
	var b Batch
	b.Add(item("first", "x"), 1)
	for i := range maxGapChannels + 10 {
		b.Add(item(fmt.Sprint(i), "x"), 1)
	}
	b.AppendGaps(1)
	if len(b.Items) != 2 || b.Items[1].Channel != "" {
		t.Errorf("%d items, the last for %q; want one gap for every connection", len(b.Items), b.Items[len(b.Items)-1].Channel)
	}
}

func TestBatchTakesOneOfAnySize(t *testing.T) {
	var b Batch
	if !b.Add(item("a", strings.Repeat("x", 1000)), 10) {
		t.Error("an empty batch refuses an item over the limit: it would never be delivered")
	}
}

func BenchmarkTurn(b *testing.B) {
	for _, channels := range []int{1, 100} {
		b.Run(fmt.Sprintf("items=100/channels=%d", channels), func(b *testing.B) {
			ix := NewIndex[int]()
			var subs Subscriptions
			var items []Item
			for i := range 100 {
				name := fmt.Sprint("user:", i%channels)
				ix.Subscribe(&subs, name, 1)
				items = append(items, item(name, strings.Repeat("x", 128)))
			}
			turn := NewTurn(ix)
			b.ReportAllocs()
			for b.Loop() {
				turn.Load(items)
				for {
					if _, ok := turn.Next(); !ok {
						break
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/item")
		})
	}
}

func BenchmarkBatchAdd(b *testing.B) {
	var batch Batch
	it := item("user:42", strings.Repeat("x", 128))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		batch.Add(it, 1<<30)
		if n++; n%1000 == 0 {
			batch.Reset()
		}
	}
}
