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

// healthcheck is for containers, whose image has neither shell nor curl: it asks a running gateway whether its loops
// turn. That is /livez and not /readyz, because orchestrators restart what is unhealthy, and a restart for a lost Redis
// would only add a storm of reconnects.
func healthcheck(ctx context.Context, args []string, stdout io.Writer) error {
	fs := newCommand("healthcheck")
	admin := adminFlag(fs, "admin listener of the gateway")
	ready := fs.Bool("ready", false, "ask whether new clients should be sent there: Redis too")
	if err := parseCommand(fs, args, "gateway healthcheck [-admin HOST:PORT] [-ready]: exit status 0 when it is well, 1 when it is not", stdout); err != nil {
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
