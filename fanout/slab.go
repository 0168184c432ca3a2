package fanout

// slabChunk is how many records a slab grows by. Chunks never move: to grow copies nothing and wastes at most one chunk,
// while a slice that is appended to wastes up to a quarter.
const slabChunk = 512

// Slab holds records under small numbers. The first number is 1; 0 means none. The zero value is an empty slab. Not safe
// for concurrent use: it belongs to the loop whose records it holds.
type Slab[T any] struct {
	chunks []*[slabChunk]T
	free   []uint32
	used   uint32 // the highest number that Take has returned
}

// At returns the record of id, a number that Take has returned. The pointer is valid until Put(id).
func (s *Slab[T]) At(id uint32) *T {
	id--
	return &s.chunks[id/slabChunk][id%slabChunk]
}

// Take returns a zero record and its number: a number that was put back, or the next one.
func (s *Slab[T]) Take() (uint32, *T) {
	if n := len(s.free); n > 0 {
		id := s.free[n-1]
		s.free = s.free[:n-1]
		return id, s.At(id)
	}
	if int(s.used) == len(s.chunks)*slabChunk {
		s.chunks = append(s.chunks, new([slabChunk]T))
	}
	s.used++
	return s.used, s.At(s.used)
}

// Put frees a number and clears its record.
func (s *Slab[T]) Put(id uint32) {
	s.free = append(s.free, id)
	var zero T
	*s.At(id) = zero
}

// Live returns how many numbers are in use.
func (s *Slab[T]) Live() int { return int(s.used) - len(s.free) }
