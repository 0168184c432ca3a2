package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/carillon-ws/carillon/bench/benchtest"
	"github.com/carillon-ws/carillon/bench/floor"
	"github.com/carillon-ws/carillon/bench/host"
	"github.com/carillon-ws/carillon/bench/report"
	"github.com/carillon-ws/carillon/bench/settings"
)

func TestRunAgainstFloor(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		mode floor.Mode
		args string
	}{
		{"broadcast, open loop", floor.Each, "-connections 300 -rate 20 -duration 500ms"},
		{"channels, open loop", floor.Each, "-connections 300 -channels 7 -rate 100 -duration 500ms -payload 700"},
		{"broadcast, in flight", floor.Each, "-connections 200 -max-inflight 4 -duration 300ms"},
		{"joined", floor.Joined, "-connections 200 -channels 2 -max-inflight 24 -duration 300ms -ramp 2000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := benchtest.StartFloor(t, tt.mode)
			file := filepath.Join(t.TempDir(), "result.json")
			args := append(strings.Fields(tt.args), "-url", f.URL, "-redis", f.Control, "-json", file)
			var stdout, stderr bytes.Buffer
			cfg, err := settings.Parse(args, nil)
			if err != nil {
				t.Fatal(err)
			}
			cfg.Settle = 50 * time.Millisecond
			if err := runLoad(t.Context(), cfg, &stdout, &stderr); err != nil && !errors.Is(err, errInvalid) { // how busy the machine is, is not what is tested
				t.Fatalf("%v\n%s%s", err, &stdout, &stderr)
			}
			for _, want := range []string{"lost 0", "p99.9", "last subscriber", "server CPU", "B a connection", "OK "} {
				if !strings.Contains(stdout.String(), want) {
					t.Errorf("the report lacks %q:\n%s", want, &stdout)
				}
			}
			checkJSON(t, file)
		})
	}
}

// checkJSON checks that what -json wrote is whole and agrees with itself.
func checkJSON(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r report.Result
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	s := r.Steady
	switch {
	case r.Schema != report.Schema || r.Kind != "load" || !r.OK:
		t.Errorf("schema %d, kind %q, ok %v", r.Schema, r.Kind, r.OK)
	case s.Expected == 0 || s.Received != s.Expected || s.Delivery.Count != int64(s.Received) || s.Last.Count != int64(s.Publications):
		t.Errorf("the counts do not agree: %+v", s)
	case s.Delivery.P50 > s.Delivery.P99 || s.Delivery.P99 > s.Delivery.Max || s.Last.Max > s.Delivery.Max:
		t.Errorf("the latencies do not agree: %+v", s)
	case r.Server == nil || r.Cost == nil || r.Cost.Each <= 0:
		t.Errorf("the server's process is here, but was not looked at: %+v %+v", r.Server, r.Cost)
	}
}

func TestOwnGateway(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	args := []string{"-gateway", self, "-connections", "100", "-rate", "50", "-duration", "200ms"}
	if code := run(t.Context(), args, &stdout, &stderr); code != exitOK && code != exitInvalid {
		t.Fatalf("exit %d, want 0\n%s%s", code, &stdout, &stderr)
	}
	for _, want := range []string{"stand-in v0", "started for this run", "embedded Redis", "17 goroutines", "expected 1,000", "received 1,000"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, &stdout)
		}
	}
}

func TestRunErrors(t *testing.T) {
	t.Parallel()
	f := benchtest.StartFloor(t, floor.Each)
	addrs, err := host.OwnAddrs(1)
	if err != nil {
		t.Fatal(err)
	}
	refused := addrs[0] // nobody listens there
	for _, tt := range []struct {
		name, want string
		args       []string
	}{
		{"no admin listener", "give -redis", []string{"-url", f.URL, "-admin", "http://" + refused}},
		{"no Redis", "refused", []string{"-url", f.URL, "-redis", "redis://" + refused}},
		{"nothing there", "nothing answers at ws://" + refused, []string{"-url", "ws://" + refused + "/ws", "-redis", "redis://127.0.0.1:1"}},
		{"nowhere to write", "no such file", []string{"-url", f.URL, "-redis", f.Control, "-html", "/nowhere/page.html"}},
		{"no such gateway", "no such file", []string{"-gateway", "/nowhere/gateway"}},
		{"gateway that ends", "ended early", []string{"-gateway", "/bin/false"}},
		{"too many files", "ulimit -n", []string{"-url", f.URL, "-redis", f.Control, "-procs", "1", "-connections", "100000000"}},
		{"too little memory", "MiB are available", []string{"-url", f.URL, "-redis", f.Control, "-connections", "100000000"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), tt.args, &stdout, &stderr)
			if code != exitError || !strings.Contains(stderr.String(), tt.want) {
				t.Errorf("exit %d, stderr %q, want 1 and %q", code, &stderr, tt.want)
			}
		})
	}
}
