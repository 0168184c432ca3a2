package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/carillon-ws/carillon/fanout/redis"
	"github.com/carillon-ws/carillon/gateway/settings"
	"github.com/carillon-ws/carillon/protocol"
)

// publishTimeout bounds `gateway publish`.
const publishTimeout = 5 * time.Second

// publish is `gateway publish`: it sends one notification through the admin listener of a running gateway, or directly to
// Redis.
func publish(ctx context.Context, args []string, stdout io.Writer) error {
	fs := newCommand("publish")
	admin := adminFlag(fs, "address of the admin listener of the gateway that publishes")
	token := fs.String("admin-token", "", "bearer token of that listener; the default is the value of "+settings.EnvName("admin-token"))
	redisURL := fs.String("redis", "", "URL of the Redis to publish to, without a gateway")
	if err := parseCommand(fs, args, "gateway publish [-admin HOST:PORT] [-admin-token TOKEN] [-redis URL] CHANNEL DATA", stdout); err != nil {
		return err
	}
	if fs.NArg() != 2 {
		return settings.Usagef("publish needs a channel and data, as in: gateway publish user:123 hello")
	}
	channel, err := protocol.ParseChannel(fs.Arg(0))
	if err != nil {
		return settings.Usagef("publish: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	if *redisURL != "" {
		return publishRedis(ctx, *redisURL, channel, fs.Arg(1), stdout)
	}
	if *token == "" { // as the default of the flag it would be in the help
		*token = strings.TrimSpace(os.Getenv(settings.EnvName("admin-token")))
	}
	return publishAdmin(ctx, *admin, *token, channel, fs.Arg(1), stdout)
}

func publishRedis(ctx context.Context, redisURL, channel, data string, stdout io.Writer) error {
	source, err := redis.NewSource(redis.Config{URL: redisURL, Pattern: protocol.RedisPrefix + "*", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return settings.Usagef("-redis: %w", err)
	}
	defer source.Close() //nolint:errcheck // the error of the one command is returned
	receivers, err := source.Publish(ctx, protocol.RedisChannel(channel), data)
	if err != nil {
		return fmt.Errorf("publish to %s: %w", channel, err)
	}
	fmt.Fprintf(stdout, "published to %s; receivers in Redis (gateways and others): %d\n", channel, receivers)
	return nil
}

func publishAdmin(ctx context.Context, admin, token, channel, data string, stdout io.Writer) error {
	answer, err := askAdmin(ctx, admin, token, http.MethodPost, "/publish/"+url.PathEscape(channel), data)
	switch {
	case err != nil:
		return err
	case !answer.ok:
		return fmt.Errorf("the gateway answers %s: %s", answer.status, answer.text)
	}
	fmt.Fprintf(stdout, "published to %s\n", channel)
	return nil
}
