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
	"github.com/carillon-ws/carillon/protocol"
)

// publishTimeout bounds `gateway publish`.
const publishTimeout = 5 * time.Second

// publish sends one notification: through the admin listener of a running gateway, or straight to Redis.
func publish(ctx context.Context, args []string, stdout io.Writer) error {
	fs := newCommand("publish")
	admin := adminFlag(fs, "admin listener of the gateway to publish through")
	token := fs.String("admin-token", "", "its bearer token, else from "+envName("admin-token"))
	redisURL := fs.String("redis", "", "publish to this Redis instead")
	var files redis.TLSFiles
	fs.StringVar(&files.CA, "redis-ca", "", "PEM file of the authorities whose certificates Redis may show")
	fs.StringVar(&files.Cert, "redis-cert", "", "PEM file of the certificate to show to Redis")
	fs.StringVar(&files.Key, "redis-key", "", "PEM file of its key")
	sharded := fs.Bool("sharded", false, "with -redis: use SPUBLISH, for gateways with -interest sharded")
	if err := parseCommand(fs, args, "gateway publish [-admin HOST:PORT] [-admin-token TOKEN] [-redis URL] CHANNEL DATA", stdout); err != nil {
		return err
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
	if *redisURL != "" {
		cfg := redis.Config{URL: *redisURL, TLS: files, Log: slog.New(slog.DiscardHandler)}
		if *sharded {
			cfg.Mode, cfg.Interest = redis.Sharded, fanout.NewInterest()
		}
		return publishRedis(ctx, cfg, channel, fs.Arg(1), stdout)
	}
	if *token == "" { // not the flag's default: the help would show it
		*token = strings.TrimSpace(os.Getenv(envName("admin-token")))
	}
	return publishAdmin(ctx, *admin, *token, channel, fs.Arg(1), stdout)
}

func publishRedis(ctx context.Context, cfg redis.Config, channel, data string, stdout io.Writer) error {
	cfg.Pattern = protocol.RedisPrefix + "*"
	source, err := redis.NewSource(cfg)
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
