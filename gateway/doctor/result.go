package doctor

// Status is the verdict of one check.
type Status string

// The verdicts, from good to bad. A check is skipped when what it asks about is not there or cannot be read.
const (
	OK   Status = "ok"
	Skip Status = "skip"
	Warn Status = "warn" // it works, but worse than it could, or until something else happens
	Fail Status = "FAIL" // this many connections do not fit
)

// Result is what one check found. The field names are those of -json.
type Result struct {
	Check  string `json:"check"`
	Status Status `json:"status"`
	Value  string `json:"value"`            // what is
	Needed string `json:"needed,omitempty"` // what has to be
	Why    string `json:"why"`
	Source string `json:"source"`        // where the threshold comes from
	Fix    string `json:"fix,omitempty"` // the command, when there is something to change
}

// worse is the result with a verdict and the command that helps.
func (r Result) worse(s Status, fix string) Result {
	r.Status, r.Fix = s, fix
	return r
}

// skipped is the result of a check that could not be made, and why.
func (r Result) skipped(reason string) Result {
	r.Status, r.Value, r.Fix = Skip, reason, ""
	return r
}

// Worst is the worst verdict of a list.
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
