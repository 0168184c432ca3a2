package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/protocol"
)

// publishTimeout bounds `gateway publish`.
const publishTimeout = 5 * time.Second

// publish sends one notification: through the admin listener of a running gateway, or straight to Redis.
func publish(ctx context.Context, args []string, stdout io.Writer) error {
	fs := flag.NewFlagSet("publish", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	admin := adminFlag(fs, "admin listener of the gateway to publish through")
	token := fs.String("admin-token", "", "its bearer token, else from "+envName("admin-token"))
	redis := fs.String("redis", "", "publish to this Redis instead")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(stdout, "gateway publish [-admin HOST:PORT] [-admin-token TOKEN] [-redis URL] CHANNEL DATA")
			fs.SetOutput(stdout)
			fs.PrintDefaults()
			return err
		}
		return usagef("publish: %v (%s)", err, hint(err, fs, "gateway publish -h"))
	}
	if fs.NArg() != 2 {
		return usagef("publish takes a channel and data, as in: gateway publish user:123 hello")
	}
	channel, err := protocol.ParseChannel(fs.Arg(0))
	if err != nil {
		return usagef("publish: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	if *redis != "" {
		return publishRedis(ctx, *redis, channel, fs.Arg(1), stdout)
	}
	if *token == "" { // not the flag's default: the help would show it
		*token = strings.TrimSpace(os.Getenv(envName("admin-token")))
	}
	return publishAdmin(ctx, *admin, *token, channel, fs.Arg(1), stdout)
}

// adminFlag is where a running gateway is asked. Like the gateway's own flag it may come from the environment, which
// both have in a container.
func adminFlag(fs *flag.FlagSet, usage string) *string {
	value := os.Getenv(envName("admin"))
	if value == "" {
		value = "127.0.0.1:9090"
	}
	return fs.String("admin", value, usage)
}

// adminURL is a path of the admin listener. No host, in its own flag, is all addresses.
func adminURL(admin, path string) (string, error) {
	host, port, err := net.SplitHostPort(admin)
	if err != nil {
		return "", usagef("-admin %q is not host:port", admin)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port) + path, nil
}

func publishRedis(ctx context.Context, redis, channel, data string, stdout io.Writer) error {
	source, err := fanout.NewRedisSource(fanout.RedisConfig{URL: redis, Pattern: protocol.RedisPrefix + "*", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return usagef("-redis: %w", err)
	}
	defer source.Close() //nolint:errcheck // the one command was answered, or its error is returned
	receivers, err := source.Publish(ctx, protocol.RedisChannel(channel), data)
	if err != nil {
		return fmt.Errorf("publish to %s: %w", channel, err)
	}
	fmt.Fprintf(stdout, "published to %s, heard by %d gateways\n", channel, receivers)
	return nil
}

func publishAdmin(ctx context.Context, admin, token, channel, data string, stdout io.Writer) error {
	at, err := adminURL(admin, "/publish/"+url.PathEscape(channel))
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader(data))
	if err != nil {
		return usagef("-admin: %w", err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("no gateway answers at -admin %s: %w", admin, err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end, or given up
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return fmt.Errorf("read the gateway's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the gateway answers %s: %s", resp.Status, strings.TrimSpace(string(body)))
	}
	fmt.Fprintf(stdout, "published to %s\n", channel)
	return nil
}
