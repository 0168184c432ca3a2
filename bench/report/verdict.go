package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
)

// What bench's own share in a figure may be. A lag is judged by what it could have changed: a latency counts as bench's
// own when, without the time that a delivery may have waited for bench to publish or to read it, it would be less by
// more than a fifth, and by more than a reader may sleep between two looks at the clock. The same fifth is what a closed
// loop may lose of its throughput.
const (
	maxBusy  = 0.85 // of a reading thread, or of the CPUs that all of them share
	maxShare = 0.2
	smallUs  = 5_000
)

// Finish judges a run whose phases are over: is it valid, did everything arrive, do the demands hold.
func (r *Result) Finish(demands []Figure) {
	for _, p := range r.Phases {
		if p.Result != nil {
			r.Figures = append(r.Figures, p.lags(r.Load.Inflight > 0)...)
		}
	}
	r.Valid = len(r.Figures) == 0
	lossAllowed := false
	for i := range demands {
		lossAllowed = lossAllowed || demands[i].Metric == "lost"
	}
	var judged []*Figure
	for _, p := range r.Phases {
		if s := p.Result; s != nil && p.Name != "kill-redis" && p.Name != "kill-gateway" { // these have verdicts of their own
			wrong := s.Duplicated + s.Reordered + s.Misdelivered + uint64(s.Closed)
			if !lossAllowed {
				wrong += s.Lost
			}
			judged = append(judged, (&Figure{What: p.Name, Values: []float64{float64(wrong)}, Op: "=", Note: Verdict(s)}).Judge())
		}
	}
	judged = append(judged, r.faults()...)
	r.OK = !Any(judged, Fail)
	for i := range demands {
		judged = append(judged, demands[i].measure(r))
	}
	r.Figures = append(judged, r.Figures...)
}

// Generator is what makes a phase's throughput and cost bench's own as much as the server's: its reading threads, or its
// publisher. closed tells that publications waited for each other.
func (p *Phase) Generator(closed bool) (bad []*Figure) {
	bad = p.keep(bad, &Figure{What: "bench's reading, % of its CPUs", Values: []float64{100 * p.Busiest}, Op: "<=", Hold: 100 * maxBusy},
		"bench may be the bottleneck, not the server (more -procs, more CPUs, or -workers elsewhere)")
	if closed {
		bad = p.keep(bad, &Figure{What: "places of publications that were empty, %", Values: []float64{100 * p.Result.Idle}, Op: "<=", Hold: 100 * maxShare},
			"bench noticed late that everybody had heard, or published late")
	}
	return bad
}

// keep adds a figure that shows bench to be at fault.
func (p *Phase) keep(bad []*Figure, f *Figure, note string) []*Figure {
	if f.Judge(); f.Status != Fail {
		return bad
	}
	f.What, f.Status, f.Note = p.Name+": "+f.What, Invalid, note
	return append(bad, f)
}

// lags is also what makes its latencies bench's own.
func (p *Phase) lags(closed bool) []*Figure {
	s, bad := p.Result, p.Generator(closed)
	if everybodyDials(p.Name) {
		return bad
	}
	why := "its threads cannot keep up, others had the CPU, or they were stopped"
	if lag := s.PublisherLag.P99; lag > smallUs {
		why = fmt.Sprintf("bench published up to %s late (p99): the machine has no CPU left for it", micros(lag))
		if s.PublisherWait.P99 > lag/2 {
			why = fmt.Sprintf("bench published up to %s late (p99): it waited for the answers to publications before", micros(lag))
		}
	}
	for _, l := range []struct {
		what          string
		seen, without int64
	}{
		{"latency p50", s.Delivery.P50, s.OnTime.P50},
		{"latency p99", s.Delivery.P99, min(s.OnTime.P99, s.Delivery.P99-s.PublisherLag.P99)},
		{"last subscriber p50", s.Last.P50, s.LastOnTime.P50},
		{"last subscriber p99", s.Last.P99, s.LastOnTime.P99},
	} {
		if l.seen-l.without > smallUs {
			without := float64(max(l.without, 1))
			bad = p.keep(bad, &Figure{
				What: l.what, Unit: Time, Values: []float64{float64(l.seen)}, Against: "without bench's lag", Base: []float64{without}, Paired: true,
				Op: "<=", Hold: 1 / (1 - maxShare), OnRatio: true,
			}, why)
		}
	}
	return bad
}

// everybodyDials reports whether a phase sends clients away together. The turns of a thread that dials for thousands are
// long, but nobody hears anything meanwhile.
func everybodyDials(phase string) bool { return phase == "storm" || phase == "kill-gateway" }

// Failed returns the demands of -slo that do not hold.
func (r *Result) Failed() (failed []*Figure) {
	for _, f := range r.Figures {
		if f.Metric != "" && f.Status != OK {
			failed = append(failed, f)
		}
	}
	return failed
}

// faults are what the phases must show in which something happens to the clients or the gateways.
func (r *Result) faults() (all []*Figure) {
	add := func(name string, ok bool, format string, args ...any) {
		status := OK
		if !ok {
			status = Fail
		}
		all = append(all, &Figure{What: name, Status: status, Note: fmt.Sprintf(format, args...)})
	}
	if s := r.Slow; s != nil {
		add("slow", s.OK, "others lost %s of %s (p99 %s, %s while all read); memory bounded: %v; loss that nobody was told of: %s",
			Thousands(s.Others.Lost), Thousands(s.Others.Expected), r.percentile("", s.P99During), r.percentile("", s.P99Before), s.Bounded, Thousands(s.Unsignaled))
	}
	if v := r.Vanish; v != nil {
		held := "what the gateway holds is back where it was"
		switch {
		case v.Problem != "":
			held = v.Problem
		case v.Held == nil:
			held = "the gateway's own numbers are not known (no admin listener)"
		}
		add("vanish", v.OK, "%s back after %.2f s; %s; afterwards lost %s of %s",
			Thousands(v.Vanished), v.Seconds, held, Thousands(v.After.Lost), Thousands(v.After.Expected))
	}
	for _, name := range slices.Sorted(maps.Keys(r.outages())) {
		o := r.outages()[name]
		add(name, o.OK, "down %.2f s, healed %.2f s later; %s connections cut, %s up in the end; %s publications refused; %s told of a gap, %s deliveries missing there, %s where nobody was told",
			o.Down, o.Healed, Thousands(o.Cut), Thousands(o.Up), Thousands(o.Unpublished), Thousands(o.Told), Thousands(o.Signaled), Thousands(o.Unsignaled))
	}
	if d := r.Drain; d != nil {
		text := fmt.Sprintf("after %.2f s the gateways know of %.0f of these connections, RSS %s", d.Seconds, d.Left, mebibytes(d.RSS))
		if !d.Known {
			text = "all have left; what the gateways know of them is not known (no admin listener)"
		}
		add("drain", d.OK, "%s", text)
	}
	return all
}

// outages are those there were, by the names of their phases.
func (r *Result) outages() map[string]*Outage {
	all := map[string]*Outage{"kill-gateway": r.Gateway, "kill-redis": r.Redis}
	maps.DeleteFunc(all, func(_ string, o *Outage) bool { return o == nil })
	return all
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

// printVerdicts ends the report: what held, what did not, and whether the figures are worth anything.
func printVerdicts(w io.Writer, r *Result) {
	PrintFigures(w, r.Figures)
	if r.Error != "" {
		fmt.Fprintf(w, "FAIL  the run ended early: %s\n", r.Error)
	}
}
