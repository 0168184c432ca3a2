package admin

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metricsql"
	dto "github.com/prometheus/client_model/go"
	"go.yaml.in/yaml/v3"
)

// The tests of the dashboard and the alert rules: every metric, label and value of a label in an expression must exist.
// metricsql parses PromQL and needs three small modules; Prometheus's own parser would need most of Prometheus. `make
// observe-test` evaluates the expressions with a real Prometheus.

// catalogue has the labels and their values of a scrape, by the name of the series.
type catalogue map[string]map[string][]string

// scrapedCatalogue reads a scrape of a busy gateway.
func scrapedCatalogue(t *testing.T) catalogue {
	t.Helper()
	cfg := busy()
	families, err := newRegistry(&cfg).Gather()
	if err != nil {
		t.Fatal(err)
	}
	known := catalogue{"up": {}}
	for _, f := range families {
		labels := map[string][]string{}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = append(labels[l.GetName()], l.GetValue())
			}
		}
		if f.GetType() != dto.MetricType_HISTOGRAM {
			known[f.GetName()] = labels
			continue
		}
		if f.GetMetric()[0].GetHistogram().Schema != nil {
			known[f.GetName()] = labels
		}
		known[f.GetName()+"_sum"], known[f.GetName()+"_count"] = labels, labels
		known[f.GetName()+"_bucket"] = map[string][]string{"le": nil}
	}
	for _, labels := range known { // Prometheus adds them
		labels["job"], labels["instance"] = nil, nil
	}
	return known
}

// check returns what is wrong with an expression.
func (known catalogue) check(expr string) (problems []string) {
	for variable, value := range map[string]string{"$__rate_interval": "1m", "$__range": "1h"} {
		expr = strings.ReplaceAll(expr, variable, value)
	}
	parsed, err := metricsql.Parse(expr)
	if err != nil {
		return []string{err.Error()}
	}
	labels := map[string]bool{} // of any of its metrics
	metrics := 0
	metricsql.VisitAll(parsed, func(e metricsql.Expr) {
		if m, ok := e.(*metricsql.MetricExpr); ok {
			for _, filters := range m.LabelFilterss {
				metrics++
				problems = append(problems, known.checkSeries(filters, labels)...)
			}
		}
	})
	metricsql.VisitAll(parsed, func(e metricsql.Expr) {
		if m, ok := e.(*metricsql.ModifierExpr); ok {
			for _, label := range m.Args {
				if !labels[label] {
					problems = append(problems, "no metric of it has the label "+label)
				}
			}
		}
	})
	if metrics == 0 {
		problems = append(problems, "it asks for no metric")
	}
	return problems
}

func (known catalogue) checkSeries(filters []metricsql.LabelFilter, labels map[string]bool) (problems []string) {
	name := ""
	if len(filters) > 0 && filters[0].Label == "__name__" && !filters[0].IsRegexp && !filters[0].IsNegative {
		name = filters[0].Value
	}
	series, ok := known[name]
	if !ok {
		return []string{"no such metric: " + name}
	}
	for label := range series {
		labels[label] = true
	}
	for _, f := range filters[1:] {
		values, ok := series[f.Label]
		switch {
		case !ok:
			problems = append(problems, name+" has no label "+f.Label)
		case values == nil || strings.Contains(f.Value, "$"): // Prometheus's label, or the dashboard's variable
		case f.IsRegexp:
			for alternative := range strings.SplitSeq(f.Value, "|") {
				whole, err := regexp.Compile("^(?:" + alternative + ")$")
				if err != nil || !slices.ContainsFunc(values, whole.MatchString) {
					problems = append(problems, name+" has no "+f.Label+" like "+alternative)
				}
			}
		case !slices.Contains(values, f.Value):
			problems = append(problems, name+" has no "+f.Label+" "+f.Value)
		}
	}
	return problems
}

func readDashboard(t *testing.T, into any) {
	t.Helper()
	text, err := os.ReadFile("../../scripts/grafana-dashboard.json")
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// dashboardExprs returns every expression of the dashboard.
func dashboardExprs(t *testing.T) (exprs []string) {
	t.Helper()
	var tree any
	readDashboard(t, &tree)
	labelValues := regexp.MustCompile(`^label_values\((.+), *(\w+)\)$`)
	var walk func(node any)
	walk = func(node any) {
		switch node := node.(type) {
		case []any:
			for _, child := range node {
				walk(child)
			}
		case map[string]any:
			for key, child := range node {
				text, ok := child.(string)
				switch {
				case !ok:
					walk(child)
				case key == "expr":
					exprs = append(exprs, text)
				case key == "definition":
					m := labelValues.FindStringSubmatch(text)
					if m == nil {
						t.Errorf("variable %q is not a label's values", text)
						continue
					}
					exprs = append(exprs, "count by ("+m[2]+") ("+m[1]+")")
				}
			}
		}
	}
	walk(tree)
	return exprs
}

func TestDashboardAsksForWhatThereIs(t *testing.T) {
	t.Parallel()
	known := scrapedCatalogue(t)
	exprs := dashboardExprs(t)
	if len(exprs) < 30 {
		t.Errorf("the dashboard has only %d expressions: are they found?", len(exprs))
	}
	for _, expr := range exprs {
		for _, problem := range known.check(expr) {
			t.Errorf("%s\n\t%s", expr, problem)
		}
	}
}

// TestDashboardCountsAreNoSeconds: a count in a panel of times must have a unit of its own.
func TestDashboardCountsAreNoSeconds(t *testing.T) {
	t.Parallel()
	var dashboard struct {
		Panels []struct {
			Title       string
			Targets     []struct{ Expr string }
			FieldConfig struct {
				Defaults  struct{ Unit string }
				Overrides []any
			}
		}
	}
	readDashboard(t, &dashboard)
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			count := strings.HasPrefix(target.Expr, "increase(") || strings.Contains(target.Expr, "_total") && !strings.Contains(target.Expr, "_seconds_total")
			if count && p.FieldConfig.Defaults.Unit == "s" && len(p.FieldConfig.Overrides) == 0 {
				t.Errorf("%s shows in seconds: %s", p.Title, target.Expr)
			}
		}
	}
}

// TestDashboardShowsGatewaysOnly: "All" means all jobs with gateways. With any job, the panels of go_…, process_… and
// redis_up would show everything that this Prometheus scrapes.
func TestDashboardShowsGatewaysOnly(t *testing.T) {
	t.Parallel()
	var dashboard struct {
		Templating struct {
			List []struct{ Name, AllValue string }
		}
	}
	readDashboard(t, &dashboard)
	jobs := 0
	for _, v := range dashboard.Templating.List {
		if v.Name == "job" {
			jobs++
			if v.AllValue != "" {
				t.Errorf("all jobs are %q, want those of the list", v.AllValue)
			}
		}
	}
	if jobs != 1 {
		t.Errorf("%d variables choose the job, want one", jobs)
	}
	for _, expr := range dashboardExprs(t) {
		if !strings.Contains(expr, "job=~\"$job\"") && !strings.Contains(expr, "by (job)") {
			t.Errorf("%s asks every job", expr)
		}
	}
}

func TestAlertsAskForWhatThereIs(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../scripts/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("../../scripts/alerts_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	known := scrapedCatalogue(t)
	seen := map[string]bool{}
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			for _, problem := range known.check(rule.Expr) {
				t.Errorf("%s: %s", rule.Alert, problem)
			}
			for _, shared := range regexp.MustCompile(`\b(?:redis_up|go_\w+|process_\w+)\b(\{job="carillon")?`).FindAllStringSubmatch(rule.Expr, -1) {
				if shared[1] == "" {
					t.Errorf("%s: %s is another exporter's too: ask for the job", rule.Alert, shared[0])
				}
			}
			if seen[rule.Alert] || !strings.HasPrefix(rule.Alert, "Carillon") {
				t.Errorf("%s: the name is there twice, or is not ours", rule.Alert)
			}
			seen[rule.Alert] = true
			if !strings.Contains(string(tests), "- name: "+rule.Alert+"\n") {
				t.Errorf("%s has no test in alerts_test.yml", rule.Alert)
			}
			if s := rule.Labels["severity"]; s != "critical" && s != "warning" {
				t.Errorf("%s: severity %q", rule.Alert, s)
			}
			if !strings.Contains(rule.Annotations["summary"], "$labels.instance") || rule.Annotations["description"] == "" {
				t.Errorf("%s does not say which gateway, or not what to do: %q", rule.Alert, rule.Annotations)
			}
		}
	}
	if len(seen) < 10 {
		t.Errorf("only %d rules: are they found?", len(seen))
	}
}

// The check finds expressions that are wrong.
func TestCatalogueFindsMistakes(t *testing.T) {
	t.Parallel()
	known := scrapedCatalogue(t)
	for _, right := range []string{
		`up{job="carillon"} == 0`, `sum by (reason) (rate(ws_connections_closed_total[5m]))`,
		`rate(ws_messages_dropped_total{reason=~"slow|overload"}[$__rate_interval])`,
		`histogram_quantile(0.9, sum by (le, job) (rate(ws_fanout_width_bucket[5m]))) or histogram_quantile(0.9, rate(ws_fanout_width[5m]))`,
	} {
		if problems := known.check(right); len(problems) > 0 {
			t.Errorf("%s: %q", right, problems)
		}
	}
	for _, wrong := range []string{
		`ws_connections_opened`, `sum(rate(ws_connection_closed_total[5m]))`, `ws_connections_active{lop="0"}`,
		`ws_messages_dropped_total{reason="slo"}`, `ws_messages_dropped_total{reason=~"slow|overlord"}`, `sum by (lop) (ws_connections_active)`,
		`ws_message_latency_ms`, `rate(ws_fanout_width_buckets[5m])`, `1 + 1`, `sum(`, `{job="carillon"}`, `redis_up == on (shard) redis_down_seconds`,
	} {
		if problems := known.check(wrong); len(problems) == 0 {
			t.Errorf("nothing is found wrong with %s", wrong)
		}
	}
}
