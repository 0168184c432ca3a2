package prometheus

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/carillon-ws/carillon/fanout/fanouttest"
)

// prometheus is a running Prometheus that scrapes every second.
type prometheus struct{ base string }

// startPrometheus runs Prometheus with the configuration in scripts/. It changes only what a test must change: the target,
// how often it is scraped, and how long a minute is.
func startPrometheus(t *testing.T, gatewayAdmin string, args ...string) *prometheus {
	t.Helper()
	dir := t.TempDir()
	config := readScript(t, "prometheus.yml")
	config = replaceOnce(t, config, `"gateway:9090"`, strconv.Quote(gatewayAdmin))
	config = replaceOnce(t, config, "scrape_interval: 15s", "scrape_interval: 1s\n  scrape_timeout: 1s")
	config = replaceOnce(t, config, "evaluation_interval: 15s", "evaluation_interval: 1s")
	config = replaceOnce(t, config, "  - alerts.yml", "  - alerts.yml\n  - timelapse.yml")
	rules := readScript(t, "alerts.yml")
	for name, text := range map[string]string{
		"prometheus.yml": config, "alerts.yml": rules, "timelapse.yml": timelapse(t, rules), "alerts_test.yml": readScript(t, "alerts_test.yml"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, check := range [][]string{
		{"check", "config", "prometheus.yml"}, {"check", "rules", "alerts.yml", "timelapse.yml"}, {"test", "rules", "alerts_test.yml"},
	} {
		promtool := exec.CommandContext(t.Context(), "promtool", check...)
		promtool.Dir = dir
		if out, err := promtool.CombinedOutput(); err != nil {
			t.Fatalf("promtool %q: %v\n%s", check, err, out)
		}
	}
	addr := fanouttest.Addr(t) // with port 0 the test could not know its port
	startProcess(t, "prometheus", append([]string{
		"--config.file", filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path", filepath.Join(dir, "data"),
		"--web.listen-address", addr, "--log.level", "warn",
	}, args...)...)
	p := &prometheus{"http://" + addr}
	eventually(t, "Prometheus is ready", func() error { return get(p.base+"/-/ready", nil) })
	return p
}

var (
	rulesFor    = regexp.MustCompile(`(?m)^( +for: )(\d+)([smh])$`)
	rulesWindow = regexp.MustCompile(`\[(\d+)([smh])\]`)
)

// timelapse makes a minute of the rules a second, so that the test need not wait for minutes. A window has at least four
// scrapes, and every rule gets a name of its own.
func timelapse(t *testing.T, rules string) string {
	t.Helper()
	seconds := func(n, unit string) int {
		d, err := time.ParseDuration(n + unit)
		if err != nil {
			t.Fatal(err)
		}
		return int(d / time.Minute)
	}
	out := rulesFor.ReplaceAllStringFunc(rules, func(s string) string {
		m := rulesFor.FindStringSubmatch(s)
		return fmt.Sprintf("%s%ds", m[1], max(1, seconds(m[2], m[3])))
	})
	out = rulesWindow.ReplaceAllStringFunc(out, func(s string) string {
		m := rulesWindow.FindStringSubmatch(s)
		return fmt.Sprintf("[%ds]", max(4, seconds(m[1], m[2])))
	})
	out = strings.ReplaceAll(out, "- alert: Carillon", "- alert: Lapse")
	return replaceOnce(t, out, "- name: carillon", "- name: timelapse")
}

// sample is one element of the answer to an instant query.
type sample struct {
	Metric map[string]string
	Value  [2]any // time, value as text
}

// query evaluates an expression now.
func (p *prometheus) query(expr string) (out []sample, err error) {
	var answer struct{ Data struct{ Result []sample } }
	err = get(p.base+"/api/v1/query?"+url.Values{"query": {expr}}.Encode(), &answer)
	return answer.Data.Result, err
}

// rule is one alert rule as Prometheus sees it.
type rule struct {
	Name, State, Health, LastError string
	EvaluationTime                 float64
}

func (p *prometheus) rules() (out []rule, err error) {
	var answer struct {
		Data struct{ Groups []struct{ Rules []rule } }
	}
	err = get(p.base+"/api/v1/rules", &answer)
	for _, g := range answer.Data.Groups {
		out = append(out, g.Rules...)
	}
	return out, err
}

// await waits until an alert of the time-lapse is in a state: firing or inactive.
func (p *prometheus) await(t *testing.T, alert, state string) {
	t.Helper()
	began := time.Now()
	eventually(t, alert+" is "+state, func() error {
		rules, err := p.rules()
		if err != nil {
			return err
		}
		for _, r := range rules {
			if r.Name == "Lapse"+alert {
				if r.State != state {
					return fmt.Errorf("it is %s", r.State)
				}
				return nil
			}
		}
		return fmt.Errorf("there is no rule of that name among %d", len(rules))
	})
	t.Logf("Carillon%s is %s after %.1f s", alert, state, time.Since(began).Seconds())
}

// get requests JSON. An answer other than 200 is an error.
func get(address string, into any) error {
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get(address)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // the answer was read, or reading it failed
	if resp.StatusCode != http.StatusOK {
		var failed struct{ Error string }
		_ = json.NewDecoder(resp.Body).Decode(&failed) // it may be no JSON
		return fmt.Errorf("%s %s", resp.Status, failed.Error)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

func readScript(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../../scripts", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func replaceOnce(t *testing.T, text, old, replacement string) string {
	t.Helper()
	if n := strings.Count(text, old); n != 1 {
		t.Fatalf("%q is there %d times, want once", old, n)
	}
	return strings.Replace(text, old, replacement, 1)
}
