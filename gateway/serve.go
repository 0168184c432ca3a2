package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/fanout/redis"
	"github.com/carillon-ws/carillon/gateway/admin"
	"github.com/carillon-ws/carillon/gateway/identity"
	"github.com/carillon-ws/carillon/gateway/server"
	"github.com/carillon-ws/carillon/protocol"
)

// demoChannel is what the demo page listens to, and what demo publishes to.
const demoChannel = "user:123"

// gateway is the program, wired: server, feeder, Redis source and admin listener.
type gateway struct {
	cfg      *config
	log      *logger
	server   *server.Server
	feeder   *fanout.Feeder
	redis    *redis.Source
	verifier *identity.Verifier // nil: nobody is asked for a token
	embedded *redis.Embedded    // nil with -redis
	admin    *admin.Admin
}

// serve runs the gateway until ctx ends.
func serve(ctx context.Context, cfg *config, stderr io.Writer) error {
	log, err := newLogger(cfg, stderr)
	if err != nil {
		return err
	}
	defer log.lines.close()
	warnOfHost(cfg, log.Logger)
	g, err := wire(cfg, log)
	if err != nil {
		return err
	}
	defer g.close()
	g.sayHow()

	tuneRuntime(cfg, len(g.server.Loops()))
	parts := newGroup(ctx)
	// While the server drains, its clients still hear what is published and operators still see how it goes.
	drained, over := context.WithCancel(context.WithoutCancel(ctx))
	parts.run(func(ctx context.Context) error { defer over(); return g.server.Run(ctx) })
	parts.run(func(context.Context) error { return g.redis.Run(drained, g.feeder) })
	parts.run(func(context.Context) error { return g.admin.Run(drained) })
	parts.run(newNotifier(g).run)
	if g.verifier != nil {
		parts.run(g.verifier.Run)
	}
	if cfg.demo {
		parts.run(g.demo)
	}
	parts.run(func(ctx context.Context) error {
		select {
		case <-g.server.Ready():
			g.greet()
		case <-ctx.Done():
		}
		<-ctx.Done()
		connections := int64(0)
		for _, lp := range g.server.Stats().Loops {
			connections += lp.Connections
		}
		log.Info("stopping: clients are told to come back", "connections", connections, "over", cfg.server.Drain)
		return nil
	})
	began := time.Now()
	if err := parts.wait(); err != nil {
		return err
	}
	log.Info("stopped", "uptime", time.Since(began).Round(time.Second)) // a log that ends without it tells of a kill
	return nil
}

// tuneRuntime sets what Go's own environment variables have not set.
func tuneRuntime(cfg *config, loops int) {
	// The feeder must find a processor while every loop is inside a system call: measured, twice the loops keeps
	// its p99 at 2 ms where once gives 8.
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(2*loops, loops+2))
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(cfg.gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" && cfg.memoryLimit > 0 {
		debug.SetMemoryLimit(int64(cfg.memoryLimit))
	}
}

// wire makes the parts; what needs a port has it afterwards.
func wire(cfg *config, log *logger) (*gateway, error) {
	g := &gateway{cfg: cfg, log: log}
	if err := g.wire(); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

func (g *gateway) wire() (err error) {
	cfg, log := g.cfg, g.log
	url := cfg.redis
	if url == "" {
		if g.embedded, err = redis.StartEmbedded(""); err != nil {
			return err
		}
		url = g.embedded.URL()
	}
	cfg.server.Interest = fanout.NewInterest()
	if g.redis, err = redis.NewSource(redis.Config{
		URL: url, TLS: cfg.redisTLS, Pattern: protocol.RedisPrefix + "*", Mode: cfg.interest, Interest: cfg.server.Interest,
		Gateway: canaryName(), Log: log.Logger,
	}); err != nil {
		return usagef("-redis: %w", err)
	}
	if err = g.redis.Check(context.Background()); err != nil {
		return usagef("-redis: %w", err)
	}
	// The server is made with the admin listener's address, which the demo page's visitors are told.
	host, port, _ := net.SplitHostPort(cfg.admin)
	if port != "0" {
		cfg.server.Upgrade.DemoURL = "http://" + net.JoinHostPort(host, port) + "/"
	}
	if cfg.authenticates() {
		cfg.identity.Log = log.Logger
		if g.verifier, err = identity.New(cfg.identity); err != nil {
			return usagef("%w", err)
		}
		cfg.server.Verifier = g.verifier
	}
	cfg.server.Log = log.Logger
	if g.server, err = server.New(cfg.server); err != nil {
		return err
	}
	g.feeder = fanout.NewFeeder(cfg.server.Interest, g.server.Loops())
	var pauseRedis func(time.Duration) error
	if cfg.demo && g.embedded != nil {
		pauseRedis = g.embedded.Pause
	}
	g.admin, err = admin.New(admin.Config{
		Addr:  cfg.admin,
		Token: cfg.adminToken,
		Info: admin.Info{
			Name: "carillon", Version: version(), PID: os.Getpid(), Addr: g.server.Addr(),
			URL: "ws://" + g.server.Addr() + "/ws", Redis: g.redis.String(), RedisEmbedded: g.embedded != nil,
			Loops: len(g.server.Loops()),
		},
		Server: g.server.Stats,
		Feeder: g.feeder.Stats,
		Redis:  g.redis.Stats,
		Publish: func(ctx context.Context, channel, data string) (int64, error) {
			return g.redis.Publish(ctx, protocol.RedisChannel(channel), data)
		},
		Kick:        g.server.Kick,
		Connections: g.server.Connections,
		Ready:       g.ready,
		Live:        g.server.Live,
		PauseRedis:  pauseRedis,
		LogLevel:    log.level,
		LogDropped:  log.lines.total.Load,
		Log:         log.Logger,
	})
	return err
}

// canaryName is a name that no other gateway has: of the host, for whoever looks at Redis, and of this start.
func canaryName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "gateway"
	}
	return fmt.Sprintf("%s-%08x", host, rand.Uint32())
}

func (g *gateway) close() {
	if g.redis != nil {
		_ = g.redis.Close() // the process ends: nothing depends on a clean goodbye
	}
	if g.embedded != nil {
		g.embedded.Close()
	}
}

// ready is what /readyz judges: whether a client that connects now is served and hears what is published.
func (g *gateway) ready() []admin.Check {
	listening := false
	select {
	case <-g.server.Ready():
		listening = true
	default:
	}
	stats := g.server.Stats()
	open := int64(0)
	for _, lp := range stats.Loops {
		open += lp.Sockets
	}
	checks := []admin.Check{
		{Name: "listening", OK: listening, Detail: g.server.Addr()},
		{Name: "not draining", OK: !stats.Draining},
		{Name: "redis subscribed", OK: g.redis.Stats().Up, Detail: g.redis.String()},
		{Name: "room for connections", OK: open < int64(stats.MaxConnections), Detail: fmt.Sprintf("%d of %d", open, stats.MaxConnections)},
	}
	if g.verifier != nil {
		checks = append(checks, admin.Check{Name: "keys of tokens", OK: g.verifier.Ready()})
	}
	return checks
}

// demo publishes a notification every 3 s, so that there is something to see.
func (g *gateway) demo(ctx context.Context) error {
	lines := []string{
		"Ana commented on your photo", "Your order has left the warehouse", "Build 214 passed",
		"Lunch in ten minutes?", "Three people liked your post", "Your table is ready",
	}
	tick := time.NewTicker(3 * time.Second)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if _, err := g.redis.Publish(ctx, protocol.RedisChannel(demoChannel), lines[i%len(lines)]); err != nil {
				g.log.Debug("demo publish", "error", err)
			}
		}
	}
}
