package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// printReport writes a run for people.
func printReport(w io.Writer, r *result) {
	fmt.Fprintf(w, "\n%s\n%s\n%s\n\n", describeLoad(r.Load), describeTarget(r.Target), describeMachine(r.Machine))
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(cells ...string) { fmt.Fprintln(tw, strings.Join(cells, "\t")) }

	row("connect", thousands(r.Ramp.Connections)+" up", fmt.Sprintf("in %.2f s", r.Ramp.Seconds), thousands(int(r.Ramp.PerSecond))+"/s",
		"p50 "+micros(r.Ramp.Latency.P50), "p99 "+micros(r.Ramp.Latency.P99), "max "+micros(r.Ramp.Latency.Max))
	s := r.Steady
	row("deliveries", "expected "+thousands(s.Expected), "received "+thousands(s.Received), "lost "+thousands(s.Lost),
		"duplicated "+thousands(s.Duplicated), "reordered "+thousands(s.Reordered), "gaps told "+thousands(s.GapsTold))
	row("throughput", thousands(int(s.PerSecond))+"/s", thousands(s.Publications)+" publications", fmt.Sprintf("in %.2f s", s.Seconds))
	row("latency", "p50 "+micros(s.Delivery.P50), "p99 "+micros(s.Delivery.P99), "p99.9 "+micros(s.Delivery.P999), "max "+micros(s.Delivery.Max))
	row("last subscriber", "p50 "+micros(s.Last.P50), "p99 "+micros(s.Last.P99), "", "max "+micros(s.Last.Max))
	if a := r.Ping; a != nil {
		row("ping answered", "p50 "+micros(a.P50), "p99 "+micros(a.P99), "p99.9 "+micros(a.P999), "max "+micros(a.Max), thousands(int(a.Count))+" of them")
	}
	if c := r.Cost; c != nil {
		row("server CPU", fmt.Sprintf("%.2f us a delivery", c.Each), fmt.Sprintf("user %.2f", c.User), fmt.Sprintf("system %.2f", c.Each-c.User), fmt.Sprintf("%.2f cores", c.Busy))
	}
	if c := r.Server; c != nil {
		row("server memory", fmt.Sprintf("%.0f B a connection", c.PerConnection), "RSS "+mebibytes(c.RSSBefore), "-> "+mebibytes(c.RSSAfter), fmt.Sprintf("%d threads", c.Threads), goroutines(c.Goroutines))
		row("server connect", fmt.Sprintf("%.1f us CPU each", c.Connect.Each), fmt.Sprintf("user %.1f", c.Connect.User), fmt.Sprintf("idle %.1f %%", 100*c.IdleCores))
	}
	if c := r.Generator; c != nil {
		row("bench itself", fmt.Sprintf("%.2f us a delivery", c.Each), fmt.Sprintf("user %.2f", c.User), fmt.Sprintf("%.2f cores", c.Busy), "publishing late p99 "+micros(s.PublisherLag.P99))
	}
	faultRows(row, r)
	_ = tw.Flush() // the writer under it keeps its error, and stdout has nobody to tell
	for _, note := range notes(r) {
		fmt.Fprintln(w, note)
	}
	fmt.Fprintln(w, verdict(s))
	faultVerdicts(w, r)
}

func describeLoad(l loadRef) string {
	how := strconv.FormatFloat(l.Rate, 'f', -1, 64) + " publications/s (open loop)"
	if l.Rate == 1 {
		how = "1 publication/s (open loop)"
	}
	if l.Inflight > 0 {
		how = fmt.Sprintf("%d in flight (closed loop: capacity, not latency)", l.Inflight)
	}
	return fmt.Sprintf("load     %s connections, %s, %s, %d B, %g s", thousands(l.Connections), plural(l.Channels, "channel"), how, l.Payload, l.Seconds)
}

func describeTarget(t targetRef) string {
	text := "target   " + t.URL
	if t.Name != "" {
		text += " " + strings.TrimSpace(t.Name+" "+t.Version) + ", " + plural(t.Loops, "loop")
	}
	if t.Own {
		text += ", started for this run"
	}
	if t.RedisEmbedded {
		text += ", embedded Redis (its CPU and memory count as the gateway's)"
	}
	return text
}

func describeMachine(m machine) string {
	text := fmt.Sprintf("machine  %d x %s, Linux %s, %s", m.CPUs, m.CPU, m.Kernel, m.Go)
	if m.Commit != "" {
		text += ", commit " + m.Commit[:min(12, len(m.Commit))]
	}
	return text
}

// notes say what a reader of the figures must know and would not guess.
func notes(r *result) (lines []string) {
	s := r.Steady
	if r.Load.Inflight == 0 && s.Delivery.P99 > 0 && s.PublisherLag.P99*20 > s.Delivery.P99 && s.PublisherLag.P99 > 1000 {
		lines = append(lines, fmt.Sprintf("NOTE  bench itself published up to %s late (p99): that is inside the latencies, which are no better than this machine.", micros(s.PublisherLag.P99)))
	}
	if g := r.Generator; g != nil && g.Busy > 0.85*float64(workers()) {
		lines = append(lines, fmt.Sprintf("NOTE  bench kept %.2f cores busy and reads with %s: it may be the bottleneck, not the server.", g.Busy, plural(workers(), "thread")))
	}
	if r.Server == nil {
		lines = append(lines, "NOTE  the server's process is not on this machine: no CPU and memory of it.")
	}
	if s.Foreign > 0 {
		lines = append(lines, fmt.Sprintf("NOTE  %s notifications came from another publisher on the same channels; they are not counted.", thousands(s.Foreign)))
	}
	if s.ErrorsTold > 0 {
		lines = append(lines, fmt.Sprintf("NOTE  the server sent %s error messages.", thousands(s.ErrorsTold)))
	}
	return lines
}

func verdict(s *steadyResult) string {
	if s.clean() {
		return "OK    everything was delivered once and in order."
	}
	text := fmt.Sprintf("FAIL  %s lost, %s duplicated, %s reordered, %s on the wrong connection, %s closed",
		thousands(s.Lost), thousands(s.Duplicated), thousands(s.Reordered), thousands(s.Misdelivered), plural(s.Closed, "connection"))
	if s.ClosedWhy != "" {
		text += " (" + s.ClosedWhy + ")"
	}
	return text
}

func micros(us int64) string {
	d := time.Duration(us) * time.Microsecond
	switch {
	case d >= 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d >= time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d >= 10*time.Millisecond:
		return fmt.Sprintf("%.0f ms", float64(us)/1e3)
	case d >= time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(us)/1e3)
	default:
		return fmt.Sprintf("%d us", us)
	}
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

func goroutines(n int) string {
	if n == 0 {
		return ""
	}
	return plural(n, "goroutine")
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return thousands(n) + " " + what + "s"
}
