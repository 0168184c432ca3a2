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
)

// errHost is the outcome of a host that does not hold what it is asked to. The report says why.
var errHost = errors.New("doctor: this host does not hold that many connections")

// examine is `gateway doctor`: whether this host, and a Redis, can hold a number of connections.
func examine(ctx context.Context, args []string, stdout io.Writer) error {
	fs := newCommand("doctor")
	cfg := &config{}
	connections := 0
	number(&connections, 10_000)(fs, "connections", "connections that the host is to hold")
	serve := newFlagSet(cfg)
	for _, name := range []string{"addr", "admin", "loops", "redis", "redis-ca", "redis-cert", "redis-key", "interest", "send-buffer", "memory-limit"} {
		fs.Var(serve.Lookup(name).Value, name, "as given to the gateway")
	}
	proxy := fs.Bool("proxy", false, "the proxy in front runs on this host too")
	asJSON := fs.Bool("json", false, "write JSON")
	if err := parseCommand(fs, args, "gateway doctor [flags]: can this host hold so many connections? Changes nothing. Exit status: 0 yes, perhaps with\nwarnings; 1 no; 2 asked wrongly.", stdout); err != nil {
		return err
	}
	switch {
	case fs.NArg() > 0:
		return usagef("doctor: unexpected argument %q", fs.Arg(0))
	case connections < 1 || connections > maxConnections:
		return usagef("doctor: -connections %d: between 1 and %d are possible", connections, maxConnections)
	}
	cfg.server.MaxConnections = connections
	p := plan(cfg)
	p.Proxy = *proxy
	results := append(doctor.Examine(host(cfg), p), doctor.CheckRedis(ctx, redis.Config{URL: cfg.redis, TLS: cfg.redisTLS, Mode: cfg.interest})...)
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

// maxConnections bounds what the doctor is asked: beyond it the arithmetic is about no host there is.
const maxConnections = 100_000_000

// host is this one, with the memory limit that the flags would set.
func host(cfg *config) doctor.Host {
	h := doctor.ThisHost()
	if os.Getenv("GOMEMLIMIT") == "" && cfg.memoryLimit > 0 {
		h.MemoryLimit = int64(cfg.memoryLimit)
	}
	return h
}

// plan is what the flags ask of the host.
func plan(cfg *config) doctor.Plan {
	p := doctor.Plan{
		Connections: cfg.server.MaxConnections,
		Files:       server.FilesFor(cfg.server.MaxConnections, cfg.server.Loops),
		Loops:       cfg.server.Loops,
		SendBuffer:  cfg.server.SendBuffer,
	}
	for _, addr := range []string{cfg.addr, cfg.admin} {
		_, text, _ := net.SplitHostPort(addr)
		if port, err := strconv.Atoi(text); err == nil && port > 0 {
			p.Ports = append(p.Ports, port)
		}
	}
	return p
}

// warnOfHost says at start-up what the host lacks for the connections that the flags ask for.
func warnOfHost(cfg *config, log *slog.Logger) {
	if cfg.server.MaxConnections == 0 {
		return // as many as fit is what was asked for
	}
	lacks := 0
	for _, r := range doctor.Examine(host(cfg), plan(cfg)) {
		if r.Status == doctor.Fail {
			lacks++
			log.Warn("this host allows less than -max-connections asks for", "check", r.Check, "value", r.Value, "needed", r.Needed, "fix", r.Fix)
		}
	}
	if lacks > 0 {
		log.Warn("gateway doctor tells all of it", "command", fmt.Sprintf("gateway doctor -connections %d", cfg.server.MaxConnections), "lacks", lacks)
	}
}
