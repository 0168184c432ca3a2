package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// config is what the flags say.
type config struct {
	connections, channels int
	rate                  float64
	duration              time.Duration
	payload               int
	inflight              int
	ramp                  float64
	pingEvery             time.Duration // 0: off
	slow, vanish          float64       // shares of the connections; 0: off

	url, admin, redis string
	gateway           string
	gatewayArgs       []string
	json              string

	vsFloor bool
	runs    int
	loops   int
	pin     bool

	settle time.Duration   // settleTime, except in tests that have other things to look at
	given  map[string]bool // names of the flags that were on the command line
}

// flagGroup orders the flags in the help.
type flagGroup struct {
	title string
	names []string
}

var flagGroups = []flagGroup{
	{"Load", []string{"connections", "channels", "rate", "max-inflight", "duration", "payload", "ramp", "ping-every"}},
	{"Faults", []string{"slow", "vanish"}},
	{"Target", []string{"url", "admin", "redis", "gateway", "gateway-args"}},
	{"Output", []string{"json"}},
	{"Compared with the floor", []string{"vs-floor", "runs", "loops", "pin"}},
}

// newFlagSet registers every flag. Each sentence says what the flag trades.
func newFlagSet(cfg *config) *flag.FlagSet {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // we print our own sentence
	fs.IntVar(&cfg.connections, "connections", 10000, "clients, each with a socket and one subscription")
	fs.IntVar(&cfg.channels, "channels", 1, "channels they are dealt to in turn: 1 is a broadcast to everyone")
	fs.Float64Var(&cfg.rate, "rate", 0, "publications per second, sent on schedule whatever the gateway does (open loop); 0: what stays below 20,000 deliveries/s")
	fs.IntVar(&cfg.inflight, "max-inflight", 0, "instead of -rate: publish as soon as fewer than this many publications are on their way (closed loop): measures capacity, hides queueing; 0: off")
	fs.DurationVar(&cfg.duration, "duration", 10*time.Second, "how long to publish")
	fs.IntVar(&cfg.payload, "payload", 128, fmt.Sprintf("bytes per publication, at least the %d that carry number and time", stampLen))
	fs.Float64Var(&cfg.ramp, "ramp", 0, "new connections per second; 0: as fast as they are accepted")
	fs.DurationVar(&cfg.pingEvery, "ping-every", 0, "one connection more pings this often while the others are published to, and its answers are timed; 0: off")
	fs.Func("slow", "this share of the subscribers (1%) stops reading for a second -duration: the report tells what the others notice, and whether the slow ones were told what they missed", shareVar(&cfg.slow))
	fs.Func("vanish", "this share of the clients (100%) is reset at once and as many new ones connect: the report tells when all are back, and what the gateway still holds of those that left", shareVar(&cfg.vanish))
	fs.StringVar(&cfg.url, "url", "ws://127.0.0.1:8080/ws", "where clients connect; if nothing answers there, a gateway is started for the run")
	fs.StringVar(&cfg.admin, "admin", "http://127.0.0.1:9090", "that gateway's admin listener: names its Redis and its process")
	fs.StringVar(&cfg.redis, "redis", "", "where to publish, redis://… or floor://host:port; empty: ask the admin listener")
	fs.StringVar(&cfg.gateway, "gateway", "", "start this binary, whatever answers at -url; empty: a gateway beside bench, in PATH, or built here")
	fs.Func("gateway-args", "more flags for the gateway that is started, separated by spaces", func(v string) error {
		cfg.gatewayArgs = strings.Fields(v)
		return nil
	})
	fs.StringVar(&cfg.json, "json", "", "also write the result to this file")
	fs.BoolVar(&cfg.vsFloor, "vs-floor", false, "run fixed scenarios against the floor server and the gateway in turn, and print the ratios")
	fs.IntVar(&cfg.runs, "runs", 5, "how often each scenario of -vs-floor is run on either server, with fresh processes")
	fs.IntVar(&cfg.loops, "loops", 1, "event loops of the gateway in -vs-floor: the floor has one thread, more is another question")
	fs.BoolVar(&cfg.pin, "pin", true, "in -vs-floor, keep the server on CPU 0 and everything else on CPU 1")
	return fs
}

// parseFlags reads the arguments of a run. Errors are one sentence each.
func parseFlags(args []string, help io.Writer) (*config, error) {
	cfg := &config{settle: settleTime, given: map[string]bool{}}
	fs := newFlagSet(cfg)
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			printHelp(help, fs)
			return nil, err
		}
		return nil, usagef("%w (bench -h lists the flags)", err)
	}
	if fs.NArg() > 0 {
		return nil, usagef("unexpected argument %q (the only command is floor; flags begin with -)", fs.Arg(0))
	}
	fs.Visit(func(f *flag.Flag) { cfg.given[f.Name] = true })
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.rate == 0 && cfg.inflight == 0 {
		cfg.rate = defaultRate(cfg.connections, cfg.channels)
	}
	return cfg, nil
}

// shareVar reads a share, 1% or 0.01.
func shareVar(to *float64) func(string) error {
	return func(v string) error {
		digits, percent := strings.CutSuffix(v, "%")
		share, err := strconv.ParseFloat(digits, 64)
		if percent {
			share /= 100
		}
		if err != nil || !(share > 0 && share <= 1) {
			return errors.New("a share is like 1% or 0.01, more than 0 and at most 100%")
		}
		*to = share
		return nil
	}
}

// check refuses what is contradictory.
func (cfg *config) check() error {
	switch {
	case cfg.connections < 1:
		return usagef("-connections %d: there must be at least one", cfg.connections)
	case cfg.channels < 1:
		return usagef("-channels %d: there must be at least one", cfg.channels)
	case cfg.channels > cfg.connections:
		return usagef("-channels %d: more than -connections %d, so some would have no subscriber", cfg.channels, cfg.connections)
	case !possibleRate(cfg.rate) || !possibleRate(cfg.ramp):
		return usagef("-rate %g, -ramp %g: between 0 and a million a second are possible", cfg.rate, cfg.ramp)
	case cfg.pingEvery < 0:
		return usagef("-ping-every %s: cannot be negative", cfg.pingEvery)
	case cfg.inflight < 0:
		return usagef("-max-inflight %d: cannot be negative", cfg.inflight)
	case cfg.rate > 0 && cfg.inflight > 0:
		return usagef("-rate is an open loop and -max-inflight a closed one: give one of them")
	case cfg.slow == 1:
		return usagef("-slow 100%%: nobody would be left who could notice")
	case cfg.duration <= 0:
		return usagef("-duration %s: must be more than nothing", cfg.duration)
	case cfg.payload < stampLen || cfg.payload > maxPayload:
		return usagef("-payload %d: between %d and %d bytes are possible", cfg.payload, stampLen, maxPayload)
	case cfg.runs < 1:
		return usagef("-runs %d: there must be at least one", cfg.runs)
	case cfg.loops < 1:
		return usagef("-loops %d: there must be at least one", cfg.loops)
	case cfg.given["url"] && cfg.ownGateway():
		return usagef("-url names a gateway that runs, -gateway and -gateway-args one to start: give one of them")
	}
	if err := cfg.checkAddresses(); err != nil {
		return err
	}
	if !cfg.vsFloor {
		return cfg.refuse("only means something with -vs-floor", "runs", "loops", "pin")
	}
	if cfg.connections < manyChannels {
		return usagef("-connections %d: the scenarios of -vs-floor need at least %d", cfg.connections, manyChannels)
	}
	return cfg.refuse("is fixed by the scenarios of -vs-floor",
		"channels", "rate", "max-inflight", "duration", "ramp", "ping-every", "slow", "vanish", "url", "admin")
}

// possibleRate is false for NaN, too, which the flag package reads.
func possibleRate(r float64) bool { return r >= 0 && r <= 1e6 }

func (cfg *config) checkAddresses() error {
	if u, err := url.Parse(cfg.url); err != nil || u.Scheme != "ws" || u.Hostname() == "" {
		return usagef("-url %q is not ws://host:port/path (TLS is not measured here)", cfg.url)
	}
	if u, err := url.Parse(cfg.admin); err != nil || u.Scheme != "http" || u.Hostname() == "" {
		return usagef("-admin %q is not http://host:port", cfg.admin)
	}
	if cfg.redis == "" {
		return nil
	}
	u, err := url.Parse(cfg.redis)
	if err != nil {
		return usagef("-redis %q is not a URL", cfg.redis)
	}
	switch u.Scheme {
	case "redis", "rediss", "unix":
		return nil
	case floorScheme:
		if _, _, err := net.SplitHostPort(u.Host); err != nil {
			return usagef("-redis %q is not %s://host:port", cfg.redis, floorScheme)
		}
		return nil
	default:
		return usagef("-redis %q: the scheme is redis, rediss, unix or %s", cfg.redis, floorScheme)
	}
}

// ownGateway reports whether the flags ask for a gateway of our own, whatever answers at -url.
func (cfg *config) ownGateway() bool { return cfg.gateway != "" || len(cfg.gatewayArgs) > 0 }

func (cfg *config) refuse(why string, names ...string) error {
	for _, name := range names {
		if cfg.given[name] {
			return usagef("-%s %s", name, why)
		}
	}
	return nil
}

// printHelp writes the commands and the flags by group.
func printHelp(w io.Writer, fs *flag.FlagSet) {
	fmt.Fprint(w, `bench loads a notification gateway over the wire and says what its clients saw.

  bench [flags]          connect, subscribe, publish, report
  bench -vs-floor        ratios to the cheapest possible server, interleaved in one run
  bench floor [flags]    that server ("bench floor -h")

Exit status: 0 all delivered once and in order, 1 not, or the run failed, 2 usage, 3 -vs-floor missed a hold.
`)
	for _, g := range flagGroups {
		fmt.Fprintf(w, "\n%s\n", g.title)
		for _, name := range g.names {
			f := fs.Lookup(name)
			fmt.Fprintf(w, "  -%-14s %s", f.Name, f.Usage)
			if f.DefValue != "" && f.DefValue != "0" {
				fmt.Fprintf(w, " (default %s)", f.DefValue)
			}
			fmt.Fprintln(w)
		}
	}
}
