// Command bench loads a notification gateway over the wire and says what its clients saw.
//
//	bench [flags]           connect, subscribe, publish, and report latency, loss, CPU and memory
//	bench -vs-floor         the same, as ratios to the cheapest server there can be, interleaved in one run
//	bench floor [flags]     that server: one thread, one pre-built frame, one write per subscriber
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
)

// Exit statuses.
const (
	exitOK    = 0
	exitError = 1 // the run did not work, or something was lost, duplicated or out of order
	exitUsage = 2 // it was asked for wrongly
	exitHold  = 3 // -vs-floor: everything was delivered, but a number is worse than what must hold
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	// After the first signal the default action is back: a second one leaves at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// usageError marks errors that are the caller's: one sentence, exit status 2.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

var (
	errUndelivered = errors.New("not everything was delivered once and in order")
	errHoldMissed  = errors.New("a number is worse than what must hold")
)

// run is the whole program, so that tests can be its caller. It returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := command(ctx, args, stdout, stderr)
	var usage usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintln(stderr, "bench: "+err.Error())
		return exitUsage
	case errors.Is(err, errHoldMissed):
		fmt.Fprintln(stderr, "bench: "+err.Error())
		return exitHold
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "bench: interrupted")
		return exitError
	default:
		fmt.Fprintln(stderr, "bench: "+err.Error())
		return exitError
	}
}

func command(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == "floor" {
		cfg, err := parseFloorFlags(args[1:], stdout)
		if err != nil {
			return err
		}
		return runFloor(ctx, cfg, stdout, stderr)
	}
	cfg, err := parseFlags(args, stdout)
	if err != nil {
		return err
	}
	redis.SetLogger(quiet{})
	// A worker keeps a processor while it reads; whoever publishes must find another one, also when the machine (or
	// our pinning) leaves us a single CPU.
	runtime.GOMAXPROCS(max(runtime.NumCPU(), workers()+2))
	if cfg.vsFloor {
		return runVsFloor(ctx, cfg, stdout, stderr)
	}
	return runLoad(ctx, cfg, stdout, stderr)
}

// workers is how many threads read sockets. The other half of a small machine is the server's.
func workers() int { return min(2, max(1, runtime.NumCPU()/2)) }
