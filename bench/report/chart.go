package report

import (
	"bytes"
	"fmt"
	"html"
	"html/template"
	"image/color"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Charts are drawn by gonum/plot: it has true numeric and logarithmic axes, draws SVG without a browser or a CDN, and
// is kept by the people of Go's numerical library. What it lacks for a page is done here: colours that follow the
// reader's light or dark, and the page's own font.

// line is one curve of a chart.
type line struct {
	Name   string
	Color  int // of the page's palette, from 1
	Dashed bool
	points plotter.XYs
}

// band is a stretch of the x axis with a name: a phase.
type band struct {
	name     string
	from, to float64
}

// chart is what a chart shows.
type chart struct {
	Title, Note string
	Lines       []line
	SVG         template.HTML

	x, y       string
	bands      []band
	logY       bool
	percentile bool     // the x axis is -log10(1 - p)
	categories []string // names of 0, 1, 2 … on the x axis
	yLabel     func(float64) string
}

// Size of a chart in points: its viewBox, which the page scales.
const (
	chartWidth  = 560
	chartHeight = 250
)

// Colours stand for the page's variables, which replace them in the SVG.
var (
	inkColor  = color.RGBA{1, 1, 1, 255}
	gridColor = color.RGBA{2, 2, 2, 255}
	bandColor = color.RGBA{3, 3, 3, 255}
)

func lineColor(n int) color.Color { return color.RGBA{10, 10, uint8(n), 255} }

// draw makes the SVG.
func (c *chart) draw() error {
	p := plot.New()
	p.BackgroundColor = color.Transparent
	p.X.Label.Text, p.Y.Label.Text = c.x, c.y
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Color, a.Label.TextStyle.Color, a.Tick.Label.Color, a.Tick.Color = gridColor, inkColor, inkColor, gridColor
		a.Label.TextStyle.Font.Size, a.Tick.Label.Font.Size = vg.Points(11), vg.Points(11) // forPage shrinks it
		a.Padding = 0
		a.Tick.Length, a.Tick.LineStyle.Width = 5, 0 // room before the labels: fonts differ in width
	}
	if len(c.bands) > 0 {
		p.Add(&bands{all: c.bands, style: p.X.Tick.Label})
	}
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = nil, gridColor
	grid.Horizontal.Width = vg.Points(0.5)
	p.Add(grid)
	for _, l := range c.Lines {
		if c.logY {
			l.points = slices.DeleteFunc(slices.Clone(l.points), func(p plotter.XY) bool { return p.Y <= 0 })
		}
		if len(l.points) == 0 {
			continue
		}
		drawn, err := plotter.NewLine(l.points)
		if err != nil {
			return fmt.Errorf("chart %s, line %s: %w", c.Title, l.Name, err)
		}
		drawn.Color, drawn.Width = lineColor(l.Color), vg.Points(1.6)
		if l.Dashed {
			drawn.Dashes = []vg.Length{vg.Points(4), vg.Points(3)}
		}
		p.Add(drawn)
	}
	c.scale(p)
	canvas := vgsvg.New(chartWidth, chartHeight)
	p.Draw(draw.New(canvas))
	var out bytes.Buffer
	if _, err := canvas.WriteTo(&out); err != nil {
		return err
	}
	c.SVG = template.HTML(forPage(out.String(), c.Title)) //nolint:gosec // made here, of numbers and escaped text
	return nil
}

// scale sets the axes' ranges and ticks.
func (c *chart) scale(p *plot.Plot) {
	p.X.Tick.Marker = plot.TickerFunc(secondTicks)
	if c.percentile {
		p.X.Tick.Marker = plot.TickerFunc(percentileTicks)
		p.X.Max += 0.25 // the last label is centred there
	}
	if len(c.categories) > 0 {
		p.X.Tick.Marker = plot.TickerFunc(func(float64, float64) (ticks []plot.Tick) {
			for i, name := range c.categories {
				ticks = append(ticks, plot.Tick{Value: float64(i), Label: name})
			}
			return ticks
		})
		p.X.Min, p.X.Max = -0.3, float64(len(c.categories))-0.7
	}
	if c.logY {
		p.Y.Min = max(p.Y.Min, 1)
		p.Y.Max = max(p.Y.Max, p.Y.Min*2)
		p.Y.Min, p.Y.Max = p.Y.Min/1.2, p.Y.Max*1.3
		p.Y.Scale = plot.LogScale{}
		p.Y.Tick.Marker = plot.TickerFunc(func(lo, hi float64) []plot.Tick { return logTicks(lo, hi, c.yLabel) })
		return
	}
	p.Y.Min = 0
	if p.Y.Max <= 0 || math.IsInf(p.Y.Max, 0) {
		p.Y.Max = 1
	}
	p.Y.Max *= 1.12
	p.Y.Tick.Marker = plot.TickerFunc(func(_, hi float64) []plot.Tick { return linearTicks(hi, c.yLabel) })
}

// linearTicks are some five round numbers from 0 on.
func linearTicks(hi float64, label func(float64) string) (ticks []plot.Tick) {
	step := math.Pow(10, math.Floor(math.Log10(hi)))
	for _, part := range []float64{0.1, 0.2, 0.25, 0.5, 1, 2} {
		if hi/(step*part) <= 5.5 {
			step *= part
			break
		}
	}
	for i := 0; float64(i)*step <= hi; i++ {
		ticks = append(ticks, plot.Tick{Value: float64(i) * step, Label: label(float64(i) * step)})
	}
	return ticks
}

// secondTicks are some eight round numbers.
func secondTicks(lo, hi float64) (ticks []plot.Tick) {
	step := 1.0
	for _, nice := range []float64{1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600} {
		if step = nice; (hi-lo)/step <= 9 {
			break
		}
	}
	for v := math.Ceil(lo/step) * step; v <= hi; v += step {
		ticks = append(ticks, plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'f', -1, 64)})
	}
	return ticks
}

// logTicks are 1, 2 and 5 times the powers of ten, or the powers alone when those are many.
func logTicks(lo, hi float64, label func(float64) string) (ticks []plot.Tick) {
	decades := math.Log10(hi / lo)
	for exp := math.Floor(math.Log10(lo)); exp <= math.Ceil(math.Log10(hi)); exp++ {
		for _, digit := range []float64{1, 2, 5} {
			v := digit * math.Pow(10, exp)
			if v < lo || v > hi || (digit != 1 && decades > 2.5) {
				continue
			}
			ticks = append(ticks, plot.Tick{Value: v, Label: label(v)})
		}
	}
	return ticks
}

// percentileTicks are where people look: 50, 90, 99, 99.9 …
func percentileTicks(lo, hi float64) (ticks []plot.Tick) {
	for _, t := range []struct {
		p     float64
		label string
	}{{0, "0"}, {50, "50 %"}, {90, "90"}, {99, "99"}, {99.9, "99.9"}, {99.99, "99.99"}, {99.999, "99.999"}, {99.9999, "99.9999"}} {
		if x := nines(t.p); x >= lo && x <= hi {
			ticks = append(ticks, plot.Tick{Value: x, Label: t.label})
		}
	}
	return ticks
}

// nines is where a percentile lies on its axis: 90 at 1, 99 at 2, 99.9 at 3.
func nines(percentile float64) float64 { return -math.Log10(1 - percentile/100) }

// bands draws phases behind everything else: every other one shaded, each with its name if there is room.
type bands struct {
	all   []band
	style text.Style
}

func (b *bands) Plot(c draw.Canvas, p *plot.Plot) {
	x, _ := p.Transforms(&c)
	top := c.Max.Y
	for i, one := range b.all {
		from, to := x(one.from), x(one.to)
		if i%2 == 0 {
			c.FillPolygon(bandColor, []vg.Point{{X: from, Y: c.Min.Y}, {X: to, Y: c.Min.Y}, {X: to, Y: top}, {X: from, Y: top}})
		}
		style := b.style
		style.Color, style.XAlign, style.YAlign = inkColor, text.XCenter, text.YTop
		style.Font.Size = font.Length(9)
		if style.Width(one.name) < to-from-10 {
			c.FillText(style, vg.Point{X: (from + to) / 2, Y: top - 3}, one.name)
		}
	}
}

// DataRange makes room for all phases.
func (b *bands) DataRange() (xmin, xmax, ymin, ymax float64) {
	return b.all[0].from, b.all[len(b.all)-1].to, math.Inf(1), math.Inf(-1)
}

var (
	svgHead   = regexp.MustCompile(`(?s)^.*?<svg[^>]*viewBox="([^"]*)"[^>]*>`)
	fontStyle = regexp.MustCompile(`font-family:[^;"]*;font-variant:[^;"]*;font-weight:[^;"]*;font-style:[^;"]*;?`)
	hexColor  = regexp.MustCompile(`#0A0A(0[1-9A-F])`)
)

// forPage makes a part of a page of an SVG file: its font, its colours, its size.
func forPage(svg, title string) string {
	label := html.EscapeString(title)
	svg = svgHead.ReplaceAllString(svg, `<svg viewBox="$1" role="img" aria-label="`+label+`">`)
	svg = fontStyle.ReplaceAllString(svg, "")
	svg = strings.NewReplacer("#010101", "var(--ink2)", "#020202", "var(--grid)", "#030303", "var(--band)").Replace(svg)
	// A reader's font may be wider than the one that the labels were placed for: they are shown smaller than measured.
	svg = strings.ReplaceAll(svg, "font-size:11px", "font-size:9.6px")
	return hexColor.ReplaceAllString(svg, "var(--c$1)")
}
