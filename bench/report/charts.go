package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot/plotter"
)

// chartsOf are the charts of a page: of one run in depth, of several side by side.
func chartsOf(groups []Group) (charts []*chart, err error) {
	if len(groups) == 1 && len(groups[0].Runs) == 1 {
		charts = chartsOfRun(groups[0].Runs[0])
	} else {
		charts = chartsOfMany(groups)
	}
	kept := charts[:0]
	for _, c := range charts {
		c.Lines = slices.DeleteFunc(c.Lines, func(l line) bool { return len(l.points) == 0 })
		if !c.hasData() {
			continue
		}
		if err := c.draw(); err != nil {
			return nil, err
		}
		kept = append(kept, c)
	}
	return kept, nil
}

func (c *chart) hasData() bool {
	for _, l := range c.Lines {
		if len(l.points) > 1 {
			return true
		}
	}
	return false
}

func chartsOfRun(r *Result) []*chart {
	bands := bandsOf(r)
	over := func(name string, color int, value func(*Second) float64) line {
		return line{Name: name, Color: color, points: overTime(r, value)}
	}
	charts := []*chart{
		{
			Title: "Connections", x: "seconds", bands: bands, yLabel: short,
			Lines: []line{over("connected", 1, func(s *Second) float64 { return float64(s.Connected) })},
		},
		{
			Title: "Deliveries a second", x: "seconds", bands: bands, yLabel: short,
			Lines: []line{over("deliveries/s", 2, func(s *Second) float64 { return s.Deliveries })},
		},
	}
	if r.Valid {
		charts = append(charts, &chart{
			Title: "Latency over time", Note: "of the deliveries of each second, from the intended time of sending",
			x: "seconds", bands: bands, logY: true, yLabel: microLabel,
			Lines: []line{
				over("max", 3, func(s *Second) float64 { return float64(s.Max) }),
				over("p99", 2, func(s *Second) float64 { return float64(s.P99) }),
				over("p50", 1, func(s *Second) float64 { return float64(s.P50) }),
			},
		}, &chart{
			Title: "Latency by percentile", Note: "HdrHistogram; each phase a curve, each step to the right a nine more",
			percentile: true, x: "percentile", logY: true, yLabel: microLabel, Lines: curvesOf(r),
		}, spreadChart(r))
	}
	return append(charts,
		&chart{
			Title: "CPU", Note: "cores kept busy", x: "seconds", bands: bands, yLabel: decimal,
			Lines: []line{over("gateways", 1, func(s *Second) float64 { return s.Cores }), over("bench", 4, func(s *Second) float64 { return s.Bench })},
		},
		&chart{
			Title: "Memory of the gateways, per connection", Note: "resident, beyond what they took before the first one",
			x: "seconds", bands: bands, yLabel: func(v float64) string { return fmt.Sprintf("%.0f B", v) },
			Lines: []line{{Name: "RSS", Color: 1, points: rssEach(r)}},
		},
		&chart{
			Title: "Memory of the gateways", x: "seconds", bands: bands, yLabel: mebiLabel,
			Lines: []line{
				over("RSS", 1, func(s *Second) float64 { return float64(s.RSS) / (1 << 20) }),
				over("heap in use", 2, func(s *Second) float64 { return s.Heap / (1 << 20) }),
			},
		},
		&chart{
			Title: "Garbage collection", Note: "time that the first gateway was stopped for it, in all", x: "seconds", bands: bands,
			yLabel: func(v float64) string { return fmt.Sprintf("%.1f ms", v) },
			Lines:  []line{over("stopped", 3, func(s *Second) float64 { return s.GCPause * 1e3 })},
		},
	)
}

// chartsOfMany puts runs on the same axes: a colour each group, a curve each run.
func chartsOfMany(groups []Group) []*chart {
	curve := &chart{
		Title: "Latency by percentile", Note: "steady, or the last phase that published; a curve each run",
		percentile: true, x: "percentile", logY: true, yLabel: microLabel,
	}
	over := &chart{Title: "p99 over time", x: "seconds", logY: true, yLabel: microLabel}
	up := &chart{Title: "Connections", x: "seconds", yLabel: short}
	cores := &chart{Title: "CPU of the gateways", Note: "cores kept busy", x: "seconds", yLabel: decimal}
	memory := &chart{Title: "Memory of the gateways", Note: "resident", x: "seconds", yLabel: mebiLabel}
	for i, g := range groups {
		for n, r := range g.Runs {
			name := g.Name
			if n > 0 {
				name = ""
			}
			add := func(to *chart, points plotter.XYs) {
				to.Lines = append(to.Lines, line{Name: name, Color: i%paletteSize + 1, Dashed: n > 0, points: points})
			}
			add(up, overTime(r, func(s *Second) float64 { return float64(s.Connected) }))
			add(cores, overTime(r, func(s *Second) float64 { return s.Cores }))
			add(memory, overTime(r, func(s *Second) float64 { return float64(s.RSS) / (1 << 20) }))
			if r.Valid {
				add(over, overTime(r, func(s *Second) float64 { return float64(s.P99) }))
				add(curve, curvePoints(mainCurve(r)))
			}
		}
	}
	return []*chart{curve, over, up, cores, memory}
}

// paletteSize is how many colours the page has for lines.
const paletteSize = 8

func bandsOf(r *Result) (all []band) {
	for _, p := range r.Phases {
		all = append(all, band{p.Name, p.Begin, p.End})
	}
	return all
}

// overTime leaves out seconds in which there was nothing to measure, where 0 would be a lie.
func overTime(r *Result, value func(*Second) float64) (points plotter.XYs) {
	for i := range r.Series {
		s := &r.Series[i]
		if v := value(s); v > 0 || (v == 0 && s.P50 == 0 && s.Max == 0) {
			points = append(points, plotter.XY{X: s.At, Y: v})
		}
	}
	for _, p := range points {
		if p.Y > 0 {
			return points
		}
	}
	return nil
}

// rssEach is the gateways' memory a connection, of as many as there ever were: what it takes does not shrink at once.
func rssEach(r *Result) (points plotter.XYs) {
	start, most := rssAtStart(r), 0
	for i := range r.Series {
		s := &r.Series[i]
		if most = max(most, s.Connected); start > 0 && s.RSS > start && most >= r.Load.Connections/10 {
			points = append(points, plotter.XY{X: s.At, Y: float64(s.RSS-start) / float64(most)})
		}
	}
	return points
}

func rssAtStart(r *Result) int64 {
	if r.Server != nil && r.Server.RSSBefore > 0 {
		return r.Server.RSSBefore
	}
	return 0
}

func curvesOf(r *Result) (lines []line) {
	for _, p := range r.Phases {
		if p.Result != nil && len(p.Curve) > 1 {
			lines = append(lines, line{Name: p.Name, Color: len(lines)%paletteSize + 1, points: curvePoints(p.Curve)})
		}
	}
	return lines
}

// mainCurve is that of the phase that latencies are told of.
func mainCurve(r *Result) (curve []Point) {
	for _, p := range r.Phases {
		if p.Result == nil {
			continue
		}
		if curve = p.Curve; p.Name == "steady" {
			break
		}
	}
	return curve
}

func curvePoints(curve []Point) (points plotter.XYs) {
	for _, p := range curve {
		x := nines(p.Percentile)
		if math.IsInf(x, 1) { // the largest of all: a step behind the last percentile
			x = 0.1
			if n := len(points); n > 0 {
				x = points[n-1].X + 0.1
			}
		}
		points = append(points, plotter.XY{X: x, Y: max(float64(p.Us), 1)})
	}
	return points
}

// spreadChart shows of each phase how long after its time a publication reached the first, the median and the last
// subscriber.
func spreadChart(r *Result) *chart {
	c := &chart{
		Title: "Spread of the fan-out", Note: "when a publication reaches its first, its median and its last subscriber (medians), and the last of all",
		logY: true, yLabel: microLabel,
	}
	for _, p := range r.Phases {
		d := p.Result
		if d == nil || d.Last.Count == 0 {
			continue
		}
		n := len(c.Lines)
		c.Lines = append(c.Lines, line{Name: p.Name, Color: n%paletteSize + 1, points: plotter.XYs{
			{X: 0, Y: atLeastOne(d.First.P50)}, {X: 1, Y: atLeastOne(d.Delivery.P50)}, {X: 2, Y: atLeastOne(d.Last.P50)}, {X: 3, Y: atLeastOne(d.Last.Max)},
		}})
	}
	c.categories = []string{"first", "median", "last", "last, worst"}
	return c
}

func atLeastOne(us int64) float64 { return max(float64(us), 1) }

// Labels of the axes.

func short(v float64) string {
	switch {
	case v >= 1e6:
		return strconv.FormatFloat(v/1e6, 'f', -1, 64) + "M"
	case v >= 1e3:
		return strconv.FormatFloat(v/1e3, 'f', -1, 64) + "k"
	default:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
}

func decimal(v float64) string { return strconv.FormatFloat(v, 'g', 3, 64) }

func microLabel(us float64) string {
	switch {
	case us >= 1e6:
		return strconv.FormatFloat(us/1e6, 'g', 4, 64) + " s"
	case us >= 1e3:
		return strconv.FormatFloat(us/1e3, 'g', 4, 64) + " ms"
	default:
		return strconv.FormatFloat(us, 'g', 4, 64) + " us"
	}
}

func mebiLabel(v float64) string { return strconv.FormatFloat(v, 'g', 5, 64) + " MiB" }
