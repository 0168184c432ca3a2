package main

import (
	"fmt"
	"io"
)

// faultRows are the rows of -slow and -vanish.
func faultRows(row func(...string), r *result) {
	if s := r.Slow; s != nil {
		o := s.Others
		row("slow: others", "p50 "+micros(o.Delivery.P50), "p99 "+micros(o.Delivery.P99), "p99.9 "+micros(o.Delivery.P999), "max "+micros(o.Delivery.Max),
			thousands(int(o.PerSecond))+"/s", "lost "+thousands(o.Lost))
		row("slow: stalled", thousands(s.Stalled), thousands(s.Cut)+" closed", thousands(s.Told)+" told by a gap", "un-signalled loss "+thousands(s.Unsignaled), s.CutWhy)
		if s.RSSPeak > 0 {
			row("slow: memory", "RSS "+mebibytes(s.RSSBefore), "-> "+mebibytes(s.RSSPeak)+" at most", "bound "+mebibytes(s.RSSBound))
		}
	}
	if v := r.Vanish; v != nil {
		row("vanish", thousands(v.Vanished)+" reset", fmt.Sprintf("all back in %.2f s", v.Seconds), "p50 "+micros(v.Connect.P50), "p99 "+micros(v.Connect.P99), "max "+micros(v.Connect.Max))
		for _, h := range v.Held {
			row("", h.Metric, fmt.Sprintf("%.0f", h.Before), fmt.Sprintf("-> %.0f", h.After))
		}
	}
}

// faultVerdicts say of each fault what must hold, and whether it did.
func faultVerdicts(w io.Writer, r *result) {
	if s := r.Slow; s != nil {
		fmt.Fprintf(w, "%s  -slow: others lost %s of %s (p99 %s, %s while all read); memory bounded: %v; loss that nobody was told of: %s\n",
			okText(s.OK), thousands(s.Others.Lost), thousands(s.Others.Expected), micros(s.P99During), micros(s.P99Before), s.Bounded, thousands(s.Unsignaled))
	}
	if v := r.Vanish; v != nil {
		held := "what the gateway holds is back where it was"
		switch {
		case v.Problem != "":
			held = v.Problem
		case v.Held == nil:
			held = "the gateway's own numbers are not known (no admin listener)"
		}
		fmt.Fprintf(w, "%s  -vanish: %s back after %.2f s; %s; afterwards lost %s of %s\n",
			okText(v.OK), thousands(v.Vanished), v.Seconds, held, thousands(v.After.Lost), thousands(v.After.Expected))
	}
}

func okText(ok bool) string {
	if ok {
		return "OK  "
	}
	return "FAIL"
}
