package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/redis/go-redis/v9"
)

// newPublisher connects to what a gateway hears publications from: Redis, or a floor server's control address.
func newPublisher(ctx context.Context, rawURL string) (publisher, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	if u.Scheme == floorScheme {
		return dialFloor(ctx, u.Host)
	}
	return newRedisPublisher(ctx, rawURL)
}

// redisPublisher publishes with PUBLISH, a batch per round trip.
type redisPublisher struct {
	rdb   *redis.Client
	heard bool // somebody listened to the first publication
}

// quiet drops what go-redis would log: every error also comes back to us, and is said once.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

func newRedisPublisher(ctx context.Context, rawURL string) (*redisPublisher, error) {
	opt, err := redis.ParseURL(rawURL)
	if err != nil {
		return nil, err
	}
	opt.DialerRetries = 1
	opt.PoolSize = 1    // one connection keeps the order
	opt.MaxRetries = -1 // a publication sent again would be counted as the gateway's duplicate
	rdb := redis.NewClient(opt)
	if err := rdb.Ping(ctx).Err(); err != nil {
		_ = rdb.Close() // the error that counts is the first
		return nil, fmt.Errorf("redis %s: %w", opt.Addr, err)
	}
	return &redisPublisher{rdb: rdb}, nil
}

var errNobodyListens = errors.New("no gateway is subscribed at this Redis: is it the one that the gateway uses (-redis)?")

func (p *redisPublisher) publish(ctx context.Context, batch []publication) error {
	pipe := p.rdb.Pipeline()
	var first *redis.IntCmd
	for i := range batch {
		cmd := pipe.Publish(ctx, batch[i].channel, batch[i].payload)
		if first == nil {
			first = cmd
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	if !p.heard && first.Val() == 0 {
		return errNobodyListens
	}
	p.heard = true
	return nil
}

func (p *redisPublisher) Close() error { return p.rdb.Close() }
