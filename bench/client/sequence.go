package client

import "slices"

// span is the numbers from up to, not including, to.
type span struct{ from, to uint32 }

// sequence follows what one subscription hears of its channel. While nothing is missing it is two numbers and a nil;
// numbers that were passed over are kept, because only a later arrival tells a reordered one from a lost one.
type sequence struct {
	next  uint32  // everything below has come or is in holes
	away  uint32  // holes below were published while the client was not subscribed: missed, not lost
	holes *[]span // ascending, disjoint; nil while nothing is missing
}

// arrival is what one received number means.
type arrival uint8

const (
	inOrder   arrival = iota
	reordered         // after a later one
	duplicate         // not for the first time
)

// take notes that number n came.
func (s *sequence) take(n uint32) arrival {
	if n == s.next {
		s.next++
		return inOrder
	}
	if n > s.next {
		s.miss(span{s.next, n})
		s.next = n + 1
		return inOrder
	}
	switch {
	case !s.fill(n):
		return duplicate
	case n < s.away:
		return inOrder // sent before the client was back, and heard all the same
	default:
		return reordered
	}
}

func (s *sequence) miss(gap span) {
	if s.holes == nil {
		s.holes = new([]span)
	}
	*s.holes = append(*s.holes, gap)
}

// fill takes n out of the holes and reports whether it was in one.
func (s *sequence) fill(n uint32) bool {
	if s.holes == nil {
		return false
	}
	for i, h := range *s.holes {
		if n < h.from || n >= h.to {
			continue
		}
		rest := make([]span, 0, 2)
		if h.from < n {
			rest = append(rest, span{h.from, n})
		}
		if n+1 < h.to {
			rest = append(rest, span{n + 1, h.to})
		}
		*s.holes = slices.Replace(*s.holes, i, i+1, rest...)
		return true
	}
	return false
}

// missing is how many of the first published numbers never came: lost, or missed while the client was away.
func (s *sequence) missing(published uint32) (lost, missed uint64) {
	lost = uint64(published) - uint64(min(s.next, published))
	if s.holes != nil {
		for _, h := range *s.holes {
			if h.from < s.away {
				missed += uint64(h.to - h.from)
			} else {
				lost += uint64(h.to - h.from)
			}
		}
	}
	return lost, missed
}

// leave ends a subscription, and returns what it has missed for good. Nothing after next is missing yet.
func (s *sequence) leave() (lost, missed uint64) {
	lost, missed = s.missing(s.next)
	s.holes, s.away = nil, 0
	return lost, missed
}

// rejoin begins a subscription again: numbers from n on must come, those between are missed.
func (s *sequence) rejoin(n uint32) {
	if n <= s.next {
		return
	}
	s.miss(span{s.next, n})
	s.next, s.away = n, n
}
