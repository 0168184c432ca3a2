// Command bench loads a notification gateway over the wire and says what its clients saw.
//
//	bench [flags]           connect, subscribe, publish, and report latency, loss, CPU and memory
//	bench compare A B       runs side by side, from what -json wrote
//	bench -vs-floor         ratios to the cheapest server there can be, interleaved in one run
//	bench floor [flags]     that server: one thread, one pre-built frame, one write per subscriber
//	bench -worker ADDR      clients for a bench on another machine
//
// README.md beside this file says what is measured, how, and what the figures do not mean.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/redis/go-redis/v9"

	"github.com/carillon-ws/carillon/bench/coordinator"
	"github.com/carillon-ws/carillon/bench/floor"
	"github.com/carillon-ws/carillon/bench/publish"
	"github.com/carillon-ws/carillon/bench/settings"
)

// Exit statuses.
const (
	exitOK         = 0
	exitError      = 1 // the run did not work, or something was lost, duplicated or out of order
	exitUsage      = 2 // bad flags or arguments
	exitDemand     = 3 // a demand of -slo does not hold, or -vs-floor found a number worse than what must hold
	exitRegression = 4 // compare found one
	exitInvalid    = 5 // bench itself did not keep up: the figures are not the server's
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	// After the first signal the default action is back: a second one leaves at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// outcome is an error that has an exit status of its own.
type outcome struct {
	error
	status int
}

// What runs and comparisons end with.
var (
	errUndelivered = outcome{errors.New("not everything was delivered once and in order"), exitError}
	errDemand      = outcome{errors.New("a number is worse than what must hold"), exitDemand}
	errRegression  = outcome{errors.New("there is a regression"), exitRegression}
	errInvalid     = outcome{errors.New("the run is invalid: bench itself did not keep up"), exitInvalid}
)

// run is the whole program, so that tests can be its caller. It returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := command(ctx, args, stdout, stderr)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	status := exitError
	o, isOutcome := errors.AsType[outcome](err)
	_, isUsage := errors.AsType[settings.UsageError](err)
	switch {
	case isUsage:
		status = exitUsage
	case ctx.Err() != nil:
		err = errors.New("interrupted")
	case isOutcome:
		status = o.status
	}
	fmt.Fprintln(stderr, "bench: "+err.Error())
	return status
}

func command(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	// A name: what follows is not a run.
	if len(args) > 0 {
		switch args[0] {
		case "floor":
			return runFloor(ctx, args[1:], stdout, stderr)
		case "worker":
			return coordinator.RunWorker(ctx)
		case "compare":
			return runCompare(args[1:], stdout)
		}
	}
	cfg, err := settings.Parse(args, stdout)
	if err != nil {
		return err
	}
	redis.SetLogger(publish.Quiet{})
	// A reader keeps one of Go's processors while it reads. The publisher needs another one, also when the machine or
	// -pin leaves a single CPU.
	runtime.GOMAXPROCS(max(runtime.NumCPU(), coordinator.Readers()+2))
	switch {
	case cfg.Worker != "":
		return coordinator.ListenAsWorker(ctx, cfg.Worker, stderr)
	case cfg.VsFloor:
		return runVsFloor(ctx, cfg, stdout, stderr)
	default:
		return runLoad(ctx, cfg, stdout, stderr)
	}
}

// runFloor is the floor server.
func runFloor(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	cfg, err := floor.ParseFlags(args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	if err != nil {
		return settings.Usagef("%w", err)
	}
	return floor.Run(ctx, cfg, stdout, stderr)
}
