package main

import (
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/carillon-ws/carillon/bench/report"
	"github.com/carillon-ws/carillon/bench/settings"
)

// runCompare is bench compare: what -json wrote, side by side.
func runCompare(args []string, stdout io.Writer) error {
	fs := flag.NewFlagSet("bench compare", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	allowed := 0.10
	judged := false
	fs.Func("max-regress", "a median that is worse than the first one's by more than this is a regression, exit status 4 (default 10%)", func(v string) error {
		judged = true
		return settings.ShareVar(&allowed)(v)
	})
	html := fs.String("html", "", "also write a page with all runs on the same axes")
	names, err := parseMixed(fs, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(stdout, "bench compare A.json[,A2.json…] B.json[,…] …   runs side by side; files with commas between them are repeats of one")
		fs.SetOutput(stdout)
		fs.PrintDefaults()
		return err
	case err != nil:
		return settings.Usagef("%w", err)
	case len(names) < 2:
		return settings.Usagef("compare needs at least two results (bench compare A.json B.json)")
	}
	var groups []report.Group
	for _, name := range names {
		g, err := report.ReadGroup(name)
		if err != nil {
			return err
		}
		groups = append(groups, g)
	}
	for i := range groups {
		if i > 0 && groups[i].Name == groups[0].Name {
			groups[i].Name += " (" + names[i] + ")"
		}
	}
	c := report.Compare(groups, allowed)
	c.Print(stdout)
	if *html != "" {
		if err := report.WritePage(*html, groups); err != nil {
			return err
		}
	}
	switch {
	case !c.Comparable():
		return fmt.Errorf("%w: without a valid run on each side there is nothing to compare", errInvalid)
	case judged && report.Any(c.Figures, report.Fail):
		return errRegression
	default:
		return nil
	}
}

// parseMixed reads flags that may come before, between and behind the arguments.
func parseMixed(fs *flag.FlagSet, args []string) (names []string, err error) {
	for {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		if args = fs.Args(); len(args) == 0 {
			return names, nil
		}
		names, args = append(names, args[0]), args[1:]
	}
}
