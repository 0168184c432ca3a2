package report

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Group is one or more runs of the same thing.
type Group struct {
	Name string
	Runs []*Result
}

// ReadGroup reads results that -json wrote, from files with commas between them.
func ReadGroup(names string) (Group, error) {
	g := Group{Name: strings.TrimSuffix(filepath.Base(names), ".json")}
	for name := range strings.SplitSeq(names, ",") {
		text, err := os.ReadFile(name)
		if err != nil {
			return g, err
		}
		runs, err := readRuns(text)
		if err != nil {
			return g, fmt.Errorf("%s: %w", name, err)
		}
		g.Runs = append(g.Runs, runs...)
	}
	if n := g.Runs[0].Name; n != "" {
		g.Name = n
	}
	return g, nil
}

func readRuns(text []byte) (runs []*Result, err error) {
	if err := json.Unmarshal(text, &runs); err != nil {
		one := new(Result)
		if err := json.Unmarshal(text, one); err != nil {
			return nil, err
		}
		runs = []*Result{one}
	}
	for _, r := range runs {
		if r == nil || r.Schema != Schema || r.Kind != "load" {
			return nil, fmt.Errorf("not a result of bench with schema %d and kind load", Schema)
		}
	}
	if len(runs) == 0 {
		return nil, fmt.Errorf("no runs in it")
	}
	return runs, nil
}

// Comparison is groups of runs side by side, the first being what the others are compared with.
type Comparison struct {
	Groups  []Group
	Figures []*Figure // of all groups but the first, against it
}

// comparedMetrics are the figures that compare shows, in this order; more is better where so.
var comparedMetrics = []struct {
	what, metric string
	moreIsBetter bool
}{
	{"connecting", "ramp", false},
	{"connect p99", "connect_p99", false},
	{"latency p50", "p50", false},
	{"latency p99", "p99", false},
	{"latency p99.9", "p99.9", false},
	{"last subscriber p50", "last_p50", false},
	{"deliveries/s", "deliveries_per_s", true},
	{"lost", "lost", false},
	{"CPU per delivery", "cpu_per_delivery", false},
	{"RSS per connection", "rss_per_conn", false},
	{"storm, 99 % back", "storm99", false},
}

// values are a metric of all runs that count: the figures of an invalid one are bench's own.
func (g *Group) values(m metric) (values []float64) {
	for _, r := range g.Runs {
		if v, ok := m.value(r); ok && r.Valid {
			values = append(values, v)
		}
	}
	return values
}

// label names a group with the number of its runs.
func (g *Group) label() string { return fmt.Sprintf("%s (n=%d)", g.Name, len(g.Runs)) }

// Compare puts groups side by side. A median that is worse than the first group's by more than is allowed fails, unless
// the repeats overlap.
func Compare(groups []Group, allowed float64) *Comparison {
	c := &Comparison{Groups: groups}
	base := &groups[0]
	for _, shown := range comparedMetrics {
		m := metrics[shown.metric]
		before := base.values(m)
		if len(groups) == 1 && len(before) > 0 {
			c.Figures = append(c.Figures, (&Figure{What: shown.what, Of: base.label(), Unit: m.unit, Values: before}).Judge())
		}
		for i := range groups[1:] {
			after := groups[i+1].values(m)
			f := &Figure{What: shown.what, Of: groups[i+1].label(), Unit: m.unit, Values: after, Against: base.label(), Base: before, OnRatio: true}
			if f.Judge(); f.Ratio.N == 0 {
				continue
			}
			if f.Op, f.Hold = "<=", 1+allowed; shown.moreIsBetter {
				f.Op, f.Hold = ">=", 1-allowed
			}
			switch {
			case len(f.Values) == 1 || len(f.Base) == 1:
				f.Note = "n=1, no confidence"
			case f.byChance() && f.Ratio.Median != 1:
				f.Note = "within the spread"
			}
			c.Figures = append(c.Figures, f.Judge())
		}
	}
	return c
}

// Comparable reports whether every group has a run that counts.
func (c *Comparison) Comparable() bool {
	for _, g := range c.Groups {
		if len(g.values(metrics["ramp"])) == 0 {
			return false
		}
	}
	return true
}

// notes say which runs do not count, and which were asked for something else.
func (c *Comparison) notes() (notes []string) {
	asked := c.Groups[0].Runs[0].Load
	for _, g := range c.Groups {
		for i, r := range g.Runs {
			if !r.Valid {
				notes = append(notes, fmt.Sprintf("run %d of %s is invalid and does not count", i+1, g.Name))
			}
			if r.Load != asked {
				notes = append(notes, fmt.Sprintf("run %d of %s had another load than the first of all: %s", i+1, g.Name, describeLoad(r.Load)))
			}
		}
	}
	return notes
}

// Print writes the comparison for people.
func (c *Comparison) Print(w io.Writer) {
	PrintFigures(w, c.Figures)
	for _, note := range c.notes() {
		fmt.Fprintf(w, "NOTE  %s\n", note)
	}
}
