package fanout

import "testing"

// Numbers begin at 1 and are used again. A record does not move while the slab grows, and it is zero when it is taken.
func TestSlab(t *testing.T) {
	t.Parallel()
	var s Slab[int]
	records := make(map[uint32]*int)
	for want := uint32(1); want <= 3*slabChunk; want++ {
		id, r := s.Take()
		if id != want || *r != 0 {
			t.Fatalf("Take = %d, record %d, want %d and 0", id, *r, want)
		}
		*r, records[id] = int(id), r
	}
	for id, r := range records {
		if s.At(id) != r || *r != int(id) {
			t.Fatalf("record %d moved or changed: %d", id, *r)
		}
	}
	for _, id := range []uint32{1, slabChunk + 1, 3 * slabChunk} {
		s.Put(id)
	}
	for range 3 {
		id, r := s.Take()
		if r != records[id] || *r != 0 {
			t.Errorf("Take = %d, record %d, want one of those put back, empty", id, *r)
		}
	}
	if s.Live() != 3*slabChunk {
		t.Errorf("%d live, want %d", s.Live(), 3*slabChunk)
	}
	if id, _ := s.Take(); id != 3*slabChunk+1 {
		t.Errorf("Take = %d, want the next number", id)
	}
}
