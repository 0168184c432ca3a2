package report

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/carillon-ws/carillon/bench/host"
)

// table is rows of cells.
type table func(cells ...string)

// Print writes a run for people.
func Print(w io.Writer, r *Result) {
	fmt.Fprintf(w, "\n%s\n%s\n%s\n%s\n\n", describeLoad(r.Load), describeTarget(r.Target), describeWorkers(r.Workers), DescribeMachine(r.Machine))
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := table(func(cells ...string) { fmt.Fprintln(tw, strings.Join(cells, "\t")) })
	row("connect", Thousands(r.Ramp.Connections)+" up", fmt.Sprintf("in %.2f s", r.Ramp.Seconds), Thousands(int(r.Ramp.PerSecond))+"/s",
		r.percentile("p50 ", r.Ramp.Latency.P50), r.percentile("p99 ", r.Ramp.Latency.P99), r.percentile("max ", r.Ramp.Latency.Max))
	for _, p := range r.Phases {
		if p.Result != nil {
			phaseRows(row, r, p)
		}
	}
	faultRows(row, r)
	costRows(row, r)
	_ = tw.Flush() // the writer under it keeps its error, and stdout has nobody to tell
	for _, note := range notes(r) {
		fmt.Fprintln(w, "NOTE  "+note)
	}
	printVerdicts(w, r)
}

// percentile writes one, unless it is as much bench's as the server's.
func (r *Result) percentile(name string, us int64) string {
	if !r.Valid {
		return name + "-"
	}
	return name + micros(us)
}

// phaseRows are what a phase of publishing brought.
func phaseRows(row table, r *Result, p *Phase) {
	s := p.Result
	missed := ""
	if s.Missed > 0 {
		missed = "missed while away " + Thousands(s.Missed)
	}
	row(p.Name, "expected "+Thousands(s.Expected), "received "+Thousands(s.Received), "lost "+Thousands(s.Lost),
		"duplicated "+Thousands(s.Duplicated), "reordered "+Thousands(s.Reordered), "gaps told "+Thousands(s.GapsTold), missed)
	row("", "throughput", Thousands(int(s.PerSecond))+"/s", Thousands(s.Publications)+" publications", fmt.Sprintf("in %.2f s", s.Seconds))
	row("", "latency", r.percentile("p50 ", s.Delivery.P50), r.percentile("p99 ", s.Delivery.P99), r.percentile("p99.9 ", s.Delivery.P999), r.percentile("max ", s.Delivery.Max))
	if s.Last.Count > 0 {
		row("", "first subscriber", r.percentile("p50 ", s.First.P50), r.percentile("p99 ", s.First.P99), "", r.percentile("max ", s.First.Max))
		row("", "last subscriber", r.percentile("p50 ", s.Last.P50), r.percentile("p99 ", s.Last.P99), "", r.percentile("max ", s.Last.Max))
	}
}

// faultRows are the rows of the phases in which something happens to the clients or the gateways.
func faultRows(row table, r *Result) {
	if b := r.Burst; b != nil {
		row("burst: spread", "first "+r.percentile("", b.First.P50), "median "+r.percentile("", b.Delivery.P50), "last "+r.percentile("", b.Last.P50))
	}
	if c := r.Churn; c != nil {
		row("churn", fmt.Sprintf("%.0f clients/s", c.PerSecond), Thousands(c.Left)+" left and came back", r.percentile("p50 ", c.Back.P50), r.percentile("p99 ", c.Back.P99), r.percentile("max ", c.Back.Max))
	}
	if s := r.Storm; s != nil {
		row("storm", Thousands(s.Left)+" left", fmt.Sprintf("99 %% back in %.2f s", s.Seconds99), fmt.Sprintf("all in %.2f s", s.Seconds), r.percentile("p99 ", s.Back.P99), "missed "+Thousands(s.Missed))
	}
	if s := r.Slow; s != nil {
		row("slow: stalled", Thousands(s.Stalled), Thousands(s.Cut)+" closed", Thousands(s.Told)+" told by a gap", "un-signalled loss "+Thousands(s.Unsignaled), s.CutWhy)
		if s.RSSPeak > 0 {
			row("slow: memory", "RSS "+mebibytes(s.RSSBefore), "-> "+mebibytes(s.RSSPeak)+" at most", "bound "+mebibytes(s.RSSBound))
		}
	}
	if v := r.Vanish; v != nil {
		row("vanish", Thousands(v.Vanished)+" reset", fmt.Sprintf("all back in %.2f s", v.Seconds), r.percentile("p50 ", v.Connect.P50), r.percentile("p99 ", v.Connect.P99), r.percentile("max ", v.Connect.Max))
		for _, h := range v.Held {
			row("", h.Metric, fmt.Sprintf("%.0f", h.Before), fmt.Sprintf("-> %.0f", h.After))
		}
	}
}

// manyConnections are enough for their memory to be seen in that of the whole machine.
const manyConnections = 50_000

// costRows are what it took.
func costRows(row table, r *Result) {
	if a := r.Ping; a != nil {
		row("ping answered", r.percentile("p50 ", a.P50), r.percentile("p99 ", a.P99), r.percentile("p99.9 ", a.P999), r.percentile("max ", a.Max), Thousands(int(a.Count))+" of them")
	}
	if c := r.Cost; c != nil {
		row("server CPU", fmt.Sprintf("%.2f us a delivery", c.Each), fmt.Sprintf("user %.2f", c.User), fmt.Sprintf("system %.2f", c.Each-c.User), fmt.Sprintf("%.2f cores", c.Busy))
	}
	if c := r.settled(); c != nil {
		goroutines := ""
		if c.Goroutines > 0 {
			goroutines = Plural(c.Goroutines, "goroutine")
		}
		row("server memory", fmt.Sprintf("%.0f B a connection", c.PerConnection), "RSS "+mebibytes(c.RSSBefore), "-> "+mebibytes(c.RSSAfter), Plural(c.Threads, "thread"), goroutines)
		memory := ""
		if r.Ramp.Connections >= manyConnections { // for fewer, whatever else this machine does is more
			memory = fmt.Sprintf("machine in all %.0f", c.MemoryEach)
		}
		row("other memory", fmt.Sprintf("kernel objects %.0f B a connection", c.SlabEach), fmt.Sprintf("bench %.0f", c.BenchRSSEach), memory)
	}
	if c := r.Server; c != nil && c.Connect != nil {
		idle := ""
		if c.RSSAfter > 0 { // settle looked
			idle = fmt.Sprintf("idle %.1f %%", 100*c.IdleCores)
		}
		row("server connect", fmt.Sprintf("%.1f us CPU each", c.Connect.Each), fmt.Sprintf("user %.1f", c.Connect.User), idle)
	}
	if c := r.Generator; c != nil {
		row("bench itself", fmt.Sprintf("%.2f us a delivery", c.Each), fmt.Sprintf("user %.2f", c.User), fmt.Sprintf("%.2f cores", c.Busy), "publishing late p99 "+micros(r.Steady.PublisherLag.P99))
	}
}

func describeLoad(l Load) string {
	how := strconv.FormatFloat(l.Rate, 'f', -1, 64) + " publications/s (open loop)"
	if l.Rate == 1 {
		how = "1 publication/s (open loop)"
	}
	if l.Inflight > 0 {
		how = fmt.Sprintf("%d in flight (closed loop: capacity, not latency)", l.Inflight)
	}
	return fmt.Sprintf("load     %s connections, %s, %s, %d B, %g s", Thousands(l.Connections), Plural(l.Channels, "channel"), how, l.Payload, l.Seconds)
}

func describeTarget(t Target) string {
	text := "target   " + t.URL
	if t.Gateways > 1 {
		text += fmt.Sprintf(" and %d more", t.Gateways-1)
	}
	if t.Name != "" {
		text += " " + strings.TrimSpace(t.Name+" "+t.Version) + ", " + Plural(t.Loops, "loop")
	}
	if t.Own {
		text += ", started for this run"
	}
	if t.RedisEmbedded {
		text += ", embedded Redis (its CPU and memory count as the gateway's)"
	}
	return text
}

func describeWorkers(w Workers) string {
	text := new(strings.Builder)
	fmt.Fprintf(text, "clients  in %s, %s", Plural(w.Processes, "process"), Plural(w.Threads, "reading thread"))
	for _, c := range w.Remote {
		fmt.Fprintf(text, "\n         worker %s: clock %+d us, give or take %d us (latencies below that mean nothing)", c.Worker, c.OffsetUs, c.BoundUs)
	}
	return text.String()
}

// DescribeMachine is one line about it.
func DescribeMachine(m host.Machine) string {
	text := fmt.Sprintf("machine  %d x %s, Linux %s, %s", m.CPUs, m.CPU, m.Kernel, m.Go)
	if m.Commit != "" {
		text += ", commit " + m.Commit[:min(12, len(m.Commit))]
	}
	return text
}

// notes say what a reader of the figures must know and would not guess.
func notes(r *Result) (lines []string) {
	if r.Server == nil {
		lines = append(lines, "the server's process is not on this machine, or nobody told which it is (-admin): no CPU and memory of it.")
	}
	for _, p := range r.Phases {
		if p.Result == nil {
			continue
		}
		if n := p.Result.Foreign; n > 0 {
			lines = append(lines, fmt.Sprintf("%s: %s notifications came from another publisher on the same channels; they are not counted.", p.Name, Thousands(n)))
		}
		if n := p.Result.ErrorsTold; n > 0 {
			lines = append(lines, fmt.Sprintf("%s: the server sent %s error messages.", p.Name, Thousands(n)))
		}
	}
	return lines
}
