package report

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/carillon-ws/carillon/bench/client"
	"github.com/carillon-ws/carillon/bench/host"
)

// sampleRun is a run with every part that a page shows; its latencies are scaled by slower.
func sampleRun(name string, slower float64) *Result {
	h := client.NewHistogram()
	for i := range 10_000 {
		h.Record(int64(slower * float64(i+1) * 10_000)) // 10 us to 100 ms
	}
	d := &Delivered{
		Publications: 10, Seconds: 10, Expected: 10_000, Counts: client.Counts{Received: 10_000}, PerSecond: 1000,
		Delivery: Summarize(h), First: Summarize(h), Last: Summarize(h), OnTime: Summarize(h), LastOnTime: Summarize(h), PublisherLag: Latency{P99: 100},
	}
	r := &Result{
		Schema: Schema, Kind: "load", Name: name, When: time.Unix(1_790_000_000, 0).UTC(), Command: []string{"bench", "-html", "x.html"},
		Machine: host.Machine{CPU: "Abacus", CPUs: 2, Kernel: "6", Go: "go1.26"},
		Target:  Target{URL: "ws://127.0.0.1:1/ws", Name: "carillon", Version: "v1", Gateways: 1, Loops: 2},
		Load:    Load{Connections: 1000, Channels: 1, Rate: 1, Payload: 128, Seconds: 10},
		Workers: Workers{Processes: 1, Threads: 1},
		Ramp:    Ramp{Connections: 1000, Seconds: 2, PerSecond: 500, Latency: Summarize(h)},
		Server:  &Server{RSSBefore: 10 << 20, RSSAfter: 11 << 20, PerConnection: 1048, Connect: &host.Cost{Each: 50}},
		Cost:    &host.Cost{Each: 8, User: 0.3}, Generator: &host.Cost{Each: 4}, Steady: d,
		Phases: []*Phase{
			{Name: "ramp", Begin: 0, End: 2},
			{Name: "steady", Begin: 2, End: 12, Result: d, Curve: CurveOf(h), Busiest: 0.2},
		},
	}
	for i := range 12 {
		r.Series = append(r.Series, Second{
			At: float64(i + 1), Connected: min(1000, 500*(i+1)), Deliveries: 1000, P50: int64(slower * 50_000), P99: int64(slower * 99_000), Max: int64(slower * 1e5),
			Cores: 0.5, Bench: 0.3, RSS: 11 << 20, Heap: 4 << 20, GCs: float64(i), GCPause: float64(i) / 1000,
		})
	}
	return r
}

func finished(r *Result) *Result {
	r.Finish(nil)
	return r
}

func TestFinish(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name             string
		change           func(*Result)
		slo              string
		ok, valid, holds bool
	}{
		{"as it should be", func(*Result) {}, "p99<1s,lost=0", true, true, true},
		{"one lost", func(r *Result) { r.Steady.Lost = 1 }, "", false, true, true},
		{"one lost, which may be", func(r *Result) { r.Steady.Lost = 1 }, "lost<=1", true, true, true},
		{"two lost, of which one may be", func(r *Result) { r.Steady.Lost = 2 }, "lost<=1", true, true, false},
		{"doubled, whatever may be lost", func(r *Result) { r.Steady.Duplicated = 1 }, "lost<=1", false, true, true},
		{"too slow", func(*Result) {}, "p99<50ms", true, true, false},
		{"not measured", func(*Result) {}, "storm99<5s", true, true, false},
		{"published late", func(r *Result) { r.Steady.PublisherLag.P99 = 30_000 }, "", true, false, true},
		{"published late, but little", func(r *Result) { r.Steady.PublisherLag.P99 = 15_000 }, "", true, true, true},
		{"thread saturated", func(r *Result) { r.Phases[1].Busiest = 0.9 }, "", true, false, true},
		{"read late", func(r *Result) { r.Steady.OnTime.P99 = 50_000 }, "", true, false, true},
		{"read late, which the p99 hardly shows", func(r *Result) { r.Steady.OnTime.P99 -= 15_000 }, "", true, true, true},
		{"read late, which only the largest shows", func(r *Result) { r.Steady.Delivery.Max *= 10 }, "", true, true, true},
		{"read late by a multiple of very little", func(r *Result) { r.Steady.Delivery.P99, r.Steady.OnTime.P99 = 4_500, 100 }, "", true, true, true},
		{"the last subscriber was read late", func(r *Result) { r.Steady.LastOnTime.P99 = 1_000 }, "", true, false, true},
		{"the last subscriber was read late, in a closed loop", func(r *Result) { r.Steady.LastOnTime.P99, r.Load.Inflight = 1_000, 4 }, "", true, false, true},
		{"read late, dialling for everybody", func(r *Result) { r.Steady.OnTime.P99, r.Phases[1].Name = 1_000, "storm" }, "", true, true, true},
		{"a closed loop that was not kept full", func(r *Result) { r.Steady.Idle, r.Load.Inflight = 0.3, 4 }, "", true, false, true},
		{"a closed loop that was kept full enough", func(r *Result) { r.Steady.Idle, r.Load.Inflight = 0.1, 4 }, "", true, true, true},
		{"fault did not heal", func(r *Result) { r.Redis = &Outage{} }, "", false, true, true},
	} {
		r := sampleRun("x", 1)
		tt.change(r)
		var demands []Figure
		if tt.slo != "" {
			var err error
			if demands, err = ParseDemands(tt.slo); err != nil {
				t.Fatal(err)
			}
		}
		r.Finish(demands)
		if r.OK != tt.ok || r.Valid != tt.valid || (len(r.Failed()) == 0) != tt.holds {
			t.Errorf("%s: ok %v, valid %v, demands hold %v, want %v, %v, %v (%v)", tt.name, r.OK, r.Valid, len(r.Failed()) == 0, tt.ok, tt.valid, tt.holds, figureTable(r.Figures))
		}
	}
}

// What bench could not keep up with must not be read as the gateway's.
func TestInvalidPercentilesAreNotTold(t *testing.T) {
	t.Parallel()
	r := sampleRun("x", 1)
	r.Phases[1].Busiest = 0.99
	p99s := r.Steady.Delivery.P99
	r.Slow = &Slow{Others: r.Steady, P99Before: p99s, P99During: p99s, OK: true}
	demands, err := ParseDemands("p99<10s,lost=0")
	if err != nil {
		t.Fatal(err)
	}
	r.Finish(demands)
	if failed := r.Failed(); len(failed) != 1 || failed[0].Metric != "p99" {
		t.Errorf("demands that do not hold: %v, want the p99 alone, which is not known", failed)
	}
	var text, html bytes.Buffer
	Print(&text, r)
	if err := WriteHTML(&html, []Group{{Runs: []*Result{r}}}); err != nil {
		t.Fatal(err)
	}
	p99 := micros(r.Steady.Delivery.P99)
	page, _, _ := strings.Cut(html.String(), `id="result"`) // the raw JSON says valid:false
	for name, out := range map[string]string{"table": text.String(), "page": page} {
		if strings.Contains(out, p99) || !strings.Contains(out, "INVALID") {
			t.Errorf("the %s of an invalid run tells its p99 (%s), or does not say INVALID", name, p99)
		}
	}
	if strings.Contains(page, "Latency by percentile") {
		t.Error("the page of an invalid run draws its latencies")
	}
}

func TestParseDemands(t *testing.T) {
	t.Parallel()
	got, err := ParseDemands("p99<50ms, lost=0,rss_per_conn<=2KiB,deliveries_per_s>=1000")
	if err != nil || len(got) != 4 {
		t.Fatalf("%v, %v, want four", got, err)
	}
	for i, want := range []Figure{{Metric: "p99", Op: "<", Hold: 50_000}, {Metric: "lost", Op: "=", Hold: 0}, {Metric: "rss_per_conn", Op: "<=", Hold: 2048}, {Metric: "deliveries_per_s", Op: ">=", Hold: 1000}} {
		if got[i].Metric != want.Metric || got[i].Op != want.Op || got[i].Hold != want.Hold {
			t.Errorf("demand %d is %+v, want %+v", i, got[i], want)
		}
	}
	for _, bad := range []string{"", "p99", "p99<", "p99<5", "p42<5ms", "lost=none", "rss_per_conn<2KB", "<5ms", "p99<>5ms", "p99==5ms"} {
		if d, err := ParseDemands(bad); err == nil {
			t.Errorf("ParseDemands(%q) = %v, want an error", bad, d)
		}
	}
}

func TestCompareJudgesSpreads(t *testing.T) {
	t.Parallel()
	group := func(name string, slower ...float64) Group {
		g := Group{Name: name}
		for _, s := range slower {
			g.Runs = append(g.Runs, finished(sampleRun(name, s)))
		}
		return g
	}
	base := group("base", 1, 1.05, 1.1)
	for _, tt := range []struct {
		name      string
		with      Group
		regressed bool
		says      string
	}{
		{"the same", group("same", 1, 1.05, 1.1), false, ""},
		{"within the spread", group("near", 1.09, 1.25, 1.3), false, "within the spread"},
		{"worse", group("worse", 1.5, 1.55, 1.6), true, "FAIL"},
		{"better", group("better", 0.5, 0.5, 0.6), false, "0.48"},
		{"one run", group("single", 1.04), false, "n=1, no confidence"},
	} {
		c := Compare([]Group{base, tt.with}, 0.10)
		var out bytes.Buffer
		c.Print(&out)
		if Any(c.Figures, Fail) != tt.regressed || !strings.Contains(out.String(), tt.says) {
			t.Errorf("%s: regressed %v, want %v, and to say %q:\n%s", tt.name, Any(c.Figures, Fail), tt.regressed, tt.says, &out)
		}
	}
	invalid := group("invalid", 9)
	invalid.Runs[0].Valid = false
	if c := Compare([]Group{base, invalid}, 0.10); Any(c.Figures, Fail) {
		t.Error("an invalid run counts as a regression")
	}
}

func TestReadGroup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	one, many, other := filepath.Join(dir, "one.json"), filepath.Join(dir, "many.json"), filepath.Join(dir, "other.json")
	a, b := finished(sampleRun("", 1)), finished(sampleRun("", 2))
	for path, v := range map[string]any{one: a, many: []*Result{a, b}, other: map[string]any{"schema": 1, "kind": "vs-floor"}} {
		if err := WriteJSON(path, v); err != nil {
			t.Fatal(err)
		}
	}
	for names, want := range map[string]int{one: 1, many: 2, one + "," + many: 3} {
		if g, err := ReadGroup(names); err != nil || len(g.Runs) != want {
			t.Errorf("ReadGroup(%s) = %d runs, %v, want %d", names, len(g.Runs), err, want)
		}
	}
	for _, bad := range []string{other, filepath.Join(dir, "nowhere.json")} {
		if _, err := ReadGroup(bad); err == nil {
			t.Errorf("ReadGroup(%s) is no error", bad)
		}
	}
}

func TestPageStandsAlone(t *testing.T) {
	t.Parallel()
	for name, groups := range map[string][]Group{
		"one run":      {{Runs: []*Result{finished(sampleRun("ten thousand", 1))}}},
		"side by side": {{Name: "before", Runs: []*Result{finished(sampleRun("", 1)), finished(sampleRun("", 1.1))}}, {Name: "after", Runs: []*Result{finished(sampleRun("</script>", 2))}}},
	} {
		var out bytes.Buffer
		if err := WriteHTML(&out, groups); err != nil {
			t.Fatal(err)
		}
		page := out.String()
		for _, elsewhere := range []string{"src=", "<link", "@import", "url("} {
			if strings.Contains(page, elsewhere) {
				t.Errorf("%s: the page asks for something elsewhere: %s", name, elsewhere)
			}
		}
		if n := strings.Count(page, "</script>"); n != 4 {
			t.Errorf("%s: %d scripts end, want 4: a name broke out", name, n)
		}
		if !strings.Contains(page, "Copyright (c) 2022 Leon Sorokin") {
			t.Errorf("%s: the page holds uPlot without its licence", name)
		}
		_, raw, _ := strings.Cut(page, `id="result">`)
		raw, _, _ = strings.Cut(raw, "</script>")
		if !json.Valid([]byte(raw)) {
			t.Errorf("%s: the page's JSON is not valid", name)
		}
	}
}

func TestCurveEndsAtTheMaximum(t *testing.T) {
	t.Parallel()
	h := client.NewHistogram()
	for i := range int64(1000) {
		h.Record((i + 1) * 1000)
	}
	curve := CurveOf(h)
	last := curve[len(curve)-1]
	if curve[0].Percentile != 0 || last.Percentile != 100 || last.Us != h.Max() || len(curve) != 32 {
		t.Errorf("curve of 1,000 values from %+v to %+v, %d points, want 0 to 100 %% in ten points a nine", curve[0], last, len(curve))
	}
	for i := 1; i < len(curve); i++ {
		if curve[i].Us < curve[i-1].Us || curve[i].Percentile < curve[i-1].Percentile {
			t.Errorf("the curve falls at %d: %+v", i, curve[i-1:i+1])
		}
	}
}

func TestFormat(t *testing.T) {
	t.Parallel()
	for in, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000", -100: "-100"} {
		if got := Thousands(in); got != want {
			t.Errorf("Thousands(%d) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[int64]string{5: "5 us", 1500: "1.5 ms", 20_000: "20 ms", 1_500_000: "1.50 s", 12_340_000: "12.3 s"} {
		if got := micros(in); got != want {
			t.Errorf("micros(%d) = %q, want %q", in, got, want)
		}
	}
}
