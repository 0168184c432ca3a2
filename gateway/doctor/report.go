package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Report is what -json writes. Fields may be added; a change of meaning makes Schema 2.
type Report struct {
	Schema      int      `json:"schema"`
	Connections int      `json:"connections"`
	Status      Status   `json:"status"` // the worst of all checks
	Checks      []Result `json:"checks"`
	Lasting     string   `json:"lasting,omitempty"` // the command that makes the sysctl settings permanent
}

// NewReport returns the report of a plan and its results.
func NewReport(p Plan, results []Result) Report {
	r := Report{Schema: 1, Connections: p.Connections, Status: Worst(results), Checks: results}
	if slices.ContainsFunc(results, tuned) {
		r.Lasting = fmt.Sprintf("scripts/tune-host.sh --apply --connections %d --send-buffer %d", p.Connections, p.SendBuffer)
		if p.Proxy {
			r.Lasting += " --proxy"
		}
	}
	return r
}

// tuned reports whether tune-host.sh can apply the fix of a check.
func tuned(c Result) bool {
	return strings.HasPrefix(c.Fix, "sysctl -w "+c.Check+"=") || c.Check == hugePagesCheck && c.Fix != ""
}

// WriteJSON writes the report as one JSON object.
func (r Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// WriteText writes a line for each check, and the fix in the line after it.
func (r Report) WriteText(w io.Writer) error {
	width := 0
	for _, c := range r.Checks {
		width = max(width, len(c.Check))
	}
	bad := map[Status]int{}
	for _, c := range r.Checks {
		bad[c.Status]++
		needed := ""
		if c.Needed != "" {
			needed = "; needed: " + c.Needed
		}
		fmt.Fprintf(w, "%-4s  %-*s  %s%s; why: %s [%s]\n", c.Status, width, c.Check, c.Value, needed, c.Why, c.Source)
		if c.Fix != "" {
			fmt.Fprintf(w, "      %-*s  > %s\n", width, "", c.Fix)
		}
	}
	verdict := "this host can hold them"
	switch r.Status {
	case Fail:
		verdict = "this host cannot hold them"
	case Warn:
		verdict = "this host can hold them, but see the warnings"
	case OK, Skip:
	}
	if r.Lasting != "" {
		fmt.Fprintf(w, "\nSettings by sysctl -w are lost when the host restarts. This command makes them permanent, and can undo them:\n      > %s\n", r.Lasting)
	}
	_, err := fmt.Fprintf(w, "\n%s connections: %s (%d failed, %d warnings, %d skipped of %d checks)\n",
		grouped(uint64(r.Connections)), verdict, bad[Fail], bad[Warn], bad[Skip], len(r.Checks))
	return err
}
