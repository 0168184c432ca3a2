package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// healthTimeout bounds `gateway healthcheck`; Docker waits 30 s by default.
const healthTimeout = 3 * time.Second

// healthcheck is for containers, whose image has neither shell nor curl: it asks a running gateway whether its loops
// turn. That is /livez and not /readyz, because orchestrators restart what is unhealthy, and a restart for a lost Redis
// would only add a storm of reconnects.
func healthcheck(ctx context.Context, args []string, stdout io.Writer) error {
	fs := flag.NewFlagSet("healthcheck", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	admin := adminFlag(fs, "admin listener of the gateway")
	ready := fs.Bool("ready", false, "ask whether new clients should be sent there: Redis too")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(stdout, "gateway healthcheck [-admin HOST:PORT] [-ready]: exit status 0 when it is well, 1 when it is not")
			fs.SetOutput(stdout)
			fs.PrintDefaults()
			return err
		}
		return usagef("healthcheck: %v (%s)", err, hint(err, fs, "gateway healthcheck -h"))
	}
	if fs.NArg() > 0 {
		return usagef("healthcheck: unexpected argument %q", fs.Arg(0))
	}
	path := "/livez"
	if *ready {
		path = "/readyz"
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	at, err := adminURL(*admin, path)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return usagef("healthcheck: -admin: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("no gateway answers at -admin %s: %w", *admin, err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end, or given up
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return fmt.Errorf("read the gateway's answer: %w", err)
	}
	answer := strings.TrimSpace(string(body))
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("healthcheck: %s %s: %s", path, resp.Status, answer)
	}
	fmt.Fprintln(stdout, answer)
	return nil
}
