package report

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Demand is one condition of -slo, such as p99<50ms.
type Demand struct {
	Text   string  `json:"text"`
	Metric string  `json:"metric"`
	Op     string  `json:"op"`
	Bound  float64 `json:"bound"` // in the metric's unit: microseconds, bytes, or a count
	Value  float64 `json:"value"`
	Found  string  `json:"found"` // the value for people
	Holds  bool    `json:"holds"`
}

// metric is something that can be demanded of.
type metric struct {
	unit  unit
	value func(*Result) (v float64, ok bool)
}

type unit uint8

const (
	unitCount   unit = iota
	unitTime         // microseconds
	unitLatency      // likewise, of what clients saw: bench's own as much as the server's when a run is invalid
	unitBytes
)

func (u unit) isTime() bool { return u == unitTime || u == unitLatency }

// metrics are the names of -slo. Latencies are those of steady, or of the last phase that published when it did not
// run; counts are sums over all phases.
var metrics = map[string]metric{
	"p50":              {unitLatency, ofDelivery(func(d *Delivered) int64 { return d.Delivery.P50 })},
	"p99":              {unitLatency, ofDelivery(func(d *Delivered) int64 { return d.Delivery.P99 })},
	"p99.9":            {unitLatency, ofDelivery(func(d *Delivered) int64 { return d.Delivery.P999 })},
	"max":              {unitLatency, ofDelivery(func(d *Delivered) int64 { return d.Delivery.Max })},
	"last_p50":         {unitLatency, ofDelivery(func(d *Delivered) int64 { return d.Last.P50 })},
	"last_p99":         {unitLatency, ofDelivery(func(d *Delivered) int64 { return d.Last.P99 })},
	"last_max":         {unitLatency, ofDelivery(func(d *Delivered) int64 { return d.Last.Max })},
	"lost":             {unitCount, sumOf(func(d *Delivered) uint64 { return d.Lost })},
	"duplicated":       {unitCount, sumOf(func(d *Delivered) uint64 { return d.Duplicated })},
	"reordered":        {unitCount, sumOf(func(d *Delivered) uint64 { return d.Reordered })},
	"missed":           {unitCount, sumOf(func(d *Delivered) uint64 { return d.Missed })},
	"closed":           {unitCount, sumOf(func(d *Delivered) uint64 { return uint64(d.Closed) })},
	"gaps":             {unitCount, sumOf(func(d *Delivered) uint64 { return d.GapsTold })},
	"deliveries_per_s": {unitCount, ofDelivery(func(d *Delivered) int64 { return int64(d.PerSecond) })},
	"connect_p99":      {unitLatency, func(r *Result) (float64, bool) { return float64(r.Ramp.Latency.P99), true }},
	"ramp":             {unitTime, func(r *Result) (float64, bool) { return r.Ramp.Seconds * 1e6, true }},
	"rss_per_conn": {unitBytes, func(r *Result) (float64, bool) {
		if r.Server == nil {
			return 0, false
		}
		return r.Server.PerConnection, r.Server.RSSAfter > 0
	}},
	"cpu_per_delivery": {unitTime, func(r *Result) (float64, bool) {
		if r.Cost == nil {
			return 0, false
		}
		return r.Cost.Each, true
	}},
	"storm99": {unitTime, func(r *Result) (float64, bool) {
		if r.Storm == nil {
			return 0, false
		}
		return r.Storm.Seconds99 * 1e6, true
	}},
	"healed": {unitTime, func(r *Result) (float64, bool) {
		longest, found := 0.0, false
		for _, o := range []*Outage{r.Redis, r.Gateway} {
			if o != nil {
				longest, found = max(longest, o.Healed*1e6), true
			}
		}
		return longest, found
	}},
}

// ofDelivery takes a number from the phase that latencies are told of.
func ofDelivery(f func(*Delivered) int64) func(*Result) (float64, bool) {
	return func(r *Result) (float64, bool) {
		d := r.main()
		if d == nil {
			return 0, false
		}
		return float64(f(d)), true
	}
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

// ParseDemands reads -slo: conditions with commas between them.
func ParseDemands(text string) (demands []Demand, err error) {
	for part := range strings.SplitSeq(text, ",") {
		d, err := parseDemand(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		demands = append(demands, d)
	}
	return demands, nil
}

func parseDemand(text string) (Demand, error) {
	at := strings.IndexAny(text, "<>=")
	if at < 1 {
		return Demand{}, fmt.Errorf("%q is not like p99<50ms", text)
	}
	d := Demand{Text: text, Metric: strings.TrimSpace(text[:at])}
	rest := text[at:]
	for _, op := range []string{"<=", ">=", "<", ">", "="} {
		if strings.HasPrefix(rest, op) {
			d.Op, rest = op, strings.TrimSpace(rest[len(op):])
			break
		}
	}
	m, known := metrics[d.Metric]
	if !known {
		return d, fmt.Errorf("%q: there is no %q to make demands of", text, d.Metric)
	}
	var err error
	if d.Bound, err = parseBound(rest, m.unit); err != nil {
		return d, fmt.Errorf("%q: %w", text, err)
	}
	return d, nil
}

func parseBound(text string, u unit) (float64, error) {
	switch u {
	case unitTime, unitLatency:
		d, err := time.ParseDuration(text)
		if err != nil {
			return 0, errors.New("a time is like 50ms or 1.5s")
		}
		return float64(d) / 1e3, nil
	case unitBytes:
		scale := 1.0
		for suffix, by := range map[string]float64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
			if digits, ok := strings.CutSuffix(text, suffix); ok {
				text, scale = digits, by
			}
		}
		text = strings.TrimSuffix(text, "B")
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return 0, errors.New("a size is like 900 or 2KiB")
		}
		return n * scale, nil
	default:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return 0, errors.New("a count is a number")
		}
		return n, nil
	}
}

// judge looks whether a run does what is demanded. What it did not measure does not hold. The run has been validated.
func (d *Demand) judge(r *Result) {
	m := metrics[d.Metric]
	v, known := m.value(r)
	if !known {
		d.Found = "not measured"
		return
	}
	if m.unit == unitLatency && !r.Valid {
		d.Found = "not known, the run is invalid"
		return
	}
	d.Value = v
	switch m.unit {
	case unitTime, unitLatency:
		d.Found = micros(int64(v))
		if v < 1000 {
			d.Found = fmt.Sprintf("%.2f us", v)
		}
	case unitBytes:
		d.Found = fmt.Sprintf("%.0f B", v)
	default:
		d.Found = Thousands(int64(v))
	}
	switch d.Op {
	case "<":
		d.Holds = v < d.Bound
	case "<=":
		d.Holds = v <= d.Bound
	case ">":
		d.Holds = v > d.Bound
	case ">=":
		d.Holds = v >= d.Bound
	default:
		d.Holds = v == d.Bound
	}
}
