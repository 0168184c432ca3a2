package report

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"math"
	"os"
	"slices"
	"strings"
)

//go:embed page.html
var pageText string

// The page is one file: its styles and scripts stand in it.
var (
	//go:embed page.css
	pageStyles string
	//go:embed charts.js
	chartsScript string

	// uPlot draws the charts. The folder holds a copy of its files, of the version that package.json there names.
	//go:embed uplot/uPlot.iife.min.js
	uplotScript string
	//go:embed uplot/uPlot.min.css
	uplotStyles string
	//go:embed uplot/LICENSE
	uplotLicense string
)

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"thousands": thousands,
	"us":        func(r *Result, us int64) string { return r.percentile("", us) },
	"join":      strings.Join,
	"percent":   func(share float64) string { return figure("%.0f %%", 100*share) },
}).Parse(pageText))

func thousands(n any) string {
	switch v := n.(type) {
	case int:
		return Thousands(v)
	case uint64:
		return Thousands(v)
	case int64:
		return Thousands(v)
	case float64:
		if math.Abs(v) < 1e15 {
			return Thousands(int64(v))
		}
	}
	return noFigure
}

// figure writes a number that may be none, as after a division by zero.
func figure(format string, v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return noFigure
	}
	return fmt.Sprintf(format, v)
}

const noFigure = "-"

// pageData is what the page is made of.
type pageData struct {
	Title   string
	Status  string // ok, fail, invalid
	Verdict string
	Tiles   []tile
	Run     *Result     // the only one, or nil
	Table   [][]string  // of what was judged, the head first
	Lines   []string    // target, load, machine
	JSON    template.JS // all of it

	HasCharts bool
	Drawing   template.JS // of the charts
	Styles    template.CSS
	Scripts   template.JS
}

// tile is one number that the page begins with.
type tile struct{ Name, Value, Note string }

// WritePage writes the page of some runs to a file.
func WritePage(path string, groups []Group) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(WriteHTML(f, groups), f.Close())
}

// WriteHTML writes a page that needs nothing but itself: one run in depth, or several on the same axes.
func WriteHTML(w io.Writer, groups []Group) error {
	data := pageData{
		Title:   groups[0].Name,
		Styles:  template.CSS(uplotStyles + "\n" + pageStyles),
		Scripts: template.JS("/*!\n" + uplotLicense + "*/\n" + uplotScript + "\n" + chartsScript), //nolint:gosec // our own files
	}
	drawing := drawingOf(groups)
	charts, err := json.Marshal(drawing)
	if err != nil {
		return err
	}
	data.HasCharts, data.Drawing = len(drawing.Charts) > 0, template.JS(charts) //nolint:gosec // encoding/json escapes < and >, so that no script can end here
	var raw any = groups
	if len(groups) == 1 && len(groups[0].Runs) == 1 {
		data.ofRun(groups[0].Runs[0])
		raw = groups[0].Runs[0]
	} else {
		data.ofMany(groups)
	}
	if data.Title == "" {
		data.Title = "bench"
	}
	text, err := json.Marshal(raw)
	if err != nil { // JSON has no NaN: such a figure must not cost us the rest of the page
		text, _ = json.Marshal("not shown: " + err.Error())
	}
	data.JSON = template.JS(text) //nolint:gosec // as above
	return page.Execute(w, data)
}

func (p *pageData) ofRun(r *Result) {
	p.Run = r
	if r.Name != "" {
		p.Title = r.Name
	} else {
		p.Title = Thousands(r.Load.Connections) + " connections"
	}
	p.Status, p.Verdict = r.status()
	p.Tiles, p.Table = r.tiles(), figureTable(r.Figures)
	p.Lines = []string{describeLoad(r.Load), describeTarget(r.Target), describeWorkers(r.Workers), DescribeMachine(r.Machine)}
}

func (r *Result) status() (status, verdict string) {
	switch failed := r.Failed(); {
	case !r.Valid:
		return "invalid", "INVALID: bench itself did not keep up. The figures are not the gateway's."
	case r.Error != "":
		return "fail", "FAIL: the run ended early: " + r.Error + ". What is here is from before."
	case !r.OK:
		return "fail", "FAIL: not everything arrived once and in order, or a fault did not heal."
	case len(failed) > 0:
		return "fail", "FAIL: " + failed[0].What + " does not hold (" + failed[0].Found() + ")."
	default:
		return "ok", "OK: everything was delivered once and in order."
	}
}

// tiles are the numbers that people ask for first.
func (r *Result) tiles() []tile {
	tiles := []tile{{"connections", Thousands(r.Ramp.Connections), figure("up in %.1f s", r.Ramp.Seconds)}}
	if expected, ok := metrics["lost"].value(r); ok {
		received := uint64(0)
		for _, p := range r.Phases {
			if p.Result != nil {
				received += p.Result.Received
			}
		}
		tiles = append(tiles, tile{"lost", Thousands(int64(expected)), "of " + Thousands(received+uint64(expected)) + " deliveries"})
	}
	if d := r.main(); d != nil {
		tiles = append(tiles,
			tile{"p99", r.percentile("", d.Delivery.P99), "p50 " + r.percentile("", d.Delivery.P50)},
			tile{"last subscriber", r.percentile("", d.Last.P50), "median; worst " + r.percentile("", d.Last.Max)},
			tile{"deliveries/s", thousands(d.PerSecond), Thousands(d.Publications) + " publications"})
	}
	if s := r.settled(); s != nil {
		tiles = append(tiles, tile{"RSS a connection", figure("%.0f B", s.PerConnection), figure("kernel %.1f KiB, both ends", s.SlabEach/1024)})
	}
	if c := r.Cost; c != nil {
		tiles = append(tiles, tile{"CPU a delivery", figure("%.2f us", c.Each), figure("user %.2f us", c.User)})
	}
	return tiles
}

// main is the phase that latencies are told of; nil when nothing was published.
func (r *Result) main() *Delivered {
	if r.Steady != nil {
		return r.Steady
	}
	for _, p := range slices.Backward(r.Phases) {
		if p.Result != nil {
			return p.Result
		}
	}
	return nil
}

func (p *pageData) ofMany(groups []Group) {
	c := Compare(groups, defaultAllowed)
	names := make([]string, len(groups))
	for i, g := range groups {
		names[i] = g.Name
		p.Lines = append(p.Lines, g.Name+": "+describeLoad(g.Runs[0].Load)+"; "+DescribeMachine(g.Runs[0].Machine))
	}
	p.Title = strings.Join(names, " against ")
	p.Status, p.Verdict = "ok", "No figure is worse by more than 10 % than what chance explains."
	if len(groups) == 1 {
		p.Verdict = Plural(len(groups[0].Runs), "run") + " of the same thing."
	}
	p.Lines = append(p.Lines, c.notes()...)
	if !c.Comparable() {
		p.Status, p.Verdict = "invalid", "INVALID: there is not a valid run on each side, so nothing can be said about a regression."
	}
	if Any(c.Figures, Fail) {
		p.Status, p.Verdict = "fail", "Something is worse by more than 10 %: see the table."
	}
	p.Table = figureTable(c.Figures)
}

// defaultAllowed is how much worse a figure may be on a page, which has no flags.
const defaultAllowed = 0.10
