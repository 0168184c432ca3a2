package report

import "math"

// drawingOf decides what the charts of a page are: of one run in depth, of several side by side.
func drawingOf(groups []Group) (d drawing) {
	if len(groups) == 1 && len(groups[0].Runs) == 1 {
		r := groups[0].Runs[0]
		for _, p := range r.Phases {
			d.Phases = append(d.Phases, band{p.Name, number(p.Begin), number(p.End)})
		}
		d.Charts = kept(chartsOfRun(r))
		return d
	}
	d.Charts = kept(chartsOfMany(groups))
	return d
}

func chartsOfRun(r *Result) []chart {
	charts := []chart{
		{Title: "Connections", X: xSeconds, Y: yCount, Lines: []line{overTime("connected", 1, r, connected)}},
		{Title: "Deliveries a second", X: xSeconds, Y: yCount, Lines: []line{overTime("deliveries/s", 2, r, deliveries)}},
	}
	if r.Valid {
		charts = append(charts, chart{
			Title: "Latency over time", Note: "of the deliveries of each second, from the intended time of sending", X: xSeconds, Y: yMicros, Log: true,
			Lines: []line{overTime("max", 3, r, maxLatency), overTime("p99", 2, r, p99), overTime("p50", 1, r, p50)},
		}, chart{
			Title: "Latency by percentile", Note: "a curve for each phase; each step to the right is one nine more", X: xPercentile, Y: yMicros, Log: true,
			Lines: curvesOf(r),
		}, spreadChart(r))
	}
	return append(charts,
		chart{
			Title: "CPU", Note: "cores kept busy", X: xSeconds, Y: yCores,
			Lines: []line{overTime("gateways", 1, r, cores), overTime("bench", 4, r, func(s *Second) number { return number(s.Bench) })},
		},
		chart{
			Title: "Memory of the gateways, per connection", Note: "resident, beyond what they took before the first one", X: xSeconds, Y: yBytes,
			Lines: []line{rssEach(r)},
		},
		chart{
			Title: "Memory of the gateways", X: xSeconds, Y: yBytes,
			Lines: []line{overTime("RSS", 1, r, rss), overTime("heap in use", 2, r, func(s *Second) number { return known(s.Heap) })},
		},
		chart{
			Title: "Garbage collection", Note: "time that the first gateway was stopped for it, in all", X: xSeconds, Y: yMicros,
			Lines: []line{overTime("stopped", 3, r, func(s *Second) number { return number(s.GCPause * 1e6) })},
		},
	)
}

// chartsOfMany puts runs on the same axes: a colour for each group, a line for each run. All lines but a group's first are
// dashed.
func chartsOfMany(groups []Group) (charts []chart) {
	over := func(value func(*Second) number) func(string, int, *Result) line {
		return func(name string, color int, r *Result) line { return overTime(name, color, r, value) }
	}
	for _, c := range []struct {
		chart

		latency bool // which an invalid run does not tell
		of      func(name string, color int, r *Result) line
	}{
		{
			chart{Title: "Latency by percentile", Note: "steady, or the last phase that published", X: xPercentile, Y: yMicros, Log: true},
			true,
			func(name string, color int, r *Result) line { return curveOf(name, color, mainCurve(r)) },
		},
		{chart{Title: "Deliveries a second", X: xSeconds, Y: yCount}, false, over(deliveries)},
		{chart{Title: "p99 over time", X: xSeconds, Y: yMicros, Log: true}, true, over(p99)},
		{
			chart{Title: "Spread of the fan-out", Note: spreadNote, X: xSteps, Steps: spreadSteps, Y: yMicros, Log: true},
			true,
			func(name string, color int, r *Result) line { return spreadOfFanout(name, color, r.main()) },
		},
		{chart{Title: "Connections", X: xSeconds, Y: yCount}, false, over(connected)},
		{chart{Title: "CPU of the gateways", Note: "cores kept busy", X: xSeconds, Y: yCores}, false, over(cores)},
		{chart{Title: "Memory of the gateways", Note: "resident", X: xSeconds, Y: yBytes}, false, over(rss)},
	} {
		for i, g := range groups {
			for n, r := range g.Runs {
				if !c.latency || r.Valid {
					l := c.of(g.Name, colorOf(i), r)
					l.Dashed = n > 0
					c.Lines = append(c.Lines, l)
				}
			}
		}
		charts = append(charts, c.chart)
	}
	return charts
}

// colorOf returns the colour of the n-th of several things. The page has eight.
func colorOf(n int) int { return n%8 + 1 }

// What a sample says. A value that is 0 because there was nothing to measure, or nobody to ask, is not known.

func connected(s *Second) number  { return number(s.Connected) }
func deliveries(s *Second) number { return number(s.Deliveries) }
func cores(s *Second) number      { return number(s.Cores) }
func rss(s *Second) number        { return known(float64(s.RSS)) }
func p50(s *Second) number        { return known(float64(s.P50)) }
func p99(s *Second) number        { return known(float64(s.P99)) }
func maxLatency(s *Second) number { return known(float64(s.Max)) }

func known(v float64) number {
	if v == 0 {
		return unknown
	}
	return number(v)
}

// overTime returns a line with a point for each sample. It is empty if all points are zero: then nobody could be asked.
func overTime(name string, color int, r *Result, value func(*Second) number) line {
	l := line{Name: name, Color: color}
	for i := range r.Series {
		l.add(number(r.Series[i].At), value(&r.Series[i]))
	}
	if !l.has(func(y number) bool { return y > 0 }) {
		return line{}
	}
	return l
}

// rssEach returns the gateways' memory per connection, of as many as there ever were: they do not give memory back at once
// when connections leave.
func rssEach(r *Result) line {
	l := line{Name: "RSS", Color: 1}
	if r.Server == nil || r.Server.RSSBefore <= 0 {
		return l
	}
	most, before := 0, r.Server.RSSBefore
	for i := range r.Series {
		s := &r.Series[i]
		if most = max(most, s.Connected); most > 0 && most >= r.Load.Connections/10 && s.RSS > before {
			l.add(number(s.At), number(float64(s.RSS-before)/float64(most)))
		}
	}
	return l
}

func curvesOf(r *Result) (lines []line) {
	for _, p := range r.Phases {
		if p.Result != nil && len(p.Curve) > 0 {
			lines = append(lines, curveOf(p.Name, colorOf(len(lines)), p.Curve))
		}
	}
	return lines
}

// mainCurve returns the curve of the phase that latencies are told of.
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

// curveOf returns a percentile curve. The largest value of all, 100 %, has no place on an axis of nines: it stands a step
// to the right of the last percentile.
func curveOf(name string, color int, curve []Point) line {
	l := line{Name: name, Color: color}
	for _, p := range curve {
		x := number(-math.Log10(1 - p.Percentile/100))
		if p.Percentile >= 100 {
			x = 0.1
			if n := len(l.X); n > 0 {
				x += l.X[n-1]
			}
		}
		l.add(max(x, 0), atLeastOne(p.Us))
	}
	return l
}

const spreadNote = "when a publication reaches its first, its median and its last subscriber (medians), and the last of all"

var spreadSteps = []string{"first", "median", "last", "last, worst"}

// spreadChart shows for each phase how long after its time a publication reached the first, the median and the last
// subscriber.
func spreadChart(r *Result) chart {
	c := chart{Title: "Spread of the fan-out", Note: spreadNote, X: xSteps, Steps: spreadSteps, Y: yMicros, Log: true}
	for _, p := range r.Phases {
		if l := spreadOfFanout(p.Name, colorOf(len(c.Lines)), p.Result); len(l.X) > 0 {
			c.Lines = append(c.Lines, l)
		}
	}
	return c
}

func spreadOfFanout(name string, color int, d *Delivered) line {
	l := line{Name: name, Color: color}
	if d == nil || d.Last.Count == 0 {
		return l
	}
	for i, us := range []int64{d.First.P50, d.Delivery.P50, d.Last.P50, d.Last.Max} {
		l.add(number(i), atLeastOne(us))
	}
	return l
}

// atLeastOne makes room on a logarithmic axis for what took less than a microsecond.
func atLeastOne(us int64) number { return number(max(us, 1)) }
