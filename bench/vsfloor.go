package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/carillon-ws/carillon/bench/floor"
	"github.com/carillon-ws/carillon/bench/host"
	"github.com/carillon-ws/carillon/bench/report"
	"github.com/carillon-ws/carillon/bench/settings"
	"github.com/carillon-ws/carillon/bench/target"
)

// vsResult is what -vs-floor found out. README.md documents its JSON.
type vsResult struct {
	Schema      int              `json:"schema"`
	Kind        string           `json:"kind"` // vs-floor
	When        time.Time        `json:"when"`
	Command     []string         `json:"command"`
	Machine     host.Machine     `json:"machine"`
	Gateway     string           `json:"gateway"` // name and version
	Connections int              `json:"connections"`
	Payload     int              `json:"payload"`
	Loops       int              `json:"loops"`
	Pinned      bool             `json:"pinned"`
	Redis       string           `json:"redis"` // whose CPU it is: own, given, or embedded in the gateway
	Runs        int              `json:"runs"`
	OK          bool             `json:"ok"`    // every median holds
	Valid       bool             `json:"valid"` // bench kept up in at least half of the runs of every figure
	Figures     []*report.Figure `json:"figures"`
}

// versus is one run of -vs-floor: the floor in both modes, the gateway, the floor …, each a fresh process, all with the
// same clients.
type versus struct {
	cfg      *settings.Config
	place    host.Placement
	binary   string
	redis    string // empty: the gateway embeds one
	stderr   io.Writer
	criteria []criterion
	out      *vsResult
}

func runVsFloor(ctx context.Context, cfg *settings.Config, stdout, stderr io.Writer) (err error) {
	if err := checkWritable(cfg.JSON); err != nil {
		return err
	}
	v := &versus{cfg: cfg, place: host.Anywhere, redis: cfg.Redis, stderr: stderr, criteria: criteria(cfg.Loops), out: &vsResult{
		Schema: report.Schema, Kind: "vs-floor", When: time.Now().UTC().Truncate(time.Second), Command: os.Args, Machine: host.ThisMachine(),
		Connections: cfg.Connections, Payload: cfg.Payload, Loops: cfg.Loops, Runs: cfg.Runs,
	}}
	binary, cleanUp, err := target.Provide(ctx, cfg.Gateway, stderr)
	if err != nil {
		return err
	}
	defer cleanUp()
	v.binary = binary
	if cfg.Pin {
		if v.place, v.out.Pinned, err = host.Pinned(); err != nil {
			return err
		}
	}
	stopRedis, err := v.provideRedis(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopRedis()) }()
	for i := range cfg.Runs {
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
	server, err := target.StartRedis(ctx, v.place.Rest)
	if errors.Is(err, target.ErrNoRedisServer) {
		v.out.Redis = "embedded"
		return stop, nil // the report says what it means
	}
	if err != nil {
		return stop, err
	}
	v.redis, v.out.Redis = server.URL, "own"
	return server.Stop, nil
}

// once is one run of every scenario on every server.
func (v *versus) once(ctx context.Context, run int) error {
	servers := []struct {
		name  string
		start func(context.Context) (*target.Gateway, error)
	}{
		{oneWrite, func(ctx context.Context) (*target.Gateway, error) { return v.startFloor(ctx, floor.Each) }},
		{joined, func(ctx context.Context) (*target.Gateway, error) { return v.startFloor(ctx, floor.Joined) }},
		{"gateway", v.startGateway},
	}
	samples := map[string]*sample{}
	for _, sc := range scenarios(v.cfg.Connections, v.cfg.Payload) {
		fmt.Fprintf(v.stderr, "run %d of %d  %-14s", run+1, v.cfg.Runs, sc.name)
		for _, server := range servers {
			s := samples[server.name]
			if s == nil {
				s = &sample{steps: map[string]*stepSample{}}
				samples[server.name] = s
			}
			on := sc
			if server.name == joined {
				on.settle, on.steps = 0, joining(sc.steps)
			}
			if err := v.play(ctx, &on, s, server.start); err != nil {
				return fmt.Errorf("%s, %s: %w", server.name, sc.name, err)
			}
			fmt.Fprintf(v.stderr, "  %s", server.name)
			for _, st := range on.steps {
				fmt.Fprintf(v.stderr, " %.2f", s.steps[st.name].cost.Each)
			}
		}
		fmt.Fprintln(v.stderr, " us")
	}
	for i := range v.criteria {
		v.criteria[i].add(samples)
	}
	return nil
}

// joining are the steps that the joined floor plays: in the others nothing piles up.
func joining(steps []step) (some []step) {
	for _, st := range steps {
		if st.joins {
			some = append(some, st)
		}
	}
	return some
}

// play starts a server, runs a scenario against it, and stops it.
func (v *versus) play(ctx context.Context, sc *scenario, s *sample, start func(context.Context) (*target.Gateway, error)) (err error) {
	g, err := start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Stop()) }()
	return sc.play(ctx, g, v.cfg.Connections, s)
}

func (v *versus) startFloor(ctx context.Context, mode floor.Mode) (*target.Gateway, error) {
	f, err := floor.Start(ctx, mode, v.place.Server)
	if err != nil {
		return nil, err
	}
	return &target.Gateway{Info: target.Info{Name: "floor", URL: f.URL, PID: f.Child.PID()}, Redis: f.Control, Own: f.Child, Local: true, Thread: f.Thread}, nil
}

func (v *versus) startGateway(ctx context.Context) (*target.Gateway, error) {
	args := append([]string{"-loops", strconv.Itoa(v.cfg.Loops)}, v.cfg.GatewayArgs...)
	g, err := target.Start(ctx, v.binary, args, v.redis, v.place.Server)
	if err == nil {
		v.out.Gateway = strings.TrimSpace(g.Info.Name + " " + g.Info.Version)
	}
	return g, err
}

func (v *versus) finish(stdout io.Writer) error {
	r := v.out
	for i := range v.criteria {
		r.Figures = append(r.Figures, v.criteria[i].judge(v.cfg.Runs))
	}
	r.OK, r.Valid = !report.Any(r.Figures, report.Fail), !report.Any(r.Figures, report.Invalid)
	printVersus(stdout, r)
	if v.cfg.JSON != "" {
		if err := report.WriteJSON(v.cfg.JSON, r); err != nil {
			return err
		}
	}
	switch {
	case !r.Valid:
		return errInvalid
	case !r.OK:
		return errDemand
	default:
		return nil
	}
}

func printVersus(w io.Writer, r *vsResult) {
	fmt.Fprintf(w, "\ngateway  %s, -loops %d, %s connections, %d B, against the floor server: with one write per delivery, and joined\n",
		r.Gateway, r.Loops, report.Thousands(r.Connections), r.Payload)
	fmt.Fprintf(w, "%s\n", report.DescribeMachine(r.Machine))
	where := "not pinned"
	if r.Pinned {
		where = "server pinned to one CPU, clients and Redis to another"
	}
	fmt.Fprintf(w, "runs     %d, interleaved, fresh processes; %s; Redis: %s\n\n", r.Runs, where, r.Redis)
	report.PrintFigures(w, r.Figures)
	if r.Connections != 10000 {
		fmt.Fprintln(w, "NOTE  hold and aim are meant for 10,000 connections.")
	}
	if r.Redis == "embedded" {
		fmt.Fprintln(w, "NOTE  no redis-server in PATH: the gateway's figures include the Redis embedded in it.")
	}
}
