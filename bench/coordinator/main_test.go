package coordinator

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/carillon-ws/carillon/bench/benchtest"
	"github.com/carillon-ws/carillon/bench/floor"
)

// stopped ends when the process is asked to.
func stopped() context.Context {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx
}

// The test binary is also the processes that the tests start: workers and the floor server.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		var err error
		switch os.Args[1] {
		case "worker":
			err = RunWorker(stopped())
		case "floor":
			var cfg floor.Config
			if cfg, err = floor.ParseFlags(os.Args[2:], os.Stderr); err == nil {
				err = floor.Run(stopped(), cfg, os.Stdout, os.Stderr)
			}
		default:
			os.Exit(benchtest.Run(m))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(benchtest.Run(m))
}
