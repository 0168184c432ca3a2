package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Figure is a number and the demand on it: by the run's own verdict, -slo, compare, or -vs-floor.
// Whatever bench judges is one of these. [Figure.Judge] works out Value, Ratio and Status, and [PrintFigures] writes all.
type Figure struct {
	What    string    `json:"what"`
	Metric  string    `json:"metric,omitempty"` // its name in -slo
	Of      string    `json:"of,omitempty"`     // whose it is, when there are several
	Unit    Unit      `json:"unit,omitempty"`
	Values  []float64 `json:"values,omitempty"`     // one a run
	Against string    `json:"against,omitempty"`    // what it is compared with
	Base    []float64 `json:"baseValues,omitempty"` // of that
	Paired  bool      `json:"paired,omitempty"`     // values and baseValues were taken in turn: each has its neighbour

	Op      string  `json:"op,omitempty"` // < <= > >= =; empty: nothing is demanded
	Hold    float64 `json:"hold"`
	Aim     float64 `json:"aim,omitempty"`
	OnRatio bool    `json:"onRatio,omitempty"` // hold and aim are of the ratio, not of the value

	Value     Spread `json:"value"`
	BaseValue Spread `json:"baseValue"`
	Ratio     Spread `json:"ratio"` // value to baseValue
	Status    Status `json:"status,omitempty"`
	Note      string `json:"note,omitempty"`
}

// Unit is what a figure counts.
type Unit string

// Units.
const (
	Count   Unit = ""
	Time    Unit = "us"
	Bytes   Unit = "B"
	Rate    Unit = "/s"
	Frames  Unit = "frames/write"
	Batches Unit = "publications/batch"
)

// Status is what became of a demand.
type Status string

// Statuses.
const (
	Told    Status = "" // nothing was demanded
	OK      Status = "ok"
	Fail    Status = "fail"
	Invalid Status = "invalid" // the figure may be bench's own as much as the server's
)

// Spread is what the repeats of a figure were.
type Spread struct {
	Min    float64 `json:"min"`
	Median float64 `json:"median"`
	Max    float64 `json:"max"`
	N      int     `json:"n"`
}

func spreadOf(values []float64) Spread {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n == 0 {
		return Spread{}
	}
	return Spread{Min: sorted[0], Median: (sorted[(n-1)/2] + sorted[n/2]) / 2, Max: sorted[n-1], N: n}
}

// Judge looks whether the figure is what is demanded, and returns it. A status that is there already stays.
func (f *Figure) Judge() *Figure {
	f.Value, f.BaseValue = spreadOf(f.Values), spreadOf(f.Base)
	f.Ratio = spreadOf(f.ratios())
	judged := f.Value
	if f.OnRatio {
		judged = f.Ratio
	}
	switch {
	case f.Op == "" || f.Status != Told:
	case judged.N == 0:
		f.Status, f.Note = Fail, "not measured"
	case f.holds(judged.Median) || f.byChance():
		f.Status = OK
	default:
		f.Status = Fail
	}
	return f
}

// ratios are those of neighbours, or, of runs that are not paired, that of the medians.
func (f *Figure) ratios() (all []float64) {
	values, base := f.Values, f.Base
	if !f.Paired {
		if f.Value.N == 0 || f.BaseValue.N == 0 {
			return nil
		}
		values, base = []float64{f.Value.Median}, []float64{f.BaseValue.Median}
	}
	for i := range min(len(values), len(base)) {
		switch {
		case base[i] > 0:
			all = append(all, values[i]/base[i])
		case !f.Paired && values[i] == 0:
			all = append(all, 1)
		case !f.Paired:
			all = append(all, 2) // from nothing to something
		}
	}
	return all
}

func (f *Figure) holds(v float64) bool {
	switch f.Op {
	case "<":
		return v < f.Hold
	case "<=":
		return v <= f.Hold
	case ">":
		return v > f.Hold
	case ">=":
		return v >= f.Hold
	default:
		return v == f.Hold
	}
}

// byChance reports whether repeats that are not paired overlap: then their medians may differ by chance.
func (f *Figure) byChance() bool {
	return f.OnRatio && !f.Paired && f.Value.Min <= f.BaseValue.Max && f.BaseValue.Min <= f.Value.Max
}

// Found is the value for people.
func (f *Figure) Found() string {
	if f.Value.N == 0 {
		return f.Note
	}
	return f.Unit.text(f.Value.Median)
}

func (u Unit) text(v float64) string {
	switch u {
	case Time:
		if v < 1000 {
			return fmt.Sprintf("%.2f us", v)
		}
		return micros(int64(v))
	case Bytes:
		return fmt.Sprintf("%.0f B", v)
	case Frames, Batches:
		return fmt.Sprintf("%.2f", v)
	default:
		return Thousands(int64(v)) + string(u)
	}
}

// spread writes what repeats were; nothing when there is one.
func (f *Figure) spread() string {
	switch {
	case f.Ratio.N > 1:
		return fmt.Sprintf("%.2f … %.2f", f.Ratio.Min, f.Ratio.Max)
	case f.Value.N > 1:
		return f.Unit.text(f.Value.Min) + " … " + f.Unit.text(f.Value.Max)
	default:
		return ""
	}
}

// bound writes hold or aim with its direction.
func (f *Figure) bound(v float64) string {
	switch {
	case f.Op == "":
		return ""
	case f.OnRatio:
		return fmt.Sprintf("%s %g", f.Op, v)
	default:
		return f.Op + " " + f.Unit.text(v)
	}
}

func (f *Figure) cells() []string {
	ratio, base := "", ""
	if f.Ratio.N > 0 {
		ratio = fmt.Sprintf("%.2f", f.Ratio.Median)
	}
	if f.BaseValue.N > 0 {
		base = f.Unit.text(f.BaseValue.Median)
	}
	aim := ""
	if f.Aim != 0 {
		aim = f.bound(f.Aim)
	}
	found := f.Found()
	if found == f.Note {
		found = ""
	}
	return []string{strings.ToUpper(string(f.Status)), f.What, f.Of, found, f.Against, base, ratio, f.spread(), f.bound(f.Hold), aim, f.Note}
}

// figureTable is the figures as rows of cells, the head first; columns in which nothing stands are left out.
func figureTable(figures []*Figure) [][]string {
	rows := make([][]string, 1, 1+len(figures))
	rows[0] = []string{"", "measured", "of", "found", "against", "there", "ratio", "spread", "hold", "aim", ""}
	for _, f := range figures {
		rows = append(rows, f.cells())
	}
	for column := range slices.Backward(slices.Clone(rows[0])) {
		if slices.ContainsFunc(rows[1:], func(row []string) bool { return row[column] != "" }) {
			continue
		}
		for i := range rows {
			rows[i] = slices.Delete(rows[i], column, column+1)
		}
	}
	return rows
}

// PrintFigures writes figures for people, a line each.
func PrintFigures(w io.Writer, figures []*Figure) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range figureTable(figures) {
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	_ = tw.Flush() // the writer under it keeps its error, and stdout has nobody to tell
}

// Any reports whether one of the figures has this status.
func Any(figures []*Figure, status Status) bool {
	return slices.ContainsFunc(figures, func(f *Figure) bool { return f.Status == status })
}
