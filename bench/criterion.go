package main

import (
	"fmt"
	"slices"

	"github.com/carillon-ws/carillon/bench/host"
)

// criterion is a number that must hold, and one to aim for: gateway/DESIGN.md has the table.
type criterion struct {
	What     string  `json:"what"`
	Unit     string  `json:"unit"`     // of the two servers' values
	Absolute bool    `json:"absolute"` // hold and aim are in that unit, not a ratio
	AtLeast  bool    `json:"atLeast"`  // more is better
	Hold     float64 `json:"hold"`
	Aim      float64 `json:"aim"`

	value func(broadcast, channels *sample) float64
}

func criteria() []criterion {
	step := func(s *sample, i int) *host.Cost { return s.steps[i].cost }
	return []criterion{
		{What: "deliveries/s, one in flight", Unit: "/s", AtLeast: true, Hold: 0.85, Aim: 0.95, value: func(b, _ *sample) float64 { return b.steps[stepOne].perSecond }},
		{What: "user time per delivery, one in flight", Unit: "us", Absolute: true, Hold: 0.4, Aim: 0.3, value: func(b, _ *sample) float64 { return step(b, stepOne).User }},
		{What: "CPU per delivery, 4 in flight", Unit: "us", Hold: 0.30, Aim: 0.25, value: func(b, _ *sample) float64 { return step(b, stepFour).Each }},
		{What: "CPU per delivery, 24 in flight", Unit: "us", Hold: 0.30, Aim: 0.25, value: func(b, _ *sample) float64 { return step(b, stepMany).Each }},
		{What: "CPU per delivery, 1,000 channels, 200 in flight", Unit: "us", Hold: 1.25, Aim: 1.1, value: func(_, c *sample) float64 { return step(c, stepSpread).Each }},
		{What: "CPU per delivery, nearly idle", Unit: "us", Hold: 2.5, Aim: 1.5, value: func(_, c *sample) float64 { return step(c, stepIdle).Each }},
		{What: "CPU per connect + upgrade + subscribe", Unit: "us", Hold: 1.8, Aim: 1.3, value: func(b, _ *sample) float64 { return b.connect.Each }},
		{What: "RSS per connection, 2 s idle", Unit: "B", Absolute: true, Hold: 1300, Aim: 800, value: func(b, _ *sample) float64 { return b.rss }},
	}
}

// compared is a criterion with what was measured, run by run.
type compared struct {
	criterion
	Floor   []float64 `json:"floor"`
	Gateway []float64 `json:"gateway"`
	Ratio   float64   `json:"ratio"`  // median of the gateway's values over the floor's, also of what is absolute: it moves less with the machine
	Judged  []float64 `json:"judged"` // the ratios, or the gateway's values when absolute
	Median  float64   `json:"median"`
	Min     float64   `json:"min"`
	Max     float64   `json:"max"`
	Pass    bool      `json:"pass"` // the median is no worse than hold
}

// add notes one run of both servers.
func (c *compared) add(floor, gateway float64) {
	judged := gateway
	if !c.Absolute {
		judged = gateway / floor
	}
	c.Floor, c.Gateway, c.Judged = append(c.Floor, floor), append(c.Gateway, gateway), append(c.Judged, judged)
	ratios := make([]float64, 0, len(c.Floor))
	for i, of := range c.Floor {
		if of > 0 { // a sampled user time can be nothing
			ratios = append(ratios, c.Gateway[i]/of)
		}
	}
	if len(ratios) > 0 {
		c.Ratio = median(ratios)
	}
	c.Median, c.Min, c.Max = median(c.Judged), slices.Min(c.Judged), slices.Max(c.Judged)
	c.Pass = c.Median <= c.Hold
	if c.AtLeast {
		c.Pass = c.Median >= c.Hold
	}
}

func (c *compared) passText() string {
	if c.Pass {
		return "PASS"
	}
	return "FAIL"
}

// bound writes hold or aim with its direction.
func (c *compared) bound(v float64) string {
	sign := "<="
	if c.AtLeast {
		sign = ">="
	}
	return fmt.Sprintf("%s %g", sign, v)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}
