package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// vsResult is what -vs-floor found out. README.md documents its JSON.
type vsResult struct {
	Schema      int         `json:"schema"`
	Kind        string      `json:"kind"` // vs-floor
	When        time.Time   `json:"when"`
	Command     []string    `json:"command"`
	Machine     machine     `json:"machine"`
	Gateway     string      `json:"gateway"` // name and version
	Connections int         `json:"connections"`
	Payload     int         `json:"payload"`
	Loops       int         `json:"loops"`
	Pinned      bool        `json:"pinned"`
	Redis       string      `json:"redis"` // whose CPU it is: own, given, or embedded in the gateway
	Runs        int         `json:"runs"`
	OK          bool        `json:"ok"` // every median holds
	Criteria    []*compared `json:"criteria"`
}

// versus is one run of -vs-floor: floor, gateway, floor, gateway …, each a fresh process, all with the same clients.
type versus struct {
	cfg    *config
	place  placement
	binary string
	redis  string // empty: the gateway embeds one
	stderr io.Writer
	out    *vsResult
}

func runVsFloor(ctx context.Context, cfg *config, stdout, stderr io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "carillon-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // what stays is in the temporary directory
	v := &versus{cfg: cfg, place: anywhere, redis: cfg.redis, stderr: stderr, out: &vsResult{
		Schema: schema, Kind: "vs-floor", When: time.Now().UTC().Truncate(time.Second), Command: os.Args, Machine: thisMachine(),
		Connections: cfg.connections, Payload: cfg.payload, Loops: cfg.loops, Runs: cfg.runs,
	}}
	if v.binary, err = gatewayBinary(ctx, cfg.gateway, dir, stderr); err != nil {
		return err
	}
	if cfg.pin {
		if v.place, v.out.Pinned, err = pinned(); err != nil {
			return err
		}
	}
	stopRedis, err := v.provideRedis(ctx, dir)
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
func (v *versus) provideRedis(ctx context.Context, dir string) (stop func() error, err error) {
	stop = func() error { return nil }
	if v.redis != "" {
		v.out.Redis = "given"
		return stop, nil
	}
	server, err := exec.LookPath("redis-server")
	if err != nil {
		v.out.Redis = "embedded"
		return stop, nil //nolint:nilerr // not an error: the report says what it means
	}
	ports, err := freePorts(1)
	if err != nil {
		return stop, err
	}
	c, err := startChild(server, []string{"--port", ports[0], "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", dir}, nil, nil, v.place.rest)
	if err != nil {
		return stop, err
	}
	v.redis, v.out.Redis = "redis://127.0.0.1:"+ports[0], "own"
	err = c.await(ctx, 10*time.Second, func(ctx context.Context) error {
		p, err := newRedisPublisher(ctx, v.redis)
		if err != nil {
			return err
		}
		return p.Close()
	})
	if err != nil {
		return stop, join(err, c)
	}
	return c.stop, nil
}

// once is one run of every scenario on either server.
func (v *versus) once(ctx context.Context, run int) error {
	var floor, gateway [2]*sample
	for i, sc := range []scenario{broadcastScenario(v.cfg.payload), channelsScenario(v.cfg.payload)} {
		var err error
		fmt.Fprintf(v.stderr, "run %d of %d  %-9s  floor", run+1, v.cfg.runs, sc.name)
		if floor[i], err = v.play(ctx, &sc, v.startFloor); err != nil {
			return fmt.Errorf("floor, %s: %w", sc.name, err)
		}
		fmt.Fprintf(v.stderr, " %s  gateway", floor[i])
		if gateway[i], err = v.play(ctx, &sc, v.startGateway); err != nil {
			return fmt.Errorf("gateway, %s: %w", sc.name, err)
		}
		fmt.Fprintf(v.stderr, " %s\n", gateway[i])
	}
	for _, c := range v.out.Criteria {
		c.add(c.value(floor[0], floor[1]), c.value(gateway[0], gateway[1]))
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
	f, err := startFloor(ctx, floorEach, v.place.server)
	if err != nil {
		return nil, err
	}
	return &gateway{info: info{Name: "floor", URL: f.URL, PID: f.pid()}, redis: f.Control, own: f.child, local: true, thread: f.Thread}, nil
}

func (v *versus) startGateway(ctx context.Context) (*gateway, error) {
	args := append([]string{"-loops", strconv.Itoa(v.cfg.loops)}, v.cfg.gatewayArgs...)
	g, err := startGateway(ctx, v.binary, args, v.redis, v.place.server)
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
		if err := writeJSON(v.cfg.json, v.out); err != nil {
			return err
		}
	}
	if !v.out.OK {
		return errHoldMissed
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
		r.Gateway, r.Loops, thousands(r.Connections), r.Payload)
	fmt.Fprintf(w, "%s\n", describeMachine(r.Machine))
	where := "not pinned"
	if r.Pinned {
		where = "server pinned to one CPU, clients and Redis to another"
	}
	fmt.Fprintf(w, "runs     %d, interleaved, fresh processes; %s; Redis: %s\n\n", r.Runs, where, r.Redis)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "measured\tfloor\tgateway\tratio\tspread\thold\taim\t")
	for _, c := range r.Criteria {
		ratio, spread := "", ""
		if c.Absolute {
			spread = fmt.Sprintf("%s … %s", unit(c.Min, c.Unit), unit(c.Max, c.Unit))
		} else {
			ratio, spread = fmt.Sprintf("%.2f", c.Median), fmt.Sprintf("%.2f … %.2f", c.Min, c.Max)
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
		return thousands(int(v)) + of
	}
}
