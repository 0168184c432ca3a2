package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/carillon-ws/carillon/bench/floor"
	"github.com/carillon-ws/carillon/bench/host"
	"github.com/carillon-ws/carillon/bench/report"
)

// vsResult is what -vs-floor found out. README.md documents its JSON.
type vsResult struct {
	Schema      int          `json:"schema"`
	Kind        string       `json:"kind"` // vs-floor
	When        time.Time    `json:"when"`
	Command     []string     `json:"command"`
	Machine     host.Machine `json:"machine"`
	Gateway     string       `json:"gateway"` // name and version
	Connections int          `json:"connections"`
	Payload     int          `json:"payload"`
	Loops       int          `json:"loops"`
	Pinned      bool         `json:"pinned"`
	Redis       string       `json:"redis"` // whose CPU it is: own, given, or embedded in the gateway
	Runs        int          `json:"runs"`
	OK          bool         `json:"ok"` // every median holds
	Criteria    []*compared  `json:"criteria"`
}

// versus is one run of -vs-floor: floor, gateway, floor, gateway …, each a fresh process, all with the same clients.
type versus struct {
	cfg    *config
	place  host.Placement
	binary string
	redis  string // empty: the gateway embeds one
	stderr io.Writer
	out    *vsResult
}

func runVsFloor(ctx context.Context, cfg *config, stdout, stderr io.Writer) (err error) {
	if err := checkWritable(cfg.json); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "carillon-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // what stays is in the temporary directory
	v := &versus{cfg: cfg, place: host.Anywhere, redis: cfg.redis, stderr: stderr, out: &vsResult{
		Schema: report.Schema, Kind: "vs-floor", When: time.Now().UTC().Truncate(time.Second), Command: os.Args, Machine: host.ThisMachine(),
		Connections: cfg.connections, Payload: cfg.payload, Loops: cfg.loops, Runs: cfg.runs,
	}}
	if v.binary, err = gatewayBinary(ctx, cfg.gateway, dir, stderr); err != nil {
		return err
	}
	if cfg.pin {
		if v.place, v.out.Pinned, err = host.Pinned(); err != nil {
			return err
		}
	}
	stopRedis, err := v.provideRedis(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopRedis()) }()
	for _, c := range criteria() {
		v.out.Criteria = append(v.out.Criteria, &compared{criterion: c})
	}
	for i := range cfg.runs {
		if err := v.once(ctx, i); err != nil {
			return err
		}
	}
	return v.finish(stdout)
}

// provideRedis starts a Redis of our own beside the generator, unless one is given: inside the gateway it would
// count as the gateway's work, of which the floor has none.
func (v *versus) provideRedis(ctx context.Context) (stop func() error, err error) {
	stop = func() error { return nil }
	if v.redis != "" {
		v.out.Redis = "given"
		return stop, nil
	}
	server, err := startRedis(ctx, v.place.Rest)
	if errors.Is(err, errNoRedisServer) {
		v.out.Redis = "embedded"
		return stop, nil // the report says what it means
	}
	if err != nil {
		return stop, err
	}
	v.redis, v.out.Redis = server.url, "own"
	return server.stop, nil
}

// once is one run of every scenario on either server.
func (v *versus) once(ctx context.Context, run int) error {
	var cheapest, gateway [2]*sample
	for i, sc := range []scenario{broadcastScenario(v.cfg.payload), channelsScenario(v.cfg.payload)} {
		var err error
		fmt.Fprintf(v.stderr, "run %d of %d  %-9s  floor", run+1, v.cfg.runs, sc.name)
		if cheapest[i], err = v.play(ctx, &sc, v.startFloor); err != nil {
			return fmt.Errorf("floor, %s: %w", sc.name, err)
		}
		fmt.Fprintf(v.stderr, " %s  gateway", cheapest[i])
		if gateway[i], err = v.play(ctx, &sc, v.startGateway); err != nil {
			return fmt.Errorf("gateway, %s: %w", sc.name, err)
		}
		fmt.Fprintf(v.stderr, " %s\n", gateway[i])
	}
	for _, c := range v.out.Criteria {
		c.add(c.value(cheapest[0], cheapest[1]), c.value(gateway[0], gateway[1]))
	}
	return nil
}

// play starts a server, runs a scenario against it, and stops it.
func (v *versus) play(ctx context.Context, sc *scenario, start func(context.Context) (*gateway, error)) (s *sample, err error) {
	g, err := start(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	return sc.play(ctx, g, v.cfg.connections)
}

func (v *versus) startFloor(ctx context.Context) (*gateway, error) {
	f, err := floor.Start(ctx, floor.Each, v.place.Server)
	if err != nil {
		return nil, err
	}
	return &gateway{info: info{Name: "floor", URL: f.URL, PID: f.Child.PID()}, redis: f.Control, own: f.Child, local: true, thread: f.Thread}, nil
}

func (v *versus) startGateway(ctx context.Context) (*gateway, error) {
	args := append([]string{"-loops", strconv.Itoa(v.cfg.loops)}, v.cfg.gatewayArgs...)
	g, err := startGateway(ctx, v.binary, args, v.redis, v.place.Server)
	if err == nil {
		v.out.Gateway = strings.TrimSpace(g.info.Name + " " + g.info.Version)
	}
	return g, err
}

func (v *versus) finish(stdout io.Writer) error {
	v.out.OK = true
	for _, c := range v.out.Criteria {
		v.out.OK = v.out.OK && c.Pass
	}
	printVersus(stdout, v.out)
	if v.cfg.json != "" {
		if err := report.WriteJSON(v.cfg.json, v.out); err != nil {
			return err
		}
	}
	if !v.out.OK {
		return errDemand
	}
	return nil
}

// String is the sample in a progress line: CPU per delivery of each step.
func (s *sample) String() string {
	text := make([]string, 0, len(s.steps))
	for _, step := range s.steps {
		text = append(text, fmt.Sprintf("%.2f", step.cost.Each))
	}
	return strings.Join(text, " / ") + " us"
}

func printVersus(w io.Writer, r *vsResult) {
	fmt.Fprintf(w, "\ngateway  %s, -loops %d, %s connections, %d B, against the floor server (mode each: one write per delivery)\n",
		r.Gateway, r.Loops, report.Thousands(r.Connections), r.Payload)
	fmt.Fprintf(w, "%s\n", report.DescribeMachine(r.Machine))
	where := "not pinned"
	if r.Pinned {
		where = "server pinned to one CPU, clients and Redis to another"
	}
	fmt.Fprintf(w, "runs     %d, interleaved, fresh processes; %s; Redis: %s\n\n", r.Runs, where, r.Redis)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "measured\tfloor\tgateway\tratio\tspread\thold\taim\t")
	for _, c := range r.Criteria {
		ratio, spread := fmt.Sprintf("%.2f", c.Ratio), ""
		if c.Ratio == 0 {
			ratio = "" // the floor used nothing
		}
		if c.Absolute {
			spread = fmt.Sprintf("%s … %s", unit(c.Min, c.Unit), unit(c.Max, c.Unit))
		} else {
			spread = fmt.Sprintf("%.2f … %.2f", c.Min, c.Max)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.What, unit(median(c.Floor), c.Unit), unit(median(c.Gateway), c.Unit),
			ratio, spread, c.bound(c.Hold), c.bound(c.Aim), c.passText())
	}
	_ = tw.Flush() // the writer under it keeps its error, and stdout has nobody to tell
	if r.Connections != 10000 {
		fmt.Fprintln(w, "NOTE  hold and aim are meant for 10,000 connections.")
	}
	if r.Redis == "embedded" {
		fmt.Fprintln(w, "NOTE  no redis-server in PATH: the gateway's figures include the Redis embedded in it.")
	}
}

func unit(v float64, of string) string {
	switch of {
	case "us":
		return fmt.Sprintf("%.2f us", v)
	case "B":
		return fmt.Sprintf("%.0f B", v)
	default:
		return report.Thousands(int(v)) + of
	}
}
