package target

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/carillon-ws/carillon/bench/client"
	"github.com/carillon-ws/carillon/bench/host"
	"github.com/carillon-ws/carillon/bench/publish"
	"github.com/carillon-ws/carillon/bench/settings"
)

// Fleet is the gateways of a run, one or many, with the Redis that they hear from.
type Fleet struct {
	Redis  string // where to publish
	Server *Redis // nil when it is not ours

	// Guarded by mu.
	mu       sync.Mutex
	Gateways []*Gateway
}

// All are the gateways as they are now. Safe to call from any goroutine.
func (f *Fleet) All() []*Gateway {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.Gateways)
}

// Replace puts a gateway that was started again in the place of the one that was killed.
func (f *Fleet) Replace(i int, g *Gateway) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Gateways[i] = g
}

// Find starts the gateways that the flags ask for, or asks those that are there.
func Find(ctx context.Context, cfg *settings.Config, stderr io.Writer) (*Fleet, error) {
	if n := cfg.OwnFleet(); n > 0 {
		return startFleet(ctx, cfg, n, stderr)
	}
	f := &Fleet{}
	for i := range cfg.URLs {
		one := *cfg
		one.URL, one.Admin = cfg.URLs[i], ""
		if i < len(cfg.Admins) {
			one.Admin = cfg.Admins[i]
		}
		g, err := findTarget(ctx, &one, stderr)
		if err != nil {
			return nil, errors.Join(err, f.Stop())
		}
		f.Gateways = append(f.Gateways, g)
		if f.Redis == "" {
			f.Redis = g.Redis
		}
	}
	if f.Redis == "" && cfg.Publish == settings.PublishRedis {
		why := errors.New("no gateway's admin listener told it")
		if g := f.Gateways[0]; g.adminErr != nil {
			why = g.adminErr
		}
		return nil, errors.Join(fmt.Errorf("something answers at %s, but its Redis is unknown (give -redis, or -admin): %w", cfg.URLs[0], why), f.Stop())
	}
	return f, nil
}

// startFleet starts gateways on one Redis, which is started, too, unless one is given.
func startFleet(ctx context.Context, cfg *settings.Config, n int, stderr io.Writer) (f *Fleet, err error) {
	f = &Fleet{Redis: cfg.Redis}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Stop())
		}
	}()
	binary, cleanUp, err := Provide(ctx, cfg.Gateway, stderr)
	if err != nil {
		return f, err
	}
	defer cleanUp()
	if f.Redis == "" {
		if f.Server, err = StartRedis(ctx, host.AnyCPU); err != nil {
			return f, err
		}
		f.Redis = f.Server.URL
	}
	addrs, err := host.OwnAddrs(2 * n)
	if err != nil {
		return f, err
	}
	args := cfg.GatewayArgs
	if n > 1 {
		args = append([]string{"-loops", "1"}, args...) // many processes share the CPUs already; the last -loops counts
	}
	f.Gateways = make([]*Gateway, n)
	var group errgroup.Group
	group.SetLimit(4)
	for i := range n {
		group.Go(func() (err error) {
			f.Gateways[i], err = launchGateway(ctx, binary, args, f.Redis, addrs[2*i], addrs[2*i+1], host.AnyCPU)
			return err
		})
	}
	return f, group.Wait()
}

// Stop ends what is ours, gateways first: they would miss their Redis.
func (f *Fleet) Stop() error {
	var group errgroup.Group
	for _, g := range f.All() {
		if g != nil {
			group.Go(g.Stop)
		}
	}
	err := group.Wait()
	if f.Server != nil {
		err = errors.Join(err, f.Server.Stop())
	}
	return err
}

// Targets are where clients connect.
func (f *Fleet) Targets() (targets []client.Target, err error) {
	for _, g := range f.All() {
		t, err := client.Resolve(g.Info.URL)
		if err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	return targets, nil
}

// Local reports whether all processes are on this machine.
func (f *Fleet) Local() bool {
	for _, g := range f.All() {
		if !g.Local {
			return false
		}
	}
	return true
}

// Usage is what all gateways have used; zero when one of them cannot be looked at, as it is elsewhere or gone.
func (f *Fleet) Usage() (sum host.Usage) {
	sum.At = time.Now()
	for _, g := range f.All() {
		u, err := host.ReadUsage(g.Info.PID, g.Thread)
		if !g.Local || err != nil {
			return host.Usage{}
		}
		sum.Add(u)
	}
	return sum
}

// Metrics adds up the metrics of all gateways; nil when not all have an admin listener. With collect their garbage is
// collected first.
func (f *Fleet) Metrics(ctx context.Context, collect bool) (map[string]float64, error) {
	sum := map[string]float64{}
	for _, g := range f.All() {
		if g.Admin == nil {
			return nil, nil
		}
		numbers, err := g.metrics(ctx, collect)
		if err != nil {
			return nil, err
		}
		for name, v := range numbers {
			sum[name] += v
		}
	}
	return sum, nil
}

// Redis is a redis-server of our own on an address of our own, which keeps nothing on disk.
type Redis struct {
	URL, addr, dir string
	cpu            int
	Child          *host.Child
}

// ErrNoRedisServer tells how to get one.
var ErrNoRedisServer = errors.New("no redis-server in PATH: install it (apt-get install redis-server), or give -redis")

// StartRedis starts one on a CPU.
func StartRedis(ctx context.Context, cpu int) (*Redis, error) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return nil, ErrNoRedisServer
	}
	addrs, err := host.OwnAddrs(1)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "carillon-bench-redis-")
	if err != nil {
		return nil, err
	}
	s := &Redis{URL: "redis://" + addrs[0], addr: addrs[0], dir: dir, cpu: cpu}
	return s, s.Start(ctx)
}

// Start starts the server, again if it was killed, and waits until it answers.
func (s *Redis) Start(ctx context.Context) (err error) {
	ip, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		return err
	}
	args := []string{"--port", port, "--bind", ip, "--save", "", "--appendonly", "no", "--dir", s.dir}
	if s.Child, err = host.Start("redis-server", args, host.Options{CPU: s.cpu}); err != nil {
		return err
	}
	err = s.Child.Await(ctx, 10*time.Second, func(ctx context.Context) error {
		p, err := publish.DialRedis(ctx, s.URL)
		if err != nil {
			return err
		}
		return p.Close()
	})
	if err != nil {
		return errors.Join(err, s.Stop())
	}
	return nil
}

// Stop ends it, and removes its directory.
func (s *Redis) Stop() error {
	err := s.Child.Stop()
	if rmErr := os.RemoveAll(s.dir); rmErr != nil {
		err = errors.Join(err, fmt.Errorf("redis-server's directory: %w", rmErr))
	}
	return err
}
