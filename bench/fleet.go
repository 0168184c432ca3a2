package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/carillon-ws/carillon/bench/client"
	"github.com/carillon-ws/carillon/bench/host"
)

// fleet is the gateways of a run, one or many, with the Redis that they hear from.
type fleet struct {
	redis  string       // where to publish
	server *redisServer // nil when it is not ours

	// Guarded by mu.
	mu       sync.Mutex
	gateways []*gateway
}

// all are the gateways as they are now. Safe to call from any goroutine.
func (f *fleet) all() []*gateway {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.gateways)
}

// replace puts a gateway that was started again in the place of the one that was killed.
func (f *fleet) replace(i int, g *gateway) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gateways[i] = g
}

// findFleet starts the gateways that the flags ask for, or asks those that are there.
func findFleet(ctx context.Context, cfg *config, stderr io.Writer) (*fleet, error) {
	if n := cfg.ownFleet(); n > 0 {
		return startFleet(ctx, cfg, n, stderr)
	}
	f := &fleet{}
	for i := range cfg.urls {
		one := *cfg
		one.url, one.admin = cfg.urls[i], ""
		if i < len(cfg.admins) {
			one.admin = cfg.admins[i]
		}
		g, err := findTarget(ctx, &one, stderr)
		if err != nil {
			return nil, errors.Join(err, f.stop())
		}
		f.gateways = append(f.gateways, g)
		if f.redis == "" {
			f.redis = g.redis
		}
	}
	if f.redis == "" && cfg.publish == publishRedis {
		why := errors.New("no gateway's admin listener told it")
		if g := f.gateways[0]; g.adminErr != nil {
			why = g.adminErr
		}
		return nil, errors.Join(fmt.Errorf("something answers at %s, but its Redis is unknown (give -redis, or -admin): %w", cfg.urls[0], why), f.stop())
	}
	return f, nil
}

// startFleet starts gateways on one Redis, which is started, too, unless one is given.
func startFleet(ctx context.Context, cfg *config, n int, stderr io.Writer) (f *fleet, err error) {
	f = &fleet{redis: cfg.redis}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.stop())
		}
	}()
	binary, cleanUp, err := provideGateway(ctx, cfg.gateway, stderr)
	if err != nil {
		return f, err
	}
	defer cleanUp()
	if f.redis == "" {
		if f.server, err = startRedis(ctx, host.AnyCPU); err != nil {
			return f, err
		}
		f.redis = f.server.url
	}
	addrs, err := host.OwnAddrs(2 * n)
	if err != nil {
		return f, err
	}
	args := cfg.gatewayArgs
	if n > 1 && !hasFlag(args, "-loops") {
		args = append([]string{"-loops", "1"}, args...) // many processes share the CPUs already
	}
	f.gateways = make([]*gateway, n)
	var group errgroup.Group
	group.SetLimit(4)
	for i := range n {
		group.Go(func() (err error) {
			f.gateways[i], err = launchGateway(ctx, binary, args, f.redis, addrs[2*i], addrs[2*i+1], host.AnyCPU)
			return err
		})
	}
	return f, group.Wait()
}

func hasFlag(args []string, name string) bool {
	for _, a := range args {
		if a == name || strings.HasPrefix(a, name+"=") || a == "-"+name || strings.HasPrefix(a, "-"+name+"=") {
			return true
		}
	}
	return false
}

// provideGateway finds a binary to start; cleanUp removes it when it was built for this.
func provideGateway(ctx context.Context, given string, stderr io.Writer) (binary string, cleanUp func(), err error) {
	dir, err := os.MkdirTemp("", "carillon-bench-")
	if err != nil {
		return "", nil, err
	}
	cleanUp = func() { _ = os.RemoveAll(dir) } // a started binary may be removed; what stays is in the temporary directory
	binary, err = gatewayBinary(ctx, given, dir, stderr)
	if err != nil {
		cleanUp()
	}
	return binary, cleanUp, err
}

// stop ends what is ours, gateways first: they would miss their Redis.
func (f *fleet) stop() error {
	var group errgroup.Group
	for _, g := range f.all() {
		if g != nil {
			group.Go(g.stop)
		}
	}
	err := group.Wait()
	if f.server != nil {
		err = errors.Join(err, f.server.stop())
	}
	return err
}

// targets are where clients connect.
func (f *fleet) targets(ctx context.Context) (targets []client.Target, err error) {
	for _, g := range f.all() {
		t, err := client.Resolve(ctx, g.info.URL)
		if err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	return targets, nil
}

// local reports whether all processes are on this machine.
func (f *fleet) local() bool {
	for _, g := range f.all() {
		if !g.local {
			return false
		}
	}
	return true
}

// usage is what all gateways have used; zero when they are not all here.
func (f *fleet) usage() (sum host.Usage, err error) {
	sum.At = time.Now()
	if !f.local() {
		return host.Usage{}, nil
	}
	for _, g := range f.all() {
		u, err := g.usage()
		if err != nil {
			return sum, err
		}
		sum.CPU += u.CPU
		sum.User += u.User
		sum.RSS += u.RSS
		sum.Threads += u.Threads
	}
	return sum, nil
}

// metrics adds up the metrics of all gateways; nil when not all have an admin listener. With collect their garbage is
// collected first.
func (f *fleet) metrics(ctx context.Context, collect bool) (map[string]float64, error) {
	sum := map[string]float64{}
	for _, g := range f.all() {
		if g.admin == nil {
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

// redisServer is a redis-server of our own on an address of our own, which keeps nothing on disk.
type redisServer struct {
	url, addr, dir string
	cpu            int
	child          *host.Child
}

var errNoRedisServer = errors.New("no redis-server in PATH: install it (apt-get install redis-server), or give -redis")

func startRedis(ctx context.Context, cpu int) (*redisServer, error) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return nil, errNoRedisServer
	}
	addrs, err := host.OwnAddrs(1)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "carillon-bench-redis-")
	if err != nil {
		return nil, err
	}
	s := &redisServer{url: "redis://" + addrs[0], addr: addrs[0], dir: dir, cpu: cpu}
	return s, s.start(ctx)
}

// start starts the server, again if it was killed, and waits until it answers.
func (s *redisServer) start(ctx context.Context) (err error) {
	ip, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		return err
	}
	args := []string{"--port", port, "--bind", ip, "--save", "", "--appendonly", "no", "--dir", s.dir}
	if s.child, err = host.Start("redis-server", args, host.Options{CPU: s.cpu}); err != nil {
		return err
	}
	err = s.child.Await(ctx, 10*time.Second, func(ctx context.Context) error {
		p, err := newRedisPublisher(ctx, s.url)
		if err != nil {
			return err
		}
		return p.Close()
	})
	if err != nil {
		return errors.Join(err, s.stop())
	}
	return nil
}

func (s *redisServer) stop() error {
	err := s.child.Stop()
	if rmErr := os.RemoveAll(s.dir); rmErr != nil {
		err = errors.Join(err, fmt.Errorf("redis-server's directory: %w", rmErr))
	}
	return err
}
