package prometheus

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9/logging"

	"github.com/carillon-ws/carillon/fanout/redis/redistest"
	"github.com/carillon-ws/carillon/gateway/gatewaytest"
)

// files is the gateway's limit of open files. It is low, so that a few clients reach it.
const files = 2048

// TestObserve breaks one thing after the other, and waits for the alerts.
func TestObserve(t *testing.T) {
	if os.Getenv("CARILLON_OBSERVE_TEST") == "" {
		t.Skip("needs Prometheus and half a minute: make observe-test")
	}
	logging.Disable() // Redis is stopped on purpose
	server := redistest.Start(t)
	gateway := gatewaytest.StartCommand(t, "bash", "-c", fmt.Sprintf(`ulimit -n %d && exec ../../../bin/gateway "$@"`, files), "gateway",
		"-addr", "127.0.0.1:0", "-admin", "127.0.0.1:0", "-redis", server.URL(), "-loops", "2", "-max-backlog", "64KiB", "-send-buffer", "16KiB")
	addr, admin := gateway.Addr, strings.TrimPrefix(gateway.Admin, "http://")

	classic := startPrometheus(t, admin)
	native := startPrometheus(t, admin, "--enable-feature=native-histograms")
	gather(t, addr, "news", 100, true)
	publisher(t, server.URL(), "news", 100, 5*time.Millisecond)

	t.Run("rules are evaluated", func(t *testing.T) { checkRules(t, classic) })
	t.Run("dashboard has data", func(t *testing.T) {
		for name, p := range map[string]*prometheus{"classic": classic, "native": native} {
			for _, expr := range dashboardExprs(t) {
				eventually(t, name+" data of "+expr, func() error { return hasData(p, expr) })
			}
		}
	})
	t.Run("native histograms tell the same", func(t *testing.T) { compareForms(t, classic, native) })
	t.Run("all is calm", func(t *testing.T) {
		rules, err := classic.rules()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rules {
			if r.State == "firing" {
				t.Errorf("%s fires although nothing is wrong", r.Name)
			}
		}
	})

	t.Run("Redis goes and comes", func(t *testing.T) {
		server.Kill()
		classic.await(t, "RedisDown", "firing")
		server.Restart()
		classic.await(t, "RedisDown", "inactive")
	})
	t.Run("clients do not read", func(t *testing.T) {
		gather(t, addr, "flood", 30, false)
		stop := publisher(t, server.URL(), "flood", 16<<10, 20*time.Millisecond)
		classic.await(t, "SlowConsumers", "firing")
		stop()
		classic.await(t, "SlowConsumers", "inactive")
	})
	t.Run("files run out", func(t *testing.T) {
		many := gather(t, addr, "crowd", limit(t, classic)-110, true)
		classic.await(t, "FilesNearlyExhausted", "firing")
		classic.await(t, "NearlyFull", "firing")
		many.leave()
		classic.await(t, "FilesNearlyExhausted", "inactive")
		classic.await(t, "NearlyFull", "inactive")
	})
	t.Run("the process stands still", func(t *testing.T) {
		gateway.Signal(syscall.SIGSTOP)
		classic.await(t, "Down", "firing")
		gateway.Signal(syscall.SIGCONT)
		classic.await(t, "Down", "inactive")
	})
	t.Run("rules are still evaluated", func(t *testing.T) { checkRules(t, classic) })
}

// checkRules wants every rule, with real and with short times, evaluated without an error.
func checkRules(t *testing.T, p *prometheus) {
	t.Helper()
	want := 2 * strings.Count(readScript(t, "alerts.yml"), "- alert: ")
	eventually(t, "every rule is evaluated", func() error {
		rules, err := p.rules()
		if err != nil {
			return err
		}
		if len(rules) != want {
			return fmt.Errorf("%d rules, want %d", len(rules), want)
		}
		for _, r := range rules {
			if r.Health != "ok" || r.LastError != "" || r.EvaluationTime == 0 {
				return fmt.Errorf("%s: health %s, %s", r.Name, r.Health, r.LastError)
			}
		}
		return nil
	})
}

// dashboardExprs returns the expressions of the panels, with the variables replaced as Grafana does.
func dashboardExprs(t *testing.T) (exprs []string) {
	t.Helper()
	var dashboard struct {
		Panels      []struct{ Targets []struct{ Expr string } }
		Annotations struct{ List []struct{ Expr string } }
	}
	if err := json.Unmarshal([]byte(readScript(t, "grafana-dashboard.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("$__rate_interval", "5s", "$job", "carillon", "$instance", ".*")
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			exprs = append(exprs, fill.Replace(target.Expr))
		}
	}
	if len(exprs) < 30 {
		t.Errorf("the dashboard has only %d expressions", len(exprs))
	}
	return exprs
}

// hasData wants an answer with a number.
func hasData(p *prometheus, expr string) error {
	samples, err := p.query(expr)
	if err != nil {
		return err
	}
	for _, s := range samples {
		if v, err := number(s); err == nil && !math.IsNaN(v) {
			return nil
		}
	}
	return fmt.Errorf("%d samples, and no number", len(samples))
}

func number(s sample) (float64, error) {
	text, ok := s.Value[1].(string)
	if !ok {
		return 0, fmt.Errorf("value %v is no text", s.Value[1])
	}
	return strconv.ParseFloat(text, 64)
}

// compareForms asks both forms of a histogram, each in a Prometheus of its own, for the width of the fan-out: 100 clients on
// two loops. The buckets of the native form are narrower, so its answer must be closer.
func compareForms(t *testing.T, classic, native *prometheus) {
	t.Helper()
	mean := `sum(rate(ws_fanout_width_sum[10s])) / sum(rate(ws_fanout_width_count[10s]))`
	eventually(t, "the mean of the classic form is 50", func() error { return near(classic, mean, 50, 0.001) })
	eventually(t, "the mean of the native form is 50", func() error {
		return near(native, `histogram_sum(sum(rate(ws_fanout_width[10s]))) / histogram_count(sum(rate(ws_fanout_width[10s])))`, 50, 0.001)
	})
	eventually(t, "no classic buckets are kept beside native ones", func() error {
		samples, err := native.query("ws_fanout_width_bucket")
		if err == nil && len(samples) > 0 {
			err = fmt.Errorf("%d series", len(samples))
		}
		return err
	})
}

func near(p *prometheus, expr string, want, tolerance float64) error {
	samples, err := p.query(expr)
	if err != nil {
		return err
	}
	if len(samples) != 1 {
		return fmt.Errorf("%d samples, want 1", len(samples))
	}
	v, err := number(samples[0])
	if err == nil && math.Abs(v-want) > tolerance*want {
		err = fmt.Errorf("it is %v, want %v", v, want)
	}
	return err
}

func limit(t *testing.T, p *prometheus) int {
	t.Helper()
	samples, err := p.query("ws_connections_limit")
	if err != nil || len(samples) != 1 {
		t.Fatalf("ws_connections_limit: %v, %v", samples, err)
	}
	v, err := number(samples[0])
	if err != nil {
		t.Fatal(err)
	}
	return int(v)
}
