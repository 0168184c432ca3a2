package prometheus

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/carillon-ws/carillon/gateway/gatewaytest"
)

// crowd is a number of connections that are opened together and closed together.
type crowd struct {
	clients []*gatewaytest.Client
	done    sync.WaitGroup
}

// gather connects n clients and subscribes them to a channel. Readers read everything; the others are slow and read
// nothing.
func gather(t *testing.T, addr, channel string, n int, readers bool) *crowd {
	t.Helper()
	var options []gatewaytest.Option
	if !readers {
		options = append(options, gatewaytest.Slow())
	}
	c := &crowd{}
	t.Cleanup(c.leave)
	for range n {
		client, err := gatewaytest.Connect(addr, options...)
		if err != nil {
			t.Fatalf("client %d of %d: %v", len(c.clients)+1, n, err)
		}
		c.clients = append(c.clients, client)
		err = client.Upgrade(gatewaytest.Head())
		if err == nil {
			err = client.Subscribe(channel)
		}
		if err == nil {
			err = client.SetDeadline(time.Time{}) // the test takes minutes
		}
		if err != nil {
			t.Fatalf("client %d of %d: %v", len(c.clients), n, err)
		}
		if readers {
			c.done.Go(func() { _, _ = client.AwaitEnd() }) // until one end closes it
		}
	}
	return c
}

func (c *crowd) leave() {
	for _, client := range c.clients {
		_ = client.Close() // the gateway may have closed it before
	}
	c.done.Wait()
}

// publisher publishes to a channel at a steady rate until it is stopped. Errors are expected: Redis comes and goes.
func publisher(t *testing.T, url, channel string, size int, every time.Duration) (stop func()) {
	t.Helper()
	opts, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(opts)
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for payload := strings.Repeat("x", size); ; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				_ = client.Publish(ctx, "notifications:"+channel, payload).Err() // said above
			}
		}
	})
	stop = sync.OnceFunc(func() {
		cancel()
		done.Wait()
		_ = client.Close() // an error changes nothing
	})
	t.Cleanup(stop)
	return stop
}
