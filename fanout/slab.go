package fanout

// slabChunk is how many records a slab grows by. Chunks never move, so growing copies nothing and wastes at most
// one chunk, where an appended slice would waste a quarter.
const slabChunk = 512

// slab holds records under small numbers. Number 0 is never given out: it means none.
type slab[T any] struct {
	chunks []*[slabChunk]T
	free   []uint32
	used   uint32 // numbers given out so far, free ones included
}

// at returns the record of id. The pointer stays good until put(id).
func (s *slab[T]) at(id uint32) *T {
	id--
	return &s.chunks[id/slabChunk][id%slabChunk]
}

// take returns a zero record and its number.
func (s *slab[T]) take() (uint32, *T) {
	if n := len(s.free); n > 0 {
		id := s.free[n-1]
		s.free = s.free[:n-1]
		return id, s.at(id)
	}
	if int(s.used) == len(s.chunks)*slabChunk {
		s.chunks = append(s.chunks, new([slabChunk]T))
	}
	s.used++
	return s.used, s.at(s.used)
}

// put gives a number back and forgets its record.
func (s *slab[T]) put(id uint32) {
	var zero T
	*s.at(id) = zero
	s.free = append(s.free, id)
}

// live is how many numbers are in use.
func (s *slab[T]) live() int { return int(s.used) - len(s.free) }
