package report

import (
	"fmt"
	"io"
)

// Limits beyond which a figure is bench's own as much as the server's.
const (
	maxBusy       = 0.85 // of a reading thread
	maxLagShare   = 0.05 // of the p99 that is reported, by which publications left late
	maxReadShare  = 0.25 // of it, by which clients were read late
	maxWakeShare  = 0.5  // of it, by which the reading threads came late at any moment, busy ones included
	smallLagUs    = 1_000
	smallReadLate = 5_000
)

// Finish judges a run whose phases are over: is it valid, did everything arrive, do the demands hold.
func (r *Result) Finish(demands []Demand) {
	r.validate()
	r.OK = true
	lossAllowed := false
	for i := range demands {
		d := demands[i]
		d.judge(r)
		lossAllowed = lossAllowed || d.Metric == "lost"
		r.Demands = append(r.Demands, d)
	}
	for _, p := range r.Phases {
		switch {
		case p.Result == nil || p.Name == "kill-redis" || p.Name == "kill-gateway": // these have verdicts of their own
		case lossAllowed:
			allowed := *p.Result
			allowed.Lost = 0
			r.OK = r.OK && allowed.Clean()
		default:
			r.OK = r.OK && p.Result.Clean()
		}
	}
	for _, v := range r.verdicts() {
		r.OK = r.OK && v.ok
	}
}

// validate looks whether bench kept up.
func (r *Result) validate() {
	for _, p := range r.Phases {
		s := p.Result
		if s == nil {
			continue
		}
		if p.Busiest > maxBusy {
			r.Invalid = append(r.Invalid, fmt.Sprintf("%s: a reading thread of bench was busy %.0f %% of the time: bench may be the bottleneck, not the server (more -procs, more CPUs, or -workers elsewhere)", p.Name, 100*p.Busiest))
		}
		if r.Load.Inflight > 0 && (p.Name == "steady" || p.Name == "slow" || p.Name == "vanish") {
			continue // a closed loop has no schedule to be late for
		}
		p99 := float64(s.Delivery.P99)
		if lag := s.PublisherLag.P99; lag > smallLagUs && float64(lag) > maxLagShare*p99 {
			why := "the machine has no CPU left for it"
			if s.PublisherWait.P99 > lag/2 {
				why = fmt.Sprintf("it had to wait up to %s for the answers to those before, from Redis or whatever takes them", micros(s.PublisherWait.P99))
			}
			r.Invalid = append(r.Invalid, fmt.Sprintf("%s: bench published up to %s late (p99), which is inside the latencies: %s", p.Name, micros(lag), why))
		}
		if lag := s.ReadLag.P99; lag > smallReadLate && float64(lag) > maxReadShare*p99 {
			r.Invalid = append(r.Invalid, fmt.Sprintf("%s: bench read clients up to %s late (p99): its threads cannot keep up", p.Name, micros(lag)))
		}
		if lag := s.WakeLag.P99; !everybodyDials(p.Name) && lag > smallReadLate && float64(lag) > maxWakeShare*p99 {
			r.Invalid = append(r.Invalid, fmt.Sprintf("%s: bench's reading threads came up to %s late (p99): others had the CPU, or they were stopped", p.Name, micros(lag)))
		}
	}
	r.Valid = len(r.Invalid) == 0
}

// everybodyDials reports whether a phase sends clients away together. The turns of a thread that dials for thousands are
// long, but nobody hears anything meanwhile.
func everybodyDials(phase string) bool {
	return phase == "storm" || phase == "vanish" || phase == "kill-gateway"
}

// Failed returns the demands that do not hold.
func (r *Result) Failed() (failed []Demand) {
	for _, d := range r.Demands {
		if !d.Holds {
			failed = append(failed, d)
		}
	}
	return failed
}

// verdict is what one phase must show.
type verdict struct {
	name, text string
	ok         bool
}

// verdicts are those of the faults and of the drain.
func (r *Result) verdicts() (all []verdict) {
	if s := r.Slow; s != nil {
		all = append(all, verdict{"slow", fmt.Sprintf("others lost %s of %s (p99 %s, %s while all read); memory bounded: %v; loss that nobody was told of: %s",
			Thousands(s.Others.Lost), Thousands(s.Others.Expected), r.percentile("", s.P99During), r.percentile("", s.P99Before), s.Bounded, Thousands(s.Unsignaled)), s.OK})
	}
	if v := r.Vanish; v != nil {
		held := "what the gateway holds is back where it was"
		switch {
		case v.Problem != "":
			held = v.Problem
		case v.Held == nil:
			held = "the gateway's own numbers are not known (no admin listener)"
		}
		all = append(all, verdict{"vanish", fmt.Sprintf("%s back after %.2f s; %s; afterwards lost %s of %s",
			Thousands(v.Vanished), v.Seconds, held, Thousands(v.After.Lost), Thousands(v.After.Expected)), v.OK})
	}
	all = appendOutage(all, "kill-redis", r.Redis)
	all = appendOutage(all, "kill-gateway", r.Gateway)
	if d := r.Drain; d != nil {
		text := fmt.Sprintf("after %.2f s the gateways know of %.0f of these connections", d.Seconds, d.Left)
		if !d.Known {
			text = "all have left; what the gateways know of them is not known (no admin listener)"
		}
		all = append(all, verdict{"drain", text, d.OK})
	}
	return all
}

func appendOutage(all []verdict, name string, o *Outage) []verdict {
	if o == nil {
		return all
	}
	return append(all, verdict{name, fmt.Sprintf("down %.2f s, healed %.2f s later, %s of clients up; %s deliveries missing that clients were told of, %s that nobody was told of",
		o.Down, o.Healed, Thousands(o.Up), Thousands(o.Signaled), Thousands(o.Unsignaled)), o.OK})
}

// Verdict says in a sentence whether everything was delivered.
func Verdict(s *Delivered) string {
	if s.Clean() {
		return "everything was delivered once and in order."
	}
	text := fmt.Sprintf("%s lost, %s duplicated, %s reordered, %s on the wrong connection, %s closed",
		Thousands(s.Lost), Thousands(s.Duplicated), Thousands(s.Reordered), Thousands(s.Misdelivered), Plural(s.Closed, "connection"))
	if s.ClosedWhy != "" {
		text += " (" + s.ClosedWhy + ")"
	}
	return text
}

func okText(ok bool) string {
	if ok {
		return "OK  "
	}
	return "FAIL"
}

// printVerdicts ends the report: what held, what did not, and whether the figures are worth anything.
func printVerdicts(w io.Writer, r *Result) {
	for _, p := range r.Phases {
		if p.Result != nil && p.Name != "kill-redis" && p.Name != "kill-gateway" {
			fmt.Fprintf(w, "%s  %s: %s\n", okText(p.Result.Clean()), p.Name, Verdict(p.Result))
		}
	}
	for _, v := range r.verdicts() {
		fmt.Fprintf(w, "%s  %s: %s\n", okText(v.ok), v.name, v.text)
	}
	for _, d := range r.Demands {
		fmt.Fprintf(w, "%s  -slo %s: %s\n", okText(d.Holds), d.Text, d.Found)
	}
	if r.Error != "" {
		fmt.Fprintf(w, "FAIL  the run ended early: %s\n", r.Error)
	}
	for _, why := range r.Invalid {
		fmt.Fprintf(w, "INVALID  %s\n", why)
	}
}
