package admin

import (
	"fmt"
	"net/http"
	"strings"
)

// Check is one condition that a probe looks at.
type Check struct {
	Name   string // the condition, as in "redis subscribed"
	OK     bool
	Detail string // more about it: an address, a number, or why it does not hold
}

func (c Check) String() string {
	if c.Detail == "" {
		return c.Name
	}
	return c.Name + " (" + c.Detail + ")"
}

// livez answers whether the loops turn. If one does not, a restart of the process helps. Redis is not looked at: a restart
// after a lost link would only add a storm of reconnects.
func (a *Admin) livez(w http.ResponseWriter, r *http.Request) {
	check := Check{Name: "loops turning", OK: true}
	if err := a.cfg.Live(); err != nil {
		check.OK, check.Detail = false, err.Error()
	}
	answerChecks(w, r, []Check{check})
}

// readyz answers whether load balancers should send new clients here.
func (a *Admin) readyz(w http.ResponseWriter, r *http.Request) {
	answerChecks(w, r, a.cfg.Ready())
}

// answerChecks writes 200 and "ok", or 503 and one line with the failed checks. With ?verbose each check has
// a line.
func answerChecks(w http.ResponseWriter, r *http.Request, checks []Check) {
	var lines strings.Builder
	var wrong []string
	for _, c := range checks {
		verdict := "ok  "
		if !c.OK {
			verdict = "FAIL"
			wrong = append(wrong, c.String())
		}
		fmt.Fprintln(&lines, verdict, c)
	}
	summary := "ok"
	if len(wrong) > 0 {
		summary = "failed: " + strings.Join(wrong, "; ")
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if len(wrong) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	if r.URL.Query().Has("verbose") {
		fmt.Fprint(w, lines.String())
	}
	fmt.Fprintln(w, summary)
}
