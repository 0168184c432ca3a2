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

	"github.com/carillon-ws/carillon/fanout"
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
	var files redis.TLSFiles
	fs.StringVar(&files.CA, "redis-ca", "", "PEM file with the certificate authorities that may sign the certificate of Redis")
	fs.StringVar(&files.Cert, "redis-cert", "", "PEM file with the certificate to show to Redis; needs -redis-key")
	fs.StringVar(&files.Key, "redis-key", "", "PEM file with the key of that certificate")
	sharded := fs.Bool("sharded", false, "with -redis: use SPUBLISH, for gateways with -interest sharded")
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
		cfg := redis.Config{URL: *redisURL, TLS: files, Log: slog.New(slog.DiscardHandler)}
		if *sharded {
			cfg.Mode, cfg.Interest = redis.Sharded, fanout.NewInterest()
		}
		return publishRedis(ctx, cfg, channel, fs.Arg(1), stdout)
	}
	if *token == "" { // as the default of the flag it would be in the help
		*token = strings.TrimSpace(os.Getenv(settings.EnvName("admin-token")))
	}
	return publishAdmin(ctx, *admin, *token, channel, fs.Arg(1), stdout)
}

func publishRedis(ctx context.Context, cfg redis.Config, channel, data string, stdout io.Writer) error {
	cfg.Pattern = protocol.RedisPrefix + "*"
	source, err := redis.NewSource(cfg)
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
