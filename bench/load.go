package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/carillon-ws/carillon/bench/coordinator"
	"github.com/carillon-ws/carillon/bench/report"
	"github.com/carillon-ws/carillon/bench/settings"
)

// runLoad is a run without -vs-floor, -repeat times over.
func runLoad(ctx context.Context, cfg *settings.Config, stdout, stderr io.Writer) error {
	for _, path := range []string{cfg.JSON, cfg.HTML} {
		if err := checkWritable(path); err != nil {
			return err
		}
	}
	var all []*report.Result
	for i := range cfg.Repeat {
		if cfg.Repeat > 1 {
			fmt.Fprintf(stderr, "run %d of %d\n", i+1, cfg.Repeat)
		}
		err := coordinator.Conduct(ctx, cfg, stderr, func(r *report.Result) error {
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
func write(cfg *settings.Config, all []*report.Result) error {
	if cfg.JSON != "" {
		var v any = all[0]
		if len(all) > 1 {
			v = all
		}
		if err := report.WriteJSON(cfg.JSON, v); err != nil {
			return err
		}
	}
	if cfg.HTML == "" {
		return nil
	}
	return report.WritePage(cfg.HTML, []report.Group{{Name: cfg.Name, Runs: all}})
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
