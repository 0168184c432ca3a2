package report

import (
	"math"
	"testing"
)

func TestFigureIsJudgedByItsMedian(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		f      Figure
		median float64 // of the value
		ratio  float64
		status Status
	}{
		{"nothing is demanded", Figure{Values: []float64{3, 1, 2}}, 2, 0, Told},
		{"value holds", Figure{Values: []float64{9, 1, 2}, Op: "<=", Hold: 2}, 2, 0, OK},
		{"value misses", Figure{Values: []float64{9, 1, 3}, Op: "<", Hold: 3}, 3, 0, Fail},
		{"not measured", Figure{Op: "<", Hold: 3}, 0, 0, Fail},
		{"a status stays", Figure{Values: []float64{1}, Op: "<", Hold: 3, Status: Invalid}, 1, 0, Invalid},
		{"ratio of neighbours holds", Figure{Paired: true, OnRatio: true, Op: "<=", Hold: 1.25, Base: []float64{8, 10, 8}, Values: []float64{8, 20, 10}}, 10, 1.25, OK},
		{"ratio of neighbours misses", Figure{Paired: true, OnRatio: true, Op: "<=", Hold: 1.25, Base: []float64{8, 10, 8}, Values: []float64{8, 20, 12}}, 12, 1.5, Fail},
		{"more is better", Figure{Paired: true, OnRatio: true, Op: ">=", Hold: 0.63, Base: []float64{100, 100}, Values: []float64{50, 75}}, 62.5, 0.625, Fail},
		{"a floor that used nothing has no ratio", Figure{Paired: true, OnRatio: true, Op: "<=", Hold: 1, Base: []float64{0}, Values: []float64{1}}, 1, 0, Fail},
		{"the value decides, the ratio is told", Figure{Paired: true, Op: "<=", Hold: 0.4, Base: []float64{0.5, 0, 0.7, 0.4}, Values: []float64{0.625, 0.3, 0.875, 0.5}}, 0.5625, 1.25, Fail},
		{"repeats that overlap may differ by chance", Figure{OnRatio: true, Op: "<=", Hold: 1.1, Base: []float64{1, 1.2}, Values: []float64{1.2, 1.6}}, 1.4, 1.4 / 1.1, OK},
		{"repeats that do not", Figure{OnRatio: true, Op: "<=", Hold: 1.1, Base: []float64{1, 1.2}, Values: []float64{1.3, 1.5}}, 1.4, 1.4 / 1.1, Fail},
		{"from nothing to something", Figure{OnRatio: true, Op: "<=", Hold: 1.1, Base: []float64{0}, Values: []float64{1}}, 1, 2, Fail},
	} {
		f := tt.f.Judge()
		if f.Value.Median != tt.median || math.Abs(f.Ratio.Median-tt.ratio) > 1e-9 || f.Status != tt.status {
			t.Errorf("%s: median %v, ratio %v, %q, want %v, %v, %q", tt.name, f.Value.Median, f.Ratio.Median, f.Status, tt.median, tt.ratio, tt.status)
		}
	}
}
