package main

import (
	"testing"
	"time"
)

func TestDefaultRate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		connections, channels int
		want                  float64
	}{
		{10000, 1, 1},
		{9999, 1, 2},
		{20000, 1, 1},
		{19000, 1, 1},
		{1_000_000, 1, 1},
		{1000, 1, 19},
		{100, 1, 199},
		{10000, 1000, 1000},
		{10000, 10000, 1000},
		{1, 1, 1000},
	} {
		got := defaultRate(tt.connections, tt.channels)
		if got != tt.want {
			t.Errorf("defaultRate(%d, %d) = %v, want %v", tt.connections, tt.channels, got, tt.want)
		}
		if perChannel := float64(tt.connections) / float64(tt.channels); got > 1 && got*perChannel >= maxDefaultDeliveries {
			t.Errorf("defaultRate(%d, %d) asks for %v deliveries/s", tt.connections, tt.channels, got*perChannel)
		}
	}
}

func TestSubscribersOfIsEveryone(t *testing.T) {
	t.Parallel()
	for _, tt := range [][2]int{{10, 1}, {10, 3}, {10, 10}, {1000, 7}} {
		sum, counted := 0, make([]int, tt[1])
		for i := range tt[0] {
			counted[i%tt[1]]++
		}
		for ch := range tt[1] {
			n := subscribersOf(ch, tt[0], tt[1])
			if n != counted[ch] {
				t.Errorf("subscribersOf(%d, %d, %d) = %d, want %d", ch, tt[0], tt[1], n, counted[ch])
			}
			sum += n
		}
		if sum != tt[0] {
			t.Errorf("%d connections over %d channels make %d subscriptions", tt[0], tt[1], sum)
		}
	}
}

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
		s := newSchedule(start, tt.rate, tt.d)
		if s.total != tt.total {
			t.Errorf("%v/s for %s: total %d, want %d", tt.rate, tt.d, s.total, tt.total)
		}
		if got := s.due(start - 1); got != 0 {
			t.Errorf("%v/s: %d due before the start", tt.rate, got)
		}
		for i := range s.total {
			if got := s.due(s.at(i)); got != i+1 {
				t.Fatalf("%v/s: %d due when number %d is, want %d", tt.rate, got, i, i+1)
			}
			if got := s.due(s.at(i) - 1); got != i {
				t.Fatalf("%v/s: %d due a nanosecond before number %d, want %d", tt.rate, got, i, i)
			}
		}
		if got := s.due(start + int64(time.Hour)); got != s.total {
			t.Errorf("%v/s: %d due in the end, want %d", tt.rate, got, s.total)
		}
	}
}
