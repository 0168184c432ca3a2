package report

import (
	"math"
	"slices"
	"strconv"
)

// drawing is everything that charts.js needs to draw the charts of a page. Its JSON goes into the page.
type drawing struct {
	Phases []band  `json:"phases,omitempty"` // shown behind every chart over time
	Charts []chart `json:"charts"`
}

// band is a phase: a stretch of the time axis with a name.
type band struct {
	Name string `json:"name"`
	From number `json:"from"`
	To   number `json:"to"`
}

// chart is what one chart shows.
type chart struct {
	Title string   `json:"title"`
	Note  string   `json:"note,omitempty"`
	X     xAxis    `json:"x"`
	Steps []string `json:"steps,omitempty"` // the names of 0, 1, 2 … on the axis of xSteps
	Y     quantity `json:"y"`
	Log   bool     `json:"log,omitempty"` // whether the y axis is logarithmic
	Lines []line   `json:"lines"`
}

// xAxis is what a chart has from left to right.
type xAxis string

const (
	xSeconds    xAxis = "seconds"    // since the run began
	xPercentile xAxis = "percentile" // nines: 90 % is at 1, 99 % at 2
	xSteps      xAxis = "steps"      // a few points that have names
)

// quantity is what a chart has from bottom to top. It decides how charts.js writes the values.
type quantity string

const (
	yCount  quantity = "count"
	yCores  quantity = "cores"
	yMicros quantity = "us"
	yBytes  quantity = "bytes"
)

// line is one curve of a chart. Lines of the same name belong together: the page's legend lists them once.
type line struct {
	Name   string   `json:"name"`
	Color  int      `json:"color"` // one of the page's colours, from 1
	Dashed bool     `json:"dashed,omitempty"`
	X      []number `json:"px"`
	Y      []number `json:"py"`
}

// number is a value of a chart. One that nothing can show (NaN, infinite, below zero) is null in the JSON, which is a gap
// in the line.
type number float64

// unknown is the value of a gap.
var unknown = number(math.NaN())

func (n number) shown() bool { return n >= 0 && !math.IsInf(float64(n), 0) }

// MarshalJSON writes as many digits as a chart can show.
func (n number) MarshalJSON() ([]byte, error) {
	if !n.shown() {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, float64(n), 'g', 7, 64), nil
}

// add appends a point. A point without a place on the x axis, or not to the right of the one before it, is left out.
func (l *line) add(x, y number) {
	if n := len(l.X); !x.shown() || (n > 0 && x <= l.X[n-1]) {
		return
	}
	l.X, l.Y = append(l.X, x), append(l.Y, y)
}

// has reports whether a value of the line is as wanted.
func (l *line) has(want func(number) bool) bool { return slices.ContainsFunc(l.Y, want) }

// kept returns the charts that have something to show, with only the lines that do.
func kept(charts []chart) []chart {
	for i := range charts {
		c := &charts[i]
		c.Lines = slices.DeleteFunc(c.Lines, func(l line) bool {
			return !l.has(func(y number) bool { return y.shown() && (y > 0 || !c.Log) })
		})
	}
	return slices.DeleteFunc(charts, func(c chart) bool { return len(c.Lines) == 0 })
}
