package client

import (
	"testing"
	"time"
)

func TestSchedule(t *testing.T) {
	t.Parallel()
	const start = int64(1_700_000_000_000_000_000)
	for _, tt := range []struct {
		rate  float64
		d     time.Duration
		total int
	}{
		{1, time.Second, 1},
		{1, 100 * time.Millisecond, 1}, // never nothing
		{3, time.Second, 3},
		{0.5, 10 * time.Second, 5},
		{997, 2 * time.Second, 1994},
		{20000, time.Second, 20000},
	} {
		s := NewSchedule(start, tt.rate, tt.d)
		if s.Total != tt.total {
			t.Errorf("%v/s for %s: total %d, want %d", tt.rate, tt.d, s.Total, tt.total)
		}
		if got := s.Due(start - 1); got != 0 {
			t.Errorf("%v/s: %d due before the start", tt.rate, got)
		}
		for i := range s.Total {
			if got := s.Due(s.At(i)); got != i+1 {
				t.Fatalf("%v/s: %d due when number %d is, want %d", tt.rate, got, i, i+1)
			}
			if got := s.Due(s.At(i) - 1); got != i {
				t.Fatalf("%v/s: %d due a nanosecond before number %d, want %d", tt.rate, got, i, i)
			}
		}
		if got := s.Due(start + int64(time.Hour)); got != s.Total {
			t.Errorf("%v/s: %d due in the end, want %d", tt.rate, got, s.Total)
		}
	}
}
