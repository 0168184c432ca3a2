package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/carillon-ws/carillon/bench/coordinator"
	"github.com/carillon-ws/carillon/bench/host"
	"github.com/carillon-ws/carillon/bench/report"
)

// runOf is one run of all servers, in which bench kept up with every step but one on the joined floor.
func runOf(failed string) map[string]*sample {
	run := map[string]*sample{}
	for _, server := range []string{oneWrite, joined, "gateway"} {
		s := &sample{connect: &host.Cost{Each: 40}, rss: 650, steps: map[string]*stepSample{}}
		for _, sc := range scenarios(10_000, 128) {
			for _, st := range sc.steps {
				s.steps[st.name] = &stepSample{
					perSecond: 100_000, cost: &host.Cost{Each: 8, User: 0.2}, frames: 4, batch: 30,
				}
				if st.name == failed && server == joined {
					s.steps[st.name].late = late{cost: "asleep"}
				}
			}
		}
		run[server] = s
	}
	run["gateway"].steps["4 in flight"].cost = &host.Cost{Each: 10}
	return run
}

func TestVersusNamesTheFloorsMode(t *testing.T) {
	t.Parallel()
	for loops, want := range map[int]report.Status{1: report.Fail, 2: report.OK} { // 10 us against 8
		found := 0
		for _, c := range criteria(loops) {
			c.add(runOf(""))
			f := c.judge(1)
			if f.Against == "" != (f.Unit == report.Bytes) {
				t.Errorf("%s: against %q", f.What, f.Against)
			}
			if f.What == "CPU per delivery, 4 in flight" && f.Against == joined {
				found++
				if f.Status != want || f.Ratio.Median != 1.25 {
					t.Errorf("%d loops: %s is %+v, want %s", loops, f.What, f, want)
				}
			}
		}
		if found != 1 {
			t.Errorf("%d loops: %d figures of 4 in flight against the joined floor, want 1", loops, found)
		}
	}
}

// A step in which bench did not keep up, on either server, says nothing about the gateway.
func TestVersusDoesNotCountWhatBenchWasLateFor(t *testing.T) {
	t.Parallel()
	all := criteria(1)
	for i := range all {
		c := &all[i]
		for _, failed := range []string{"", "24 in flight", "24 in flight"} {
			c.add(runOf(failed))
		}
		f := c.judge(3)
		affected, want := strings.HasSuffix(f.What, "24 in flight") && f.Against == joined, 3
		if affected {
			want = 1
		}
		if len(f.Values) != want || (f.Status == report.Invalid) != (affected && f.Op != "") {
			t.Errorf("%s against %s: %d values, %q, want %d", f.What, f.Against, len(f.Values), f.Status, want)
		}
	}
}

// Each figure is judged by what bench's lag could have changed in it.
func TestVersusJudgesALagByTheFigure(t *testing.T) {
	t.Parallel()
	broadcast, few, open := step{Load: coordinator.Load{Inflight: 4}}, step{Load: coordinator.Load{Inflight: 200}, few: true}, step{Load: coordinator.Load{Rate: 200}, few: true}
	for _, tt := range []struct {
		name             string
		st               *step
		busy, idle       float64
		lag              int64
		throughput, cost bool
	}{
		{"kept up", &few, 0.8, 0.1, 0, true, true},
		{"readers have no CPU left", &few, 0.9, 0.1, 0, false, true},
		{"a third of the places empty", &few, 0.5, 0.33, 0, false, true},
		{"most places empty", &few, 0.5, 0.6, 0, false, false},
		{"most places empty, of a broadcast", &broadcast, 0.5, 0.6, 0, false, true},
		{"published late", &open, 0.1, 0, 4_000, true, true},
		{"published late, and so together", &open, 0.1, 0, 6_000, true, false},
	} {
		l := tt.st.lateness(&report.Phase{Busiest: tt.busy, Result: &report.Delivered{Idle: tt.idle, PublisherLag: report.Latency{P99: tt.lag}}})
		if (l.throughput == "") != tt.throughput || (l.cost == "") != tt.cost {
			t.Errorf("%s: %+v, want throughput to count %v, cost %v", tt.name, l, tt.throughput, tt.cost)
		}
	}
}

func TestVersusReport(t *testing.T) {
	t.Parallel()
	r := &vsResult{Connections: 10000, Redis: "own", Runs: 1}
	for _, c := range criteria(1) {
		c.add(runOf(""))
		r.Figures = append(r.Figures, c.judge(1))
	}
	var out bytes.Buffer
	printVersus(&out, r)
	for _, want := range []string{"one in flight", "100,000/s", "floor, joined", "floor, one write", ">= 0.85", "<= 1.15", "OK", "FAIL", "650 B", "frames per write", "publications per batch"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &out)
		}
	}
}
