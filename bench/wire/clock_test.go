package wire

import "testing"

func TestClocksAgree(t *testing.T) {
	t.Parallel()
	for range 50 {
		a, b := NewClock(), NewClock()
		before := a.Now()
		there := b.Now()
		after := a.Now()
		// Two of them are as far apart as one reading of the kernel's clock may be wrong.
		const slack = 20_000
		if there < before-slack || there > after+slack {
			t.Fatalf("a clock made later reads %d between %d and %d of the first", there, before, after)
		}
	}
}
