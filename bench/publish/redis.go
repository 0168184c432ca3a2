package publish

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/carillon-ws/carillon/bench/wire"
)

// Redis publishes with PUBLISH, a batch per round trip.
type Redis struct {
	rdb   *redis.Client
	heard bool // somebody listened to the first publication
}

// Quiet drops what go-redis would log: every error also comes back to us, and is said once.
type Quiet struct{}

// Printf drops a line.
func (Quiet) Printf(context.Context, string, ...any) {}

// DialRedis connects.
func DialRedis(ctx context.Context, rawURL string) (*Redis, error) {
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
	return &Redis{rdb: rdb}, nil
}

var errNobodyListens = errors.New("no gateway is subscribed at this Redis: is it the one that the gateway uses (-redis)?")

// Publish publishes a batch in one round trip.
func (p *Redis) Publish(ctx context.Context, batch []wire.Publication) error {
	pipe := p.rdb.Pipeline()
	var first *redis.IntCmd
	for i := range batch {
		cmd := pipe.Publish(ctx, batch[i].Channel, batch[i].Payload)
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

// Close ends the connection.
func (p *Redis) Close() error { return p.rdb.Close() }
