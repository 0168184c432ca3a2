package admin

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
)

var update = flag.Bool("update", false, "write the README's table of metrics")

var metricsMark = regexp.MustCompile(`(?m)^<!-- table metrics -->\n(\n(\|.*\n)+)?`)

// The README lists every metric of the gateway with its help text.
func TestReadmeMetrics(t *testing.T) {
	t.Parallel()
	const path = "../../README.md"
	readme, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(metricsMark.FindAllString(string(readme), -1)); n != 1 {
		t.Fatalf("%s has %d marks for the table of metrics, want 1", path, n)
	}
	want := metricsMark.ReplaceAllLiteralString(string(readme), "<!-- table metrics -->\n\n"+metricsTable(t))
	if want == string(readme) {
		return
	}
	if !*update {
		t.Fatalf("%s does not have the present table of metrics; write it with: go test ./gateway/admin -run ReadmeMetrics -update", path)
	}
	if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

func metricsTable(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	out.WriteString("| metric | type | labels | meaning |\n|---|---|---|---|\n")
	for _, f := range ownFamilies(t) {
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, "`"+l.GetName()+"`")
		}
		kind := strings.ToLower(f.GetType().String())
		if h := f.GetMetric()[0].GetHistogram(); h != nil && h.Schema != nil {
			kind += ", native too"
		}
		fmt.Fprintf(&out, "| `%s` | %s | %s | %s |\n", f.GetName(), kind, strings.Join(labels, " "), f.GetHelp())
	}
	return out.String()
}

// ownFamilies returns the metrics of a scrape, without those of the Go runtime and the process.
func ownFamilies(t *testing.T) []*dto.MetricFamily {
	t.Helper()
	cfg := busy()
	families, err := newRegistry(&cfg).Gather()
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(families, func(f *dto.MetricFamily) bool {
		return strings.HasPrefix(f.GetName(), "go_") || strings.HasPrefix(f.GetName(), "process_")
	})
}
