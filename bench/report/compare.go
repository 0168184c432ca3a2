package report

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
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

// Spread is what the repeats of a run had as one figure.
type Spread struct {
	Min, Median, Max float64
	N                int
}

func spreadOf(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	slices.Sort(values)
	n := len(values)
	return Spread{Min: values[0], Median: (values[(n-1)/2] + values[n/2]) / 2, Max: values[n-1], N: n}
}

// Comparison is groups of runs side by side, the first being what the others are compared with.
type Comparison struct {
	Groups  []Group
	Rows    []Compared
	Allowed float64
}

// Compared is one figure of all groups.
type Compared struct {
	What    string
	Metric  string
	Spreads []Spread
	Deltas  []float64 // of the medians, relative to the first group's
	Worse   []bool    // by more than is allowed, and not by chance as far as the repeats can tell
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

// Compare puts groups side by side. Invalid runs do not count: their figures are bench's own.
func Compare(groups []Group, allowed float64) *Comparison {
	c := &Comparison{Groups: groups, Allowed: allowed}
	for _, m := range comparedMetrics {
		row := Compared{What: m.what, Metric: m.metric}
		for _, g := range groups {
			var values []float64
			for _, r := range g.Runs {
				if v, ok := metrics[m.metric].value(r); ok && r.Valid {
					values = append(values, v)
				}
			}
			row.add(spreadOf(values), m.moreIsBetter, allowed)
		}
		if slices.ContainsFunc(row.Spreads, func(s Spread) bool { return s.N > 0 }) {
			c.Rows = append(c.Rows, row)
		}
	}
	return c
}

func (c *Compared) add(s Spread, moreIsBetter bool, allowed float64) {
	c.Spreads = append(c.Spreads, s)
	base, delta, worse := c.Spreads[0], 0.0, false
	if s.N > 0 && base.N > 0 {
		switch {
		case base.Median != 0:
			delta = s.Median/base.Median - 1
		case s.Median > 0:
			delta = 1 // from nothing to something
		}
		apart := s.Min > base.Max
		worse = delta > allowed
		if moreIsBetter {
			apart, worse = s.Max < base.Min, -delta > allowed
		}
		worse = worse && apart
	}
	c.Deltas, c.Worse = append(c.Deltas, delta), append(c.Worse, worse)
}

// Regressed reports whether anything is worse than it may be.
func (c *Comparison) Regressed() bool {
	return slices.ContainsFunc(c.Rows, func(r Compared) bool { return slices.Contains(r.Worse, true) })
}

// Comparable reports whether every group has a run that counts.
func (c *Comparison) Comparable() bool {
	return !slices.ContainsFunc(c.Groups, func(g Group) bool {
		return !slices.ContainsFunc(g.Runs, func(r *Result) bool { return r.Valid })
	})
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

// cells are the comparison as a table, its head first.
func (c *Comparison) cells() (rows [][]string) {
	head := []string{"min / median / max"}
	for i, g := range c.Groups {
		head = append(head, fmt.Sprintf("%s (n=%d)", g.Name, len(g.Runs)))
		if i > 0 {
			head = append(head, "change")
		}
	}
	rows = append(rows, head)
	for _, r := range c.Rows {
		cells := []string{r.What}
		for i, s := range r.Spreads {
			cells = append(cells, s.text(metrics[r.Metric].unit))
			if i > 0 {
				cells = append(cells, r.change(i))
			}
		}
		rows = append(rows, cells)
	}
	return rows
}

// Print writes the comparison for people.
func (c *Comparison) Print(w io.Writer) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range c.cells() {
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	_ = tw.Flush() // the writer under it keeps its error, and stdout has nobody to tell
	for _, note := range c.notes() {
		fmt.Fprintf(w, "NOTE  %s\n", note)
	}
}

// change says how much a median moved, and how sure that is.
func (c *Compared) change(i int) string {
	s, base := c.Spreads[i], c.Spreads[0]
	if s.N == 0 || base.N == 0 {
		return ""
	}
	text := fmt.Sprintf("%+.1f %%", 100*c.Deltas[i])
	switch {
	case c.Worse[i]:
		text += " WORSE"
	case s.N > 1 && base.N > 1 && s.Min <= base.Max && base.Min <= s.Max && c.Deltas[i] != 0:
		text += " within the spread"
	}
	if s.N == 1 || base.N == 1 {
		text += " (n=1, no confidence)"
	}
	return text
}

func (s Spread) text(u unit) string {
	if s.N == 0 {
		return "-"
	}
	one := func(v float64) string {
		switch {
		case u.isTime() && v < 1000:
			return fmt.Sprintf("%.2f us", v)
		case u.isTime():
			return micros(int64(v))
		case u == unitBytes:
			return fmt.Sprintf("%.0f B", v)
		default:
			return Thousands(int64(v))
		}
	}
	if s.N == 1 {
		return one(s.Median)
	}
	return one(s.Min) + " / " + one(s.Median) + " / " + one(s.Max)
}
