package admin

import (
	"fmt"
	"net/http"
	"strings"
)

// Check is one condition of being ready.
type Check struct {
	Name   string // what has to be so: "redis subscribed"
	OK     bool
	Detail string // why it is not, or how it is
}

func (c Check) String() string {
	if c.Detail == "" {
		return c.Name
	}
	return c.Name + " (" + c.Detail + ")"
}

// livez answers whether restarting the process would help. Redis is no part of it: a restart for a lost link would
// only add a storm of reconnects to it.
func (a *Admin) livez(w http.ResponseWriter, r *http.Request) {
	check := Check{Name: "loops turning", OK: true}
	if err := a.cfg.Live(); err != nil {
		check.OK, check.Detail = false, err.Error()
	}
	answerChecks(w, r, []Check{check})
}

// readyz answers whether new clients should be sent here.
func (a *Admin) readyz(w http.ResponseWriter, r *http.Request) {
	answerChecks(w, r, a.cfg.Ready())
}

// answerChecks writes 200 and "ok", or 503 and one line that says what is wrong; with ?verbose a line for each check.
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
