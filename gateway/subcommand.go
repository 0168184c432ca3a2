package main

import (
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/carillon-ws/carillon/gateway/settings"
)

// newCommand returns the flag set of a command for [parseCommand]. The flags of serve and demo are in package settings.
func newCommand(name string) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // main prints the error, once
	return fs
}

// parseCommand parses the arguments of a command. With -h it prints the synopsis and the flags, and returns flag.ErrHelp.
// Any other error is a settings.UsageError of one sentence.
func parseCommand(fs *flag.FlagSet, args []string, synopsis string, stdout io.Writer) error {
	err := fs.Parse(args)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(stdout, synopsis)
		fs.SetOutput(stdout)
		fs.PrintDefaults()
		return err
	default:
		return settings.Usagef("%s: %v (%s)", fs.Name(), err, settings.Hint(err, fs, "gateway "+fs.Name()+" -h"))
	}
}
