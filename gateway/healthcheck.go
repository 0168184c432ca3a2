package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/carillon-ws/carillon/gateway/settings"
)

// healthTimeout bounds `gateway healthcheck`; Docker waits 30 s by default.
const healthTimeout = 3 * time.Second

// healthcheck is `gateway healthcheck`, for images without shell and curl: it asks a running gateway whether its loops
// turn. It asks /livez and not /readyz, because orchestrators restart what is unhealthy. To restart a gateway that lost
// Redis would only add a storm of reconnects.
func healthcheck(ctx context.Context, args []string, stdout io.Writer) error {
	fs := newCommand("healthcheck")
	admin := adminFlag(fs, "address of the gateway's admin listener")
	ready := fs.Bool("ready", false, "ask /readyz instead: whether the gateway is ready for new clients, with Redis")
	if err := parseCommand(fs, args, "gateway healthcheck [-admin HOST:PORT] [-ready]: asks a gateway how it is.\nExit status: 0 it is healthy; 1 it is not, or does not answer; 2 bad flags or arguments.", stdout); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return settings.Usagef("healthcheck: unexpected argument %q", fs.Arg(0))
	}
	path := "/livez"
	if *ready {
		path = "/readyz"
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	answer, err := askAdmin(ctx, *admin, "", http.MethodGet, path, "")
	switch {
	case err != nil:
		return err
	case !answer.ok:
		return fmt.Errorf("healthcheck: %s %s: %s", path, answer.status, answer.text)
	}
	fmt.Fprintln(stdout, answer.text)
	return nil
}
