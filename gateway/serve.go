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
	"github.com/carillon-ws/carillon/gateway/settings"
	"github.com/carillon-ws/carillon/protocol"
)

// demoChannel is the channel that the demo page subscribes to at first, and that demo publishes to.
const demoChannel = "user:123"

// gateway holds the parts of the program: server, feeder, Redis source and admin listener.
type gateway struct {
	cfg      *settings.Settings
	log      *logger
	server   *server.Server
	feeder   *fanout.Feeder
	redis    *redis.Source
	verifier *identity.Verifier // nil: clients need no token
	embedded *redis.Embedded    // nil with -redis
	admin    *admin.Admin
}

// serve runs the gateway until ctx ends.
func serve(ctx context.Context, cfg *settings.Settings, stderr io.Writer) error {
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
	g.logSettings()

	tuneRuntime(cfg, len(g.server.Loops()))
	parts := newGroup(ctx)
	// Until the server has drained, clients still get what is published, the tokens of new clients are still checked (new
	// clients come until -drain-delay is over), and operators can still look.
	drained, over := context.WithCancel(context.WithoutCancel(ctx))
	parts.run(func(ctx context.Context) error { defer over(); return g.server.Run(ctx) })
	parts.run(func(context.Context) error { return g.redis.Run(drained, g.feeder) })
	parts.run(func(context.Context) error { return g.admin.Run(drained) })
	parts.run(newNotifier(g).run)
	if g.verifier != nil {
		parts.run(func(context.Context) error { return g.verifier.Run(drained) })
	}
	if cfg.Demo {
		parts.run(func(context.Context) error { return g.demo(drained) })
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
		log.Info("stopping: clients are told to come back", "connections", connections, "drain_delay", cfg.Server.DrainDelay, "drain", cfg.Server.Drain)
		return nil
	})
	began := time.Now()
	if err := parts.wait(); err != nil {
		return err
	}
	log.Info("stopped", "uptime", time.Since(began).Round(time.Second)) // a log without this line at its end shows that the process was killed
	return nil
}

// tuneRuntime sets the Go runtime's limits, except those that Go's own environment variables have set.
func tuneRuntime(cfg *settings.Settings, loops int) {
	// The feeder needs a processor while every loop is inside a system call: with twice as many as loops its p99 is 2 ms,
	// with as many as loops 8 ms (measured).
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(2*loops, loops+2))
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(cfg.GCPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" && cfg.MemoryLimit > 0 {
		debug.SetMemoryLimit(int64(cfg.MemoryLimit))
	}
}

// wire makes the parts and binds their ports.
func wire(cfg *settings.Settings, log *logger) (*gateway, error) {
	g := &gateway{cfg: cfg, log: log}
	if err := g.wire(); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

func (g *gateway) wire() (err error) {
	cfg, log := g.cfg, g.log
	url := cfg.Redis
	if url == "" {
		if g.embedded, err = redis.StartEmbedded(""); err != nil {
			return err
		}
		url = g.embedded.URL()
	}
	cfg.Server.Interest = fanout.NewInterest()
	if g.redis, err = redis.NewSource(redis.Config{
		URL: url, TLS: cfg.RedisTLS, Pattern: protocol.RedisPrefix + "*", Mode: cfg.Interest, Interest: cfg.Server.Interest,
		Gateway: canaryName(), Log: log.Logger,
	}); err != nil {
		return settings.Usagef("-redis: %w", err)
	}
	if err = g.redis.Check(context.Background()); err != nil {
		return settings.Usagef("-redis: %w", err)
	}
	cfg.Server.Upgrade.DemoURL = demoURL(cfg.Admin)
	if cfg.Authenticates() {
		cfg.Identity.Log = log.Logger
		if g.verifier, err = identity.New(cfg.Identity); err != nil {
			return settings.Usagef("%w", err)
		}
		cfg.Server.Verifier = g.verifier
	}
	cfg.Server.Log = log.Logger
	cfg.Server.OtherFiles = otherFiles(cfg)
	if g.server, err = server.New(cfg.Server); err != nil {
		return err
	}
	g.feeder = fanout.NewFeeder(cfg.Server.Interest, g.server.Loops())
	var pauseRedis func(time.Duration) error
	if cfg.Demo && g.embedded != nil {
		pauseRedis = g.embedded.Pause
	}
	g.admin, err = admin.New(admin.Config{
		Addr:  cfg.Admin,
		Token: cfg.AdminToken,
		Info: admin.Info{
			Name: "carillon", Version: version(), PID: os.Getpid(), Addr: g.server.Addr(),
			URL: "ws://" + g.server.Addr() + "/ws", Redis: g.redis.String(), RedisEmbedded: g.embedded != nil,
			Loops: len(g.server.Loops()),
		},
		Server: g.server.Stats,
		Feeder: g.feeder.Stats,
		Redis:  g.redisStats,
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

// demoURL is the URL of the demo page; empty if -admin does not tell it: port 0 takes any port, and all addresses are
// none that a browser can open. The server names the URL to people who open the clients' port in a browser.
func demoURL(admin string) string {
	host, port, _ := net.SplitHostPort(admin)
	if port == "0" || isAllAddresses(host) {
		return ""
	}
	return "http://" + net.JoinHostPort(host, port) + "/"
}

// canaryName is a name that no other gateway has. It begins with the host's name, for people who look at Redis.
func canaryName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "gateway"
	}
	return fmt.Sprintf("%s-%08x", host, rand.Uint32())
}

func (g *gateway) close() {
	if g.redis != nil {
		_ = g.redis.Close() // the process ends, so an error changes nothing
	}
	if g.embedded != nil {
		g.embedded.Close()
	}
}

// ready makes the checks of /readyz: is a client that connects now served, and does it get what is published?
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
	redis := admin.Check{Name: "redis subscribed", OK: true, Detail: g.redis.String()}
	if st := g.redis.Stats(); !st.Up { // a canary that was published and is not heard, or no answer to PING
		redis.OK, redis.Detail = false, redis.Detail+": "+st.LastError
	}
	checks := []admin.Check{
		{Name: "listening", OK: listening, Detail: g.server.Addr()},
		{Name: "not draining", OK: !stats.Leaving},
		redis,
		{Name: "room for connections", OK: open < int64(stats.MaxConnections), Detail: fmt.Sprintf("%d of %d", open, stats.MaxConnections)},
	}
	if g.verifier != nil {
		checks = append(checks, admin.Check{Name: "keys for tokens", OK: g.verifier.Ready()})
	}
	return checks
}

// redisStats is what the admin listener shows of the source.
func (g *gateway) redisStats() admin.RedisStats {
	st, links := g.redis.Stats(), g.redis.Links()
	out := admin.RedisStats{
		Mode: string(g.redis.Mode()), Up: st.Up, LostAt: st.LostAt, LastError: st.LastError,
		Messages: st.Messages, Bytes: st.Bytes, Unexpected: st.Unexpected, Reconnects: st.Reconnects,
		Resubscribed: st.Resubscribed, Refused: st.Refused, Moved: st.Moved,
		Links: make([]admin.RedisLink, len(links)),
	}
	for i, l := range links {
		out.Links[i] = admin.RedisLink{
			Name: l.Name, Node: l.Node, Up: l.Up, LastError: l.LastError, Messages: l.Messages, Reconnects: l.Reconnects,
			CanaryAge: l.CanaryAge, Channels: l.Channels, Unconfirmed: l.Waiting,
		}
	}
	return out
}

// demo publishes a notification every 3 s, so that the demo page has something to show.
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
