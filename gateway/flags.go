package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/gateway/identity"
	"github.com/carillon-ws/carillon/gateway/server"
	"github.com/carillon-ws/carillon/protocol"
)

// config is what the flags say.
type config struct {
	addr, admin, redis, adminToken, logLevel string
	insecure, demo, compress                 bool
	gcPercent, memoryLimit                   int
	origins                                  []string
	identity                                 identity.Config
	server                                   server.Config
}

// flagGroup orders the flags in the help.
type flagGroup struct {
	title string
	names []string
}

var flagGroups = []flagGroup{
	{"Listen", []string{"addr", "insecure", "allow-origin", "loops"}},
	{"Redis", []string{"redis"}},
	{"Identity", []string{"jwt-secret", "jwt-public-key", "jwt-jwks", "jwt-jwks-insecure", "jwt-audience", "jwt-issuer", "jwt-leeway", "jwt-cookie", "jwt-query", "personal-channel"}},
	{"Proxies", []string{"trusted-proxy", "proxy-protocol"}},
	{"Limits", []string{"max-connections", "max-connections-per-address", "max-accepts", "max-message", "max-fragments", "message-timeout", "max-message-rate", "max-message-burst", "max-channels", "handshake-timeout"}},
	{"Heartbeat", []string{"ping-interval", "heartbeat"}},
	{"Slow consumers", []string{"slow-consumer", "max-backlog", "max-backlog-age", "max-backlog-total", "max-mailbox", "send-buffer"}},
	{"Bandwidth", []string{"compress"}},
	{"Operation", []string{"admin", "admin-token", "drain", "gc-percent", "memory-limit", "log-level"}},
}

// newFlagSet registers every flag of serve and demo. Each sentence says what the flag trades.
func newFlagSet(cfg *config) *flag.FlagSet {
	fs := flag.NewFlagSet("gateway", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // we print our own sentence
	s := &cfg.server
	fs.StringVar(&cfg.addr, "addr", "127.0.0.1:8080", "where clients connect; beyond loopback only with a -jwt- key, or -insecure")
	fs.BoolVar(&cfg.insecure, "insecure", false, "listen beyond loopback although nobody is asked for a token: anyone who reaches the port hears any channel")
	fs.Func("allow-origin", "origin whose pages may connect (scheme://host[:port], repeatable, * for any); default: the gateway's own, and loopback ones while it listens there", func(v string) error {
		cfg.origins = append(cfg.origins, strings.ToLower(v))
		return checkOrigin(v)
	})
	fs.IntVar(&s.Loops, "loops", 0, "event loops: more use more CPUs, and wake more of them for a small fan-out; 0: one a CPU")
	fs.StringVar(&cfg.redis, "redis", "", "URL of the Redis to listen to (redis://, rediss://, unix://); empty: an embedded one, for trying out")
	registerIdentity(fs, cfg)
	fs.Func("trusted-proxy", "network (CIDR, or an address; repeatable) of proxies whose X-Forwarded-For, or PROXY header, is believed: limits by address then mean clients, not the proxy", func(v string) error {
		return addNetwork(&s.TrustedProxies, v)
	})
	fs.BoolVar(&s.ProxyProtocol, "proxy-protocol", false, "trusted proxies send a PROXY protocol header, version 1 or 2, before anything else")
	fs.IntVar(&s.MaxConnections, "max-connections", 0, "connections beyond this get 503; 0: what the open-file limit allows")
	fs.IntVar(&s.MaxPerAddress, "max-connections-per-address", 0, "connections of one client address (64 bits of IPv6) beyond this get 429: a whole office may share one; 0: off")
	fs.IntVar(&s.MaxAccepts, "max-accepts", 0, "newcomers a second beyond this get 503: spreads a stampede that the clients do not spread themselves; 0: off")
	sizeVar(fs, &s.MaxMessage, "max-message", 64<<10, "largest message from a client; larger ones end with 1009")
	fs.IntVar(&s.MaxFragments, "max-fragments", 128, "frames of one message; more end with 1008")
	fs.DurationVar(&s.MessageTimeout, "message-timeout", 30*time.Second, "time for a message from its first byte to its last; longer ones end with 1008")
	fs.IntVar(&s.MessageRate, "max-message-rate", 100, "messages, pings and pongs a second from one client in the long run; 0: off")
	fs.IntVar(&s.MessageBurst, "max-message-burst", 2000, "of them at once; beyond it commands are refused (rate_limited), beyond twice as many it is closed (4102). A malformed message counts as a twentieth of it")
	fs.IntVar(&s.MaxChannels, "max-channels", 1000, "channels one connection may subscribe to: each costs about 50 bytes")
	fs.DurationVar(&s.HandshakeTimeout, "handshake-timeout", 10*time.Second, "time for a whole request head: bounds what silent sockets can hold")
	fs.DurationVar(&s.PingInterval, "ping-interval", 30*time.Second, "silence after which a ping is sent, and once more after which the connection ends: shorter finds dead peers sooner and costs a write each; 0: off")
	fs.DurationVar(&s.Heartbeat, "heartbeat", 0, "a message at least this often, for pages, which cannot see pings, to notice a gateway that is gone: a write each; 0: off")
	fs.Func("slow-consumer", "what happens over -max-backlog: close (4100, the client returns) or drop (oldest notifications go, the client is told by a gap) (default close)", func(v string) error {
		switch p := server.SlowPolicy(v); p {
		case server.SlowClose, server.SlowDrop:
			s.SlowConsumer = p
			return nil
		default:
			return errors.New("must be close or drop")
		}
	})
	sizeVar(fs, &s.MaxBacklog, "max-backlog", 1<<20, "bytes that wait for one slow connection: more rides out longer stalls, and delivers older news")
	fs.DurationVar(&s.MaxBacklogAge, "max-backlog-age", 30*time.Second, "time without a byte taken after which a connection with a backlog is too slow")
	sizeVar(fs, &s.MaxBacklogTotal, "max-backlog-total", 256<<20, "bytes in all backlogs of one loop; beyond it whoever grows is too slow")
	sizeVar(fs, &s.MaxMailbox, "max-mailbox", 64<<20, "bytes that wait for one loop; beyond it publications are dropped and told as a gap")
	sizeVar(fs, &s.SendBuffer, "send-buffer", 64<<10, "kernel send buffer of a connection: smaller bounds what a stalled one holds, larger takes bigger bursts")
	fs.BoolVar(&cfg.compress, "compress", false, "permessage-deflate for clients that offer it, which browsers do: JSON shrinks to a quarter or a half, for some 10 us of CPU a publication and no memory a connection")
	fs.StringVar(&cfg.admin, "admin", "127.0.0.1:9090", "where operators look: metrics, health, publishing, the demo page")
	fs.StringVar(&cfg.adminToken, "admin-token", "", "bearer token for the admin listener; without one only metrics and health are served beyond loopback")
	fs.DurationVar(&s.Drain, "drain", 5*time.Second, "time over which clients are told to come back after SIGTERM, evenly: longer spares whatever they come back to; a second SIGTERM leaves at once; 0: all at once")
	fs.IntVar(&cfg.gcPercent, "gc-percent", 100, "heap growth that starts a garbage collection, as GOGC: more collects less often and holds more memory; a delivery allocates nothing, so there is little to gain")
	sizeVar(fs, &cfg.memoryLimit, "memory-limit", 0, "Go heap and runtime beyond which collections come closer, as GOMEMLIMIT: set it below the container's limit less 8KiB a connection for the kernel's share; 0: none")
	fs.StringVar(&cfg.logLevel, "log-level", "info", "debug, info, warn or error")
	echoFlag(fs, s)
	return fs
}

// parseFlags reads the arguments of serve and demo. Errors are one sentence each.
func parseFlags(command string, args []string, help io.Writer) (*config, error) {
	cfg := &config{}
	fs := newFlagSet(cfg)
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			printHelp(help, fs)
			return nil, err
		}
		return nil, usagef("%v (gateway -h lists the flags)", err)
	}
	if fs.NArg() > 0 {
		return nil, usagef("unexpected argument %q (flags come before it or not at all)", fs.Arg(0))
	}
	return cfg, cfg.check(command)
}

// check refuses what is contradictory.
func (cfg *config) check(command string) error {
	host, _, err := net.SplitHostPort(cfg.addr)
	if err != nil {
		return usagef("-addr %q is not host:port", cfg.addr)
	}
	loopback := protocol.IsLoopbackHost(host)
	switch {
	case command == "demo" && !loopback:
		return usagef("demo listens on loopback only, not on %q", cfg.addr)
	case !loopback && !cfg.insecure && !cfg.authenticates():
		return usagef("-addr %s is reachable from other machines and nobody is asked for a token: give a key (-jwt-secret, -jwt-public-key or -jwt-jwks), add -insecure if that is meant, or listen on 127.0.0.1", cfg.addr)
	case !loopback && cfg.redis == "":
		return usagef("-addr %s needs -redis: the embedded Redis is for trying out on loopback", cfg.addr)
	case command == "demo" && cfg.redis != "":
		return usagef("demo brings its own Redis: use serve with -redis")
	}
	if _, _, err := net.SplitHostPort(cfg.admin); err != nil {
		return usagef("-admin %q is not host:port", cfg.admin)
	}
	if n := cfg.server.Loops; n < 0 || n > fanout.MaxLoops {
		return usagef("-loops %d: between 1 and %d are possible, 0 chooses", n, fanout.MaxLoops)
	}
	if cfg.gcPercent < 10 {
		return usagef("-gc-percent %d: at least 10, or the collector never rests", cfg.gcPercent)
	}
	if err := cfg.checkIdentity(); err != nil {
		return err
	}
	if cfg.server.ProxyProtocol && len(cfg.server.TrustedProxies) == 0 {
		return usagef("-proxy-protocol needs -trusted-proxy: from whom the header is believed")
	}
	if err := cfg.checkNumbers(); err != nil {
		return err
	}
	if _, err := parseLevel(cfg.logLevel); err != nil {
		return usagef("-log-level %q: there are debug, info, warn and error", cfg.logLevel)
	}
	cfg.server.Addr = cfg.addr
	cfg.server.Upgrade = protocol.UpgradeConfig{AllowOrigins: cfg.origins, Loopback: loopback, Deflate: cfg.compress}
	return nil
}

// checkNumbers refuses numbers that would be taken for others, or that the server cannot keep to.
func (cfg *config) checkNumbers() error {
	s := &cfg.server
	for name, n := range map[string]int{
		"max-connections": s.MaxConnections, "max-connections-per-address": s.MaxPerAddress, "max-accepts": s.MaxAccepts,
		"max-message-rate": s.MessageRate,
	} {
		if n < 0 {
			return usagef("-%s %d is negative", name, n)
		}
	}
	for name, n := range map[string]int{
		"max-channels": s.MaxChannels, "max-fragments": s.MaxFragments, "max-message-burst": s.MessageBurst,
	} {
		if n < 1 || n > server.MaxCount {
			return usagef("-%s %d: between 1 and %d are possible", name, n, server.MaxCount)
		}
	}
	for name, d := range map[string]time.Duration{"ping-interval": s.PingInterval, "drain": s.Drain, "heartbeat": s.Heartbeat} {
		if d < 0 {
			return usagef("-%s %s is negative", name, d)
		}
	}
	for name, d := range map[string]time.Duration{
		"handshake-timeout": s.HandshakeTimeout, "message-timeout": s.MessageTimeout, "max-backlog-age": s.MaxBacklogAge,
	} {
		if d <= 0 {
			return usagef("-%s %s: a time is needed, or one peer could hold its place for ever", name, d)
		}
	}
	switch {
	case s.MessageBurst < s.MessageRate:
		return usagef("-max-message-burst %d is less than -max-message-rate %d: a second's messages may come at once", s.MessageBurst, s.MessageRate)
	case s.Heartbeat > 0 && s.Heartbeat < server.MinHeartbeat:
		return usagef("-heartbeat %s: at most one in %s is possible", s.Heartbeat, server.MinHeartbeat)
	}
	return nil
}

func checkOrigin(v string) error {
	if v == "*" {
		return nil
	}
	scheme, host, ok := strings.Cut(v, "://")
	if !ok || scheme == "" || host == "" || strings.ContainsAny(host, "/?#@ ") {
		return errors.New("an origin is scheme://host[:port], without a path")
	}
	return nil
}

// size is a number of bytes: 512, 64KiB, 1MiB.
type size struct{ n *int }

func sizeVar(fs *flag.FlagSet, p *int, name string, value int, usage string) {
	*p = value
	fs.Var(size{p}, name, usage)
}

func (s size) String() string {
	switch {
	case s.n == nil:
		return ""
	case *s.n >= 1<<20 && *s.n%(1<<20) == 0:
		return strconv.Itoa(*s.n>>20) + "MiB"
	case *s.n >= 1<<10 && *s.n%(1<<10) == 0:
		return strconv.Itoa(*s.n>>10) + "KiB"
	default:
		return strconv.Itoa(*s.n)
	}
}

func (s size) Set(v string) error {
	digits, shift := v, 0
	for unit, by := range map[string]int{"KiB": 10, "MiB": 20, "GiB": 30} {
		if rest, ok := strings.CutSuffix(v, unit); ok {
			digits, shift = rest, by
		}
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n <= 0 || n > (1<<40)>>shift {
		return errors.New("a size is a positive number of bytes, or of KiB, MiB or GiB, as in 64KiB")
	}
	*s.n = n << shift
	return nil
}

// printHelp writes the commands and the flags by group.
func printHelp(w io.Writer, fs *flag.FlagSet) {
	fmt.Fprint(w, `Carillon: what is PUBLISHed in Redis is heard by every WebSocket client subscribed to that channel.

  gateway [serve] [flags]         run the gateway; without -redis with an embedded Redis
  gateway demo [flags]            the same on loopback, with a notification every 3 s for the demo page
  gateway publish CHANNEL DATA    send one notification ("gateway publish -h")
  gateway token -key FILE -sub ID make a token for development ("gateway token -h")
  gateway version
`)
	for _, g := range flagGroups {
		fmt.Fprintf(w, "\n%s\n", g.title)
		for _, name := range g.names {
			f := fs.Lookup(name)
			fmt.Fprintf(w, "  -%-19s %s", f.Name, f.Usage)
			if hasDefault(f) {
				fmt.Fprintf(w, " (default %s)", f.DefValue)
			}
			fmt.Fprintln(w)
		}
	}
	fmt.Fprintln(w, "\nSizes are bytes, or KiB, MiB; durations are like 30s; 0 is off where it is allowed.")
}

// hasDefault reports whether a flag does something without being given.
func hasDefault(f *flag.Flag) bool {
	return f.DefValue != "" && f.DefValue != "0" && f.DefValue != "0s" && f.DefValue != "false"
}
