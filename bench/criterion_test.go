package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/carillon-ws/carillon/bench/host"
)

func TestCriterionJudgesTheMedian(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name           string
		c              criterion
		floor, gateway []float64
		median         float64
		pass           bool
	}{
		{"ratio holds", criterion{Hold: 1.25}, []float64{8, 10, 8}, []float64{8, 20, 10}, 1.25, true},
		{"ratio misses", criterion{Hold: 1.25}, []float64{8, 10, 8}, []float64{8, 20, 12}, 1.5, false},
		{"more is better", criterion{Hold: 0.625, AtLeast: true}, []float64{100, 100}, []float64{50, 75}, 0.625, true},
		{"more is better, misses", criterion{Hold: 0.63, AtLeast: true}, []float64{100, 100}, []float64{50, 75}, 0.625, false},
		{"absolute", criterion{Hold: 1300, Absolute: true}, []float64{60}, []float64{1301}, 1301, false},
	} {
		c := compared{criterion: tt.c}
		for i := range tt.floor {
			c.add(tt.floor[i], tt.gateway[i])
		}
		if c.Median != tt.median || c.Pass != tt.pass {
			t.Errorf("%s: median %v, pass %v, want %v, %v", tt.name, c.Median, c.Pass, tt.median, tt.pass)
		}
	}
}

// What is held to an absolute bound has its ratio beside it; a floor that used nothing has none.
func TestAbsoluteCriterionTellsItsRatio(t *testing.T) {
	t.Parallel()
	c := compared{criterion: criterion{Absolute: true, Hold: 0.4}}
	for _, run := range [][2]float64{{0.5, 0.6}, {0, 0.3}, {0.7, 0.9}, {0.4, 0.5}} {
		c.add(run[0], run[1])
	}
	if c.Ratio < 1.24 || c.Ratio > 1.26 || c.Median != 0.55 || c.Pass {
		t.Errorf("ratio %.3f, median %.3f, pass %v, want 1.25, 0.55, false", c.Ratio, c.Median, c.Pass)
	}
}

func TestVersusReport(t *testing.T) {
	t.Parallel()
	step := stepSample{perSecond: 100_000, cost: &host.Cost{Each: 8, User: 0.2}}
	s := &sample{connect: &host.Cost{Each: 40}, rss: 700, steps: []stepSample{step, step, step}}
	r := &vsResult{Connections: 10000, Redis: "own", Runs: 1}
	for _, c := range criteria() {
		compared := &compared{criterion: c}
		compared.add(c.value(s, s), c.value(s, s))
		r.Criteria = append(r.Criteria, compared)
	}
	var out bytes.Buffer
	printVersus(&out, r)
	for _, want := range []string{"one in flight", "100,000/s", "1.00 … 1.00", ">= 0.85", "<= 0.3", "PASS", "FAIL", "700 B"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &out)
		}
	}
}
