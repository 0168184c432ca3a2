package report

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/carillon-ws/carillon/bench/host"
)

// metric is something that can be demanded of a run, and compared between runs.
type metric struct {
	unit  Unit
	seen  bool // by clients: bench's own as much as the server's when a run is invalid
	value func(*Result) (v float64, ok bool)
}

// metrics are the names of -slo. Latencies are those of steady, or of the last phase that published when it did not
// run; counts are sums over all phases.
var metrics = map[string]metric{
	"p50":              {Time, true, ofDelivery(func(d *Delivered) int64 { return d.Delivery.P50 })},
	"p99":              {Time, true, ofDelivery(func(d *Delivered) int64 { return d.Delivery.P99 })},
	"p99.9":            {Time, true, ofDelivery(func(d *Delivered) int64 { return d.Delivery.P999 })},
	"max":              {Time, true, ofDelivery(func(d *Delivered) int64 { return d.Delivery.Max })},
	"last_p50":         {Time, true, ofDelivery(func(d *Delivered) int64 { return d.Last.P50 })},
	"last_p99":         {Time, true, ofDelivery(func(d *Delivered) int64 { return d.Last.P99 })},
	"last_max":         {Time, true, ofDelivery(func(d *Delivered) int64 { return d.Last.Max })},
	"lost":             {Count, false, sumOf(func(d *Delivered) uint64 { return d.Lost })},
	"duplicated":       {Count, false, sumOf(func(d *Delivered) uint64 { return d.Duplicated })},
	"reordered":        {Count, false, sumOf(func(d *Delivered) uint64 { return d.Reordered })},
	"missed":           {Count, false, sumOf(func(d *Delivered) uint64 { return d.Missed })},
	"closed":           {Count, false, sumOf(func(d *Delivered) uint64 { return uint64(d.Closed) })},
	"gaps":             {Count, false, sumOf(func(d *Delivered) uint64 { return d.GapsTold })},
	"deliveries_per_s": {Count, false, ofDelivery(func(d *Delivered) int64 { return int64(d.PerSecond) })},
	"connect_p99":      {Time, true, func(r *Result) (float64, bool) { return float64(r.Ramp.Latency.P99), true }},
	"ramp":             {Time, false, func(r *Result) (float64, bool) { return r.Ramp.Seconds * 1e6, true }},
	"rss_per_conn":     {Bytes, false, of((*Result).settled, func(s *Server) float64 { return s.PerConnection })},
	"cpu_per_delivery": {Time, false, of(func(r *Result) *host.Cost { return r.Cost }, func(c *host.Cost) float64 { return c.Each })},
	"storm99":          {Time, false, of(func(r *Result) *Storm { return r.Storm }, func(s *Storm) float64 { return s.Seconds99 * 1e6 })},
	"healed": {Time, false, func(r *Result) (longest float64, found bool) {
		for _, o := range r.outages() {
			longest, found = max(longest, o.Healed*1e6), true
		}
		return longest, found
	}},
}

// settled is the server after settle has looked at it.
func (r *Result) settled() *Server {
	if r.Server == nil || r.Server.RSSAfter == 0 {
		return nil
	}
	return r.Server
}

// of takes a number from a part of the result that may not be there.
func of[P any](part func(*Result) *P, f func(*P) float64) func(*Result) (float64, bool) {
	return func(r *Result) (float64, bool) {
		if p := part(r); p != nil {
			return f(p), true
		}
		return 0, false
	}
}

// ofDelivery takes a number from the phase that latencies are told of.
func ofDelivery(f func(*Delivered) int64) func(*Result) (float64, bool) {
	return of((*Result).main, func(d *Delivered) float64 { return float64(f(d)) })
}

func sumOf(f func(*Delivered) uint64) func(*Result) (float64, bool) {
	return func(r *Result) (sum float64, any bool) {
		for _, p := range r.Phases {
			if p.Result != nil {
				sum, any = sum+float64(f(p.Result)), true
			}
		}
		return sum, any
	}
}

// ParseDemands reads -slo: conditions with commas between them, as figures that are still to be measured.
func ParseDemands(text string) (demands []Figure, err error) {
	for part := range strings.SplitSeq(text, ",") {
		d, err := parseDemand(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		demands = append(demands, d)
	}
	return demands, nil
}

func parseDemand(text string) (f Figure, err error) {
	at := strings.IndexAny(text, "<>=")
	if at < 1 {
		return f, fmt.Errorf("%q is not like p99<50ms", text)
	}
	rest := strings.TrimLeft(text[at:], "<>=")
	f = Figure{What: "-slo " + text, Metric: strings.TrimSpace(text[:at]), Op: text[at : len(text)-len(rest)]}
	m, known := metrics[f.Metric]
	switch f.Op {
	case "<", "<=", ">", ">=", "=":
	default:
		return f, fmt.Errorf("%q: there is no %q", text, f.Op)
	}
	if !known {
		return f, fmt.Errorf("%q: there is no %q to make demands of", text, f.Metric)
	}
	f.Unit = m.unit
	if f.Hold, err = m.unit.parse(strings.TrimSpace(rest)); err != nil {
		return f, fmt.Errorf("%q: %w", text, err)
	}
	return f, nil
}

// parse reads a bound.
func (u Unit) parse(text string) (float64, error) {
	scale, problem := 1.0, "a count is a number"
	switch u {
	case Time:
		d, err := time.ParseDuration(text)
		if err != nil {
			return 0, errors.New("a time is like 50ms or 1.5s")
		}
		return float64(d) / 1e3, nil
	case Bytes:
		problem = "a size is like 900 or 2KiB"
		for suffix, by := range map[string]float64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
			if digits, ok := strings.CutSuffix(text, suffix); ok {
				text, scale = digits, by
			}
		}
		text = strings.TrimSuffix(text, "B")
	default:
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, errors.New(problem)
	}
	return n * scale, nil
}

// measure takes what is demanded of from a run that has been validated, and judges it. What was not measured does not
// hold.
func (f Figure) measure(r *Result) *Figure {
	m := metrics[f.Metric]
	v, known := m.value(r)
	switch {
	case known && m.seen && !r.Valid:
		f.Note, f.Status = "not known, the run is invalid", Invalid
	case known:
		f.Values = []float64{v}
	}
	return f.Judge()
}
