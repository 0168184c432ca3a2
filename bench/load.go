package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"github.com/carillon-ws/carillon/bench/floor"
	"github.com/carillon-ws/carillon/bench/host"
	"github.com/carillon-ws/carillon/bench/report"
)

// runLoad is a run without -vs-floor, -repeat times over.
func runLoad(ctx context.Context, cfg *config, stdout, stderr io.Writer) error {
	for _, path := range []string{cfg.json, cfg.html} {
		if err := checkWritable(path); err != nil {
			return err
		}
	}
	var all []*report.Result
	for i := range cfg.repeat {
		if cfg.repeat > 1 {
			fmt.Fprintf(stderr, "run %d of %d\n", i+1, cfg.repeat)
		}
		err := conduct(ctx, cfg, stderr, func(r *report.Result) error {
			report.Print(stdout, r)
			all = append(all, r)
			return write(cfg, all)
		})
		if err != nil {
			return err
		}
	}
	return judge(all)
}

// checkWritable refuses, before a run and not after it, a file that cannot be written. It leaves the file as it is.
func checkWritable(path string) error {
	if path == "" {
		return nil
	}
	_, statErr := os.Stat(path)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil || statErr == nil {
		return err
	}
	return os.Remove(path) // it was not there
}

// write makes the files that were asked for.
func write(cfg *config, all []*report.Result) error {
	if cfg.json != "" {
		var v any = all[0]
		if len(all) > 1 {
			v = all
		}
		if err := report.WriteJSON(cfg.json, v); err != nil {
			return err
		}
	}
	if cfg.html == "" {
		return nil
	}
	f, err := os.Create(cfg.html)
	if err != nil {
		return err
	}
	if err := report.WriteHTML(f, []report.Group{{Name: cfg.name, Runs: all}}); err != nil {
		_ = f.Close() // the error that counts is the first
		return err
	}
	return f.Close()
}

// judge is the error that a run ends with. An invalid one is that first of all: nothing it says counts.
func judge(all []*report.Result) error {
	for _, r := range all {
		if !r.Valid {
			return errInvalid
		}
	}
	for _, r := range all {
		if !r.OK {
			return errUndelivered
		}
		if failed := r.Failed(); len(failed) > 0 {
			return fmt.Errorf("%w: -slo %s: %s", errDemand, strings.TrimPrefix(failed[0].What, "-slo "), failed[0].Found())
		}
	}
	return nil
}

// findTarget is findGateway, or what stands in for one when publications go to a floor server.
func findTarget(ctx context.Context, cfg *config, stderr io.Writer) (*gateway, error) {
	u, err := url.Parse(cfg.redis)
	if err != nil || u.Scheme != floor.Scheme {
		return findGateway(ctx, cfg, stderr)
	}
	p, err := floor.Dial(ctx, u.Host)
	if err != nil {
		return nil, err
	}
	defer p.Close() //nolint:errcheck // the answer has come, or its error is returned
	s, err := p.Stats(ctx)
	if err != nil {
		return nil, fmt.Errorf("floor server at %s: %w", cfg.redis, err)
	}
	g := &gateway{info: info{Name: "floor", URL: cfg.url, PID: s.PID, Loops: 1}, redis: cfg.redis, thread: s.Thread}
	g.local = host.IsLocal(s.PID, "http://"+u.Host)
	return g, nil
}
