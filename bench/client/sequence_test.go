package client

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestSequence(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name                           string
		in                             []uint32
		published                      uint32
		reordered, duplicated, missing int
	}{
		{"nothing published", nil, 0, 0, 0, 0},
		{"all in order", []uint32{0, 1, 2, 3}, 4, 0, 0, 0},
		{"none came", nil, 4, 0, 0, 4},
		{"last lost", []uint32{0, 1, 2}, 4, 0, 0, 1},
		{"first lost", []uint32{1, 2, 3}, 4, 0, 0, 1},
		{"middle lost", []uint32{0, 3}, 4, 0, 0, 2},
		{"one twice", []uint32{0, 1, 1, 2, 3}, 4, 0, 1, 0},
		{"old one again", []uint32{0, 1, 2, 3, 0}, 4, 0, 1, 0},
		{"two swapped", []uint32{0, 2, 1, 3}, 4, 1, 0, 0},
		{"backwards", []uint32{3, 2, 1, 0}, 4, 3, 0, 0},
		{"late one twice", []uint32{0, 2, 1, 1, 3}, 4, 1, 1, 0},
		{"hole filled in the middle", []uint32{0, 5, 3}, 6, 1, 0, 3},
		{"all of it", []uint32{0, 4, 2, 4, 6}, 8, 1, 1, 4},
	} {
		var s sequence
		reorders, duplicates := 0, 0
		for _, n := range tt.in {
			switch s.take(n) {
			case inOrder:
			case reordered:
				reorders++
			case duplicate:
				duplicates++
			}
		}
		lost, _ := s.missing(tt.published)
		if missing := int(lost); reorders != tt.reordered || duplicates != tt.duplicated || missing != tt.missing {
			t.Errorf("%s: %v of %d: reordered %d, duplicated %d, missing %d, want %d, %d, %d", tt.name, tt.in, tt.published,
				reorders, duplicates, missing, tt.reordered, tt.duplicated, tt.missing)
		}
	}
}

// TestSequenceAgainstModel compares with sets and a maximum, on streams that are lossy, doubled and shuffled.
func TestSequenceAgainstModel(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		published := uint32(r.IntN(60) + 1)
		var in []uint32
		for n := range published {
			for range r.IntN(3) { // 0 is lost, 2 is doubled
				in = append(in, n)
			}
		}
		for i := range in { // neighbours change places
			if j := i + r.IntN(4); r.IntN(3) == 0 && j < len(in) {
				in[i], in[j] = in[j], in[i]
			}
		}
		var s sequence
		seen, highest := map[uint32]bool{}, -1
		for i, n := range in {
			want := inOrder
			switch {
			case seen[n]:
				want = duplicate
			case int(n) < highest:
				want = reordered
			}
			seen[n], highest = true, max(highest, int(n))
			if got := s.take(n); got != want {
				t.Fatalf("%v: take(%d) = %d, want %d", in[:i+1], n, got, want)
			}
		}
		if got, _ := s.missing(published); got != uint64(int(published)-len(seen)) {
			t.Fatalf("%v: missing of %d = %d, want %d", in, published, got, int(published)-len(seen))
		}
		if s.holes != nil && !slices.IsSortedFunc(*s.holes, func(a, b span) int { return int(a.from) - int(b.from) }) {
			t.Fatalf("holes %v are not ascending", *s.holes)
		}
	}
}

func TestSequenceOfAClientThatWasAway(t *testing.T) {
	t.Parallel()
	var s sequence
	for _, n := range []uint32{0, 1, 3} { // 2 is lost before it leaves
		s.take(n)
	}
	if lost, missed := s.leave(); lost != 1 || missed != 0 {
		t.Fatalf("leave = lost %d, missed %d, want 1, 0", lost, missed)
	}
	s.rejoin(8) // 4 to 7 were published meanwhile
	if got := s.take(7); got != inOrder {
		t.Errorf("one that was under way when the client came back is %d, want in order", got)
	}
	for _, n := range []uint32{8, 10} {
		s.take(n)
	}
	if lost, missed := s.missing(12); lost != 2 || missed != 3 {
		t.Errorf("missing = lost %d, missed %d, want 2 (9 and 11) and 3 (4 to 6)", lost, missed)
	}
	if got := s.take(9); got != reordered {
		t.Errorf("one that had to come, late, is %d, want reordered", got)
	}
	if got := s.take(7); got != duplicate {
		t.Errorf("the one under way, again, is %d, want a duplicate", got)
	}
	s.rejoin(3) // nothing was missed: the past does not come back
	if s.next != 11 {
		t.Errorf("next is %d, want 11", s.next)
	}
}
