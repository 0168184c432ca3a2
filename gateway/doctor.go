package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"

	"github.com/carillon-ws/carillon/fanout/redis"
	"github.com/carillon-ws/carillon/gateway/doctor"
	"github.com/carillon-ws/carillon/gateway/server"
	"github.com/carillon-ws/carillon/gateway/settings"
)

// errHost is returned when a check failed. The report says which.
var errHost = errors.New("doctor: this host cannot hold that many connections")

// examine is `gateway doctor`: it reports whether this host, and a Redis, can hold a number of connections.
func examine(ctx context.Context, args []string, stdout io.Writer) error {
	fs := newCommand("doctor")
	cfg := &settings.Settings{}
	connections := 0
	settings.Number(&connections, 10_000)(fs, "connections", "how many connections the host has to hold")
	serve := settings.NewFlagSet(cfg)
	for _, name := range []string{"addr", "admin", "loops", "redis", "redis-ca", "redis-cert", "redis-key", "interest", "send-buffer", "memory-limit"} {
		fs.Var(serve.Lookup(name).Value, name, "the value that the gateway gets")
	}
	proxy := fs.Bool("proxy", false, "a proxy in front of the gateway runs on this host too")
	asJSON := fs.Bool("json", false, "write the report as JSON")
	if err := parseCommand(fs, args, "gateway doctor [flags]: reports whether this host can hold a number of connections. It changes nothing.\nExit status: 0 it can, perhaps with warnings; 1 it cannot; 2 bad flags or arguments.", stdout); err != nil {
		return err
	}
	switch {
	case fs.NArg() > 0:
		return settings.Usagef("doctor: unexpected argument %q", fs.Arg(0))
	case connections < 1 || connections > maxConnections:
		return settings.Usagef("doctor: -connections %d: between 1 and %d are possible", connections, maxConnections)
	}
	if err := cfg.CheckLoops(); err != nil {
		return err
	}
	cfg.Server.MaxConnections = connections
	p := plan(cfg)
	p.Proxy = *proxy
	results := append(doctor.Examine(host(cfg), p), doctor.CheckRedis(ctx, redis.Config{URL: cfg.Redis, TLS: cfg.RedisTLS, Mode: cfg.Interest})...)
	report := doctor.NewReport(p, results)
	write := report.WriteText
	if *asJSON {
		write = report.WriteJSON
	}
	if err := write(stdout); err != nil {
		return err
	}
	if report.Status == doctor.Fail {
		return errHost
	}
	return nil
}

// maxConnections is the most that -connections takes. No host holds more, and the arithmetic does not overflow up to it.
const maxConnections = 100_000_000

// host returns this host, with the memory limit that the flags would set.
func host(cfg *settings.Settings) doctor.Host {
	h := doctor.ThisHost()
	if os.Getenv("GOMEMLIMIT") == "" && cfg.MemoryLimit > 0 {
		h.MemoryLimit = int64(cfg.MemoryLimit)
	}
	return h
}

// plan returns what the flags ask of the host.
func plan(cfg *settings.Settings) doctor.Plan {
	p := doctor.Plan{
		Connections: cfg.Server.MaxConnections,
		Files:       server.FilesFor(cfg.Server.MaxConnections, cfg.Server.Loops, otherFiles(cfg)),
		Loops:       cfg.Server.Loops,
		SendBuffer:  cfg.Server.SendBuffer,
	}
	for _, addr := range []string{cfg.Addr, cfg.Admin} {
		_, text, _ := net.SplitHostPort(addr)
		if port, err := strconv.Atoi(text); err == nil && port > 0 {
			p.Ports = append(p.Ports, port)
		}
	}
	return p
}

// warnOfHost logs at start-up what the host lacks for -max-connections.
func warnOfHost(cfg *settings.Settings, log *slog.Logger) {
	if cfg.Server.MaxConnections == 0 {
		return // the gateway takes as many as fit
	}
	lacks := 0
	for _, r := range doctor.Examine(host(cfg), plan(cfg)) {
		if r.Status == doctor.Fail {
			lacks++
			log.Warn("this host allows less than -max-connections needs", "check", r.Check, "value", r.Value, "needed", r.Needed, "fix", r.Fix)
		}
	}
	if lacks > 0 {
		log.Warn("gateway doctor shows every check", "command", fmt.Sprintf("gateway doctor -connections %d", cfg.Server.MaxConnections), "failed", lacks)
	}
}
