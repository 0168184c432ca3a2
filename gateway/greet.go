package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/carillon-ws/carillon/fanout/redis"
	"github.com/carillon-ws/carillon/gateway/settings"
)

// logSettings logs every setting that is not the default, in one line.
func (g *gateway) logSettings() {
	g.log.LogAttrs(context.Background(), slog.LevelInfo, "settings", g.cfg.Changed(os.Environ())...)
	if wrong := settings.Misspelt(os.Environ()); len(wrong) > 0 {
		g.log.Warn("unknown variables have no effect", "variables", strings.Join(wrong, ", "))
	}
}

// greet says what listens where. People get a text with what to try next, machines a line of the log.
func (g *gateway) greet() {
	auth := "none; the gateway listens on loopback only"
	switch {
	case g.verifier != nil:
		auth = "each client needs a token (gateway token -h makes one to try)"
	case g.cfg.Insecure:
		auth = "none (-insecure): anyone who reaches the port can hear any channel"
	}
	if !g.log.text {
		g.log.Info("listening", "version", version(), "clients", "ws://"+g.server.Addr()+"/ws", "admin", "http://"+g.admin.Addr()+"/",
			"redis", g.redis.String(), "redis_embedded", g.embedded != nil, "loops", len(g.server.Loops()),
			"max_connections", g.server.MaxConnections(), "auth", auth)
		return
	}
	admin := "http://" + g.admin.Addr()
	place := g.redis.String()
	if g.embedded != nil {
		place = "embedded at " + g.embedded.Addr() + " (for trying out: it keeps nothing over a restart)"
	}
	fmt.Fprintf(g.log.lines, `
  carillon %s

    clients   ws://%s/ws   (%d loops, at most %d connections)
    admin     %s/
    redis     %s
    auth      %s

  Try next
    open      %s/
    watch     %s/ops
    publish   %s
    load      go run ./bench -connections 10000

`, version(), g.server.Addr(), len(g.server.Loops()), g.server.MaxConnections(), admin, place, auth, admin, admin, g.publishLine())
}

// publishLine is a command that publishes one notification to the channel of the demo page.
func (g *gateway) publishLine() string {
	if g.embedded == nil && g.redis.Kind() != redis.Single {
		return "gateway publish " + demoChannel + " hello"
	}
	if g.embedded == nil {
		return "redis-cli -u " + g.redis.String() + " PUBLISH notifications:" + demoChannel + " hello"
	}
	_, port, _ := strings.Cut(g.embedded.Addr(), ":")
	return "redis-cli -p " + port + " PUBLISH notifications:" + demoChannel + " hello"
}
