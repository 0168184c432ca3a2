package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carillon-ws/carillon/bench/benchtest"
	"github.com/carillon-ws/carillon/bench/coordinator"
	"github.com/carillon-ws/carillon/bench/floor"
	"github.com/carillon-ws/carillon/bench/host"
	"github.com/carillon-ws/carillon/bench/report"
	"github.com/carillon-ws/carillon/bench/settings"
)

// play is a run as from the command line, with a short look at idle servers. The run may be invalid: how busy the
// machine is, is not what is tested.
func play(t *testing.T, args ...string) *report.Result {
	t.Helper()
	file := filepath.Join(t.TempDir(), "result.json")
	cfg, err := settings.Parse(append(args, "-json", file, "-progress", "none"), nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Settle = 20 * time.Millisecond
	var stdout, stderr bytes.Buffer
	if err := runLoad(t.Context(), cfg, &stdout, &stderr); err != nil && !errors.Is(err, errInvalid) {
		t.Fatalf("bench %s: %v\n%s%s", strings.Join(args, " "), err, &stdout, &stderr)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r := new(report.Result)
	if cfg.Repeat > 1 {
		return r
	}
	if err := json.Unmarshal(text, r); err != nil {
		t.Fatal(err)
	}
	return r
}

func atFloor(f *floor.Child, args string) []string {
	return append(strings.Fields(args), "-url", f.URL, "-redis", f.Control)
}

func TestEveryPhase(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"", "-procs 3"} {
		t.Run("processes "+how, func(t *testing.T) {
			t.Parallel()
			f := benchtest.StartFloor(t, floor.Each)
			r := play(t, atFloor(f, "-connections 200 -channels 4 -rate 40 -duration 500ms -bursts 3 -churn 50%/s -phases settle,steady,burst,churn,storm,drain "+how)...)
			var names []string
			for _, p := range r.Phases {
				names = append(names, p.Name)
				if p.End < p.Begin || (p.Result != nil && (!p.Result.Clean() || len(p.Curve) < 2)) {
					t.Errorf("phase %+v is not whole", p)
				}
			}
			if want := []string{"ramp", "settle", "steady", "burst", "churn", "storm", "drain"}; !slices.Equal(names, want) {
				t.Errorf("phases %v, want %v", names, want)
			}
			if r.Burst.Received != 3*200 || r.Burst.First.P50 > r.Burst.Last.P50 {
				t.Errorf("burst: %+v, want 600 deliveries, the first before the last", r.Burst)
			}
			if r.Churn.Left < 30 {
				t.Errorf("churn: %d left, want about 50", r.Churn.Left)
			}
			if r.Storm.Left != 200 || r.Storm.Seconds99 > r.Storm.Seconds || r.Storm.Seconds == 0 {
				t.Errorf("storm: %+v, want 200 to leave and come back", r.Storm)
			}
			if r.Drain.Known {
				t.Error("drain: a floor server has no admin listener, and still told who is left")
			}
			if !r.OK || r.Workers.Processes != max(1, 3*len(how)/len("-procs 3")) {
				t.Errorf("ok %v, %d processes", r.OK, r.Workers.Processes)
			}
		})
	}
}

func TestVanishAndSlow(t *testing.T) {
	t.Parallel()
	f := benchtest.StartFloor(t, floor.Each)
	r := play(t, atFloor(f, "-connections 100 -rate 20 -duration 300ms -vanish 100% -slow 10% -phases steady,slow,vanish")...)
	if r.Slow == nil || r.Slow.Stalled != 10 || r.Slow.Others.Received != 6*90 || r.Slow.Unsignaled != 0 || !r.Slow.OK {
		t.Errorf("slow: %+v, want 10 stalled, 540 heard by the others", r.Slow)
	}
	if r.Vanish == nil || r.Vanish.Vanished != 100 || r.Vanish.Connect.Count != 100 || r.Vanish.After.Received != 600 || !r.Vanish.OK {
		t.Errorf("vanish: %+v, want 100 gone and back", r.Vanish)
	}
}

func TestWorkersElsewhere(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	addrs, err := host.OwnAddrs(2)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, len(addrs))
	for _, addr := range addrs {
		go func() { done <- coordinator.ListenAsWorker(ctx, addr, new(bytes.Buffer)) }()
		awaitListener(t, addr)
	}
	f := benchtest.StartFloor(t, floor.Each)
	args := atFloor(f, "-connections 50 -rate 20 -duration 300ms")
	for range 2 { // a worker serves one bench after the other
		r := play(t, append(args, "-workers", strings.Join(addrs, ","))...)
		if r.Steady.Received != 300 || len(r.Workers.Remote) != 2 {
			t.Errorf("received %d, workers %+v, want 300 from two", r.Steady.Received, r.Workers)
		}
		for _, c := range r.Workers.Remote {
			// One machine, one clock: the estimate must be right to its own bound.
			if c.OffsetUs > c.BoundUs+1 || c.OffsetUs < -c.BoundUs-1 {
				t.Errorf("clock of %s is off by %d us, give or take %d, want 0", c.Worker, c.OffsetUs, c.BoundUs)
			}
		}
	}
	cancel()
	for range addrs {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// awaitListener waits until something listens.
func awaitListener(t *testing.T, addr string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close()
			return
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("nothing listens at " + addr)
		}
	}
}

// TestOtherServers has a server with another path, another way to subscribe and to be published to, and no answer.
func TestOtherServers(t *testing.T) {
	t.Parallel()
	d := benchtest.Start(t, benchtest.AsItShould)
	hub := http.NewServeMux()
	hub.HandleFunc("POST /send/{channel}", func(w http.ResponseWriter, r *http.Request) {
		var body bytes.Buffer
		_, _ = body.ReadFrom(r.Body)
		if err := d.Send(r.PathValue("channel"), body.String()); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: hub}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	r := play(t, "-url", strings.Replace(d.URL, "/ws", "/hub?v=2", 1), "-channel", "news",
		"-subscribe", `{"channel":"{channel}","type":"subscribe"}`, "-ack", `"channel":"news"`,
		"-publish", "http://"+l.Addr().String()+"/send/{channel}", "-connections", "20", "-rate", "20", "-duration", "300ms")
	if r.Steady.Received != 120 || !r.OK {
		t.Errorf("received %d, ok %v, want 120, true", r.Steady.Received, r.OK)
	}
}

func TestExitStatuses(t *testing.T) {
	t.Parallel()
	f := benchtest.StartFloor(t, floor.Each)
	base := atFloor(f, "-connections 20 -rate 50 -duration 100ms -progress none -phases steady")
	dir := t.TempDir()
	slow, fast := filepath.Join(dir, "slow.json"), filepath.Join(dir, "fast.json")
	invalid := filepath.Join(dir, "invalid.json")
	for path, seconds := range map[string]float64{slow: 9, fast: 1, invalid: 0} {
		r := &report.Result{Schema: report.Schema, Kind: "load", Valid: path != invalid, Ramp: report.Ramp{Seconds: seconds}, Load: report.Load{Connections: 1}}
		if err := report.WriteJSON(path, r); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		args []string
		want int
	}{
		{"a demand that does not hold", append(slices.Clone(base), "-slo", "p99<1us"), exitDemand},
		{"usage", append(slices.Clone(base), "-slo", "p99"), exitUsage},
		{"regression", []string{"compare", fast, slow, "-max-regress", "10%"}, exitRegression},
		{"no regression", []string{"compare", "-max-regress", "10%", slow, fast}, exitOK},
		{"a regression that nobody asked about", []string{"compare", fast, slow}, exitOK},
		{"nothing to compare with", []string{"compare", fast, invalid, "-max-regress", "10%"}, exitInvalid},
		{"nothing to compare", []string{"compare", invalid, invalid}, exitInvalid},
		{"one file", []string{"compare", fast}, exitUsage},
		{"no file", []string{"compare", fast, filepath.Join(dir, "none.json")}, exitError},
		{"not a worker's parent", []string{"worker"}, exitUsage},
	} {
		var stdout, stderr bytes.Buffer
		got := run(t.Context(), tt.args, &stdout, &stderr)
		if got != tt.want && (got != exitInvalid || tt.want != exitDemand) {
			t.Errorf("%s: exit %d, want %d\n%s%s", tt.name, got, tt.want, &stdout, &stderr)
		}
	}
}

func TestPageOfARun(t *testing.T) {
	t.Parallel()
	f := benchtest.StartFloor(t, floor.Each)
	page := filepath.Join(t.TempDir(), "run.html")
	play(t, append(atFloor(f, "-connections 50 -rate 20 -duration 200ms -repeat 2 -name twice"), "-html", page)...)
	text, err := os.ReadFile(page)
	if err != nil || bytes.Count(text, []byte(`"kind":"load","name":"twice"`)) != 2 {
		t.Errorf("the page of two runs: %d bytes, %v, want both", len(text), err)
	}
}
