package client

import (
	"math"
	"testing"
)

// Threads that share few CPUs are judged by what there is of these.
func TestBusyIsJudgedByTheMachine(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		threads int // on two CPUs
		each    float64
		want    float64
	}{
		{"one thread", 1, 0.9, 0.9},
		{"two threads have a CPU each", 2, 0.5, 0.5},
		{"fifty threads share two", 50, 0.036, 0.9},
		{"half of them are elsewhere", 25, 0.036, 0.45},
		{"nothing is known yet", 0, 0, 0},
	} {
		b := Busy{CPUs: 2}
		for range tt.threads {
			one := Busy{CPUs: 2}
			one.Add(tt.each)
			b.Merge(one)
		}
		if got := b.Share(); math.Abs(got-tt.want) > 0.001 {
			t.Errorf("%s: busy %.3f, want %.3f", tt.name, got, tt.want)
		}
	}
}
