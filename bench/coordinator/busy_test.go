package coordinator

import (
	"testing"
	"time"
)

// Threads that share few CPUs are judged by what there is of these.
func TestBusyIsJudgedByTheMachine(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	for _, tt := range []struct {
		name    string
		threads int // with two CPUs each machine
		used    time.Duration
		here    int // of them; the others are elsewhere
		want    float64
	}{
		{"one thread", 1, 9 * time.Second, 1, 0.9},
		{"two threads have a CPU each", 2, 5 * time.Second, 2, 0.5},
		{"fifty threads share two", 50, 360 * time.Millisecond, 50, 0.9},
		{"on two machines", 50, 360 * time.Millisecond, 25, 0.45},
	} {
		before, after := Threads{at: begin}, Threads{at: begin.Add(10 * time.Second)}
		for i := range tt.threads {
			where := thread{cpus: 2}
			if i >= tt.here {
				where.machine = "elsewhere"
			}
			before.cpu = append(before.cpu, where)
			where.used = tt.used
			after.cpu = append(after.cpu, where)
		}
		if got := after.busySince(before); got < tt.want-0.001 || got > tt.want+0.001 {
			t.Errorf("%s: busy %.3f, want %.3f", tt.name, got, tt.want)
		}
	}
}
