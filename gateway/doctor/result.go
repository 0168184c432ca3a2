package doctor

// Status is the verdict of one check.
type Status string

// The verdicts, from good to bad. A check is skipped if what it looks at does not exist or cannot be read.
const (
	OK   Status = "ok"
	Skip Status = "skip"
	Warn Status = "warn" // the connections fit, but slower than need be, or something may fail later
	Fail Status = "FAIL" // this many connections do not fit
)

// Result is what one check found. The field names are those of -json.
type Result struct {
	Check  string `json:"check"`
	Status Status `json:"status"`
	Value  string `json:"value"`            // the present value
	Needed string `json:"needed,omitempty"` // the value that is needed
	Why    string `json:"why"`
	Source string `json:"source"`        // where the threshold comes from
	Fix    string `json:"fix,omitempty"` // the command that helps; empty if nothing has to change
}

// worse returns the result with a verdict and a fix.
func (r Result) worse(s Status, fix string) Result {
	r.Status, r.Fix = s, fix
	return r
}

// skipped returns the result of a check that could not be made, and why.
func (r Result) skipped(reason string) Result {
	r.Status, r.Value, r.Fix = Skip, reason, ""
	return r
}

// Worst returns the worst verdict of a list.
func Worst(results []Result) Status {
	rank := map[Status]int{OK: 0, Skip: 0, Warn: 1, Fail: 2}
	worst := OK
	for _, r := range results {
		if rank[r.Status] > rank[worst] {
			worst = r.Status
		}
	}
	return worst
}
