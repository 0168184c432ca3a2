package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// drawn is the JSON of a page's charts, as a script sees it.
type drawn struct {
	Charts []struct {
		Title string
		Lines []struct {
			Name   string
			Px, Py []*float64
		}
	}
}

func pageOf(t *testing.T, groups ...Group) string {
	t.Helper()
	var out bytes.Buffer
	if err := WriteHTML(&out, groups); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func drawnIn(t *testing.T, page string) (d drawn) {
	t.Helper()
	_, text, _ := strings.Cut(page, `id="drawing">`)
	text, _, _ = strings.Cut(text, "</script>")
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatalf("the charts of the page: %v", err)
	}
	return d
}

func TestChartsOfAPage(t *testing.T) {
	t.Parallel()
	one := Group{Name: "one", Runs: []*Result{finished(sampleRun("", 1))}}
	two := Group{Name: "two", Runs: []*Result{finished(sampleRun("", 1)), finished(sampleRun("", 2))}}
	nothing := Group{Name: "nothing", Runs: []*Result{finished(&Result{Schema: Schema, Kind: "load", Valid: true})}}
	for _, tt := range []struct {
		name   string
		groups []Group
		want   string
	}{
		{"one run", []Group{one}, "Connections: connected; Deliveries a second: deliveries/s; Latency over time: max, p99, p50; " +
			"Latency by percentile: steady; Spread of the fan-out: steady; CPU: gateways, bench; " +
			"Memory of the gateways, per connection: RSS; Memory of the gateways: RSS, heap in use; Garbage collection: stopped"},
		{"three runs", []Group{one, two}, "Latency by percentile: one, two, two; Deliveries a second: one, two, two; p99 over time: one, two, two; " +
			"Spread of the fan-out: one, two, two; Connections: one, two, two; CPU of the gateways: one, two, two; Memory of the gateways: one, two, two"},
		{"nothing measured", []Group{nothing}, ""},
	} {
		page := pageOf(t, tt.groups...)
		var got []string
		for _, c := range drawnIn(t, page).Charts {
			var names []string
			for _, l := range c.Lines {
				names = append(names, l.Name)
			}
			got = append(got, c.Title+": "+strings.Join(names, ", "))
		}
		if got := strings.Join(got, "; "); got != tt.want {
			t.Errorf("%s: charts are\n%s\nwant\n%s", tt.name, got, tt.want)
		}
		if has := strings.Contains(page, "<h2>Charts</h2>"); has != (tt.want != "") {
			t.Errorf("%s: the page has a part with charts: %v", tt.name, has)
		}
	}
}

// oddRun has samples that come from a division by zero, or from a process that was away.
func oddRun() *Result {
	r := finished(sampleRun("odd", 1))
	s := r.Series
	s[2].Cores, s[3].Cores, s[4].Cores = math.NaN(), math.Inf(1), -1
	s[5].P99 = 0         // nothing was delivered
	s[6].At = s[5].At    // twice the same moment
	s[7].At = math.NaN() // no moment at all
	for i := range s {
		s[i].Heap = math.NaN()
	}
	r.Phases[1].Busiest, r.Steady.PerSecond, r.Server.PerConnection, r.Cost.Each = math.NaN(), math.Inf(1), math.NaN(), math.Inf(-1)
	r.Phases[0].End = math.Inf(1)
	return r
}

func TestOddValuesAreGaps(t *testing.T) {
	t.Parallel()
	page := pageOf(t, Group{Runs: []*Result{oddRun()}})
	text, _, _ := strings.Cut(page, "<script")
	if odd := regexp.MustCompile(`.*(NaN|[+-]Inf|-9,223).*`).FindString(text); odd != "" {
		t.Errorf("the page shows an odd number: %s", odd)
	}
	want := map[string]string{
		"CPU: gateways":          "1:0.5 2:0.5 3:gap 4:gap 5:gap 6:0.5 9:0.5 10:0.5 11:0.5 12:0.5",
		"Latency over time: p99": "1:99000 2:99000 3:99000 4:99000 5:99000 6:gap 9:99000 10:99000 11:99000 12:99000",
	}
	for _, c := range drawnIn(t, page).Charts {
		for _, l := range c.Lines {
			name := c.Title + ": " + l.Name
			if l.Name == "heap in use" {
				t.Errorf("%s is drawn, although nothing of it is known", name)
			}
			var points []string
			for i, x := range l.Px {
				point := fmt.Sprint(*x) + ":gap"
				if y := l.Py[i]; y != nil {
					point = fmt.Sprintf("%v:%v", *x, *y)
				}
				points = append(points, point)
			}
			if want, ok := want[name]; ok && strings.Join(points, " ") != want {
				t.Errorf("%s is\n%s\nwant\n%s", name, strings.Join(points, " "), want)
			}
			delete(want, name)
		}
	}
	if len(want) > 0 {
		t.Errorf("not drawn: %v", want)
	}
}

// The page's script runs in a browser: it draws something in each chart, and says what the values are where the mouse points.
func TestChartsInABrowser(t *testing.T) {
	t.Parallel()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("needs chromium: make setup")
	}
	short := finished(sampleRun("one point", 1))
	short.Series = short.Series[:1]
	for _, tt := range []struct {
		name   string
		groups []Group
		says   []string // in the legends, at a third of each chart's width
	}{
		{"one run", []Group{{Runs: []*Result{finished(sampleRun("", 1))}}}, []string{
			"connected1,000steady, 4 s", "deliveries/s1,000steady, 4 s", "max100 msp9999 msp5050 mssteady, 4 s", "gateways0.5bench0.3steady, 4 s", "RSS11 MiBheap in use4 MiBsteady, 4 s",
		}},
		{"odd values", []Group{{Runs: []*Result{oddRun()}}}, []string{"gatewaysbench0.3steady, 4 s"}},
		{"one point", []Group{{Runs: []*Result{short}}}, []string{"connected500ramp, 1 s"}},
		{"two runs", []Group{{Name: "both", Runs: []*Result{finished(sampleRun("", 1)), finished(sampleRun("", 2))}}}, []string{"both99 ms – 198 ms4 s"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			page := pageOf(t, tt.groups...)
			dom := inBrowser(t, chromium, page+lookScript)
			_, text, _ := strings.Cut(dom, `<pre id="seen">`)
			text, _, found := strings.Cut(text, "</pre>")
			if !found {
				t.Fatalf("the page's script did not run to its end:\n%s", dom[max(0, len(dom)-2000):])
			}
			legends := strings.Split(html.UnescapeString(text), "\n")
			if charts := drawnIn(t, page).Charts; len(legends) != len(charts) {
				t.Errorf("%d charts are drawn, want %d", len(legends), len(charts))
			}
			for i, legend := range legends {
				if strings.Contains(legend, "BLANK") || regexp.MustCompile("NaN|Infinity|undefined|null").MatchString(legend) {
					t.Errorf("chart %d: %s", i, legend)
				}
			}
			for _, want := range tt.says {
				if !slices.Contains(legends, want) {
					t.Errorf("no chart says %q:\n%s", want, strings.Join(legends, "\n"))
				}
			}
		})
	}
}

// lookScript points at every chart, and writes what their legends say. BLANK is a chart without a pixel in the colour of
// any of its lines.
const lookScript = `<script>
addEventListener('load', () => {
  const {charts} = JSON.parse(document.getElementById('drawing').textContent)
  const seen = [...document.querySelectorAll('figure')].map((figure, i) => {
    const over = figure.querySelector('.u-over'), canvas = figure.querySelector('canvas')
    const {left, top, width, height} = over.getBoundingClientRect()
    over.dispatchEvent(new MouseEvent('mousemove', {clientX: left + width / 3, clientY: top + height / 2}))
    const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
    const lit = charts[i].lines.some(({color}) => {
      const hex = getComputedStyle(document.documentElement).getPropertyValue('--c0' + color).trim()
      const [r, g, b] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16))
      for (let at = 0; at < data.length; at += 4) if (data[at] === r && data[at + 1] === g && data[at + 2] === b) return true
    })
    return figure.querySelector('.legend').textContent.replace('show all', '') + (lit ? '' : ' BLANK')
  })
  const pre = document.createElement('pre')
  pre.id = 'seen'
  pre.textContent = seen.join('\n')
  document.body.append(pre)
})
</script>`

func inBrowser(t *testing.T, chromium, page string) (dom string) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "page.html")
	if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--user-data-dir="+filepath.Join(dir, "profile"),
		"--window-size=1280,900", "--dump-dom", "file://"+file)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	return string(out)
}

// The copy of uPlot is of the version that is pinned; and if npm has brought that version, it is the same to the byte.
func TestUplotIsAsPinned(t *testing.T) {
	t.Parallel()
	var pinned struct{ Dependencies struct{ Uplot string } }
	text, err := os.ReadFile("uplot/package.json")
	if err == nil {
		err = json.Unmarshal(text, &pinned)
	}
	if err != nil {
		t.Fatal(err)
	}
	version := pinned.Dependencies.Uplot
	if banner, _, _ := strings.Cut(uplotScript, "\n"); !strings.HasSuffix(banner, "(v"+version+") */") {
		t.Errorf("uPlot.iife.min.js begins with %q, want version %s: make uplot", banner, version)
	}
	const fetched = "uplot/node_modules/uplot"
	if _, err := os.Stat(fetched); err != nil {
		t.Skip("npm has not brought uPlot: make setup")
	}
	for name, copied := range map[string]string{"dist/uPlot.iife.min.js": uplotScript, "dist/uPlot.min.css": uplotStyles, "LICENSE": uplotLicense} {
		if original, err := os.ReadFile(filepath.Join(fetched, name)); err != nil || string(original) != copied {
			t.Errorf("%s is not that of uPlot %s (%v): make uplot", name, version, err)
		}
	}
}
