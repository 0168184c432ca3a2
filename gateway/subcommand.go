package main

import (
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/carillon-ws/carillon/gateway/settings"
)

// newCommand returns the flag set of a command other than serve and demo, for [parseCommand].
func newCommand(name string) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // what is wrong is said once, by main
	return fs
}

// parseCommand reads a command's arguments. Asked for help it prints the synopsis and the flags, and returns
// flag.ErrHelp; any other error is a settings.UsageError of one sentence.
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
