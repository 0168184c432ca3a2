package main

import (
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/carillon-ws/carillon/bench/client"
	"github.com/carillon-ws/carillon/bench/floor"
	"github.com/carillon-ws/carillon/bench/report"
	"github.com/carillon-ws/carillon/bench/wire"
)

// check refuses what is contradictory, and works out what follows from the flags.
func (cfg *config) check() error {
	for _, step := range []func() error{
		cfg.checkFanout, cfg.checkLoad, cfg.checkPhases, cfg.checkTarget, cfg.checkAddresses, cfg.checkClients, cfg.checkVerdict,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	if !cfg.vsFloor {
		return cfg.refuse("only means something with -vs-floor", "runs", "loops", "pin")
	}
	if cfg.loops > 1 && !cfg.given["pin"] {
		cfg.pin = false // on one CPU, loops would only take turns
	}
	if cfg.connections < manyChannels {
		return usagef("-connections %d: the scenarios of -vs-floor need at least %d", cfg.connections, manyChannels)
	}
	for name := range cfg.given {
		if !slices.Contains([]string{"vs-floor", "connections", "payload", "redis", "gateway", "gateway-args", "json", "runs", "loops", "pin"}, name) {
			return usagef("-%s is fixed by the scenarios of -vs-floor, or means nothing there", name)
		}
	}
	return nil
}

// checkFanout turns -fanout into -channels.
func (cfg *config) checkFanout() error {
	if cfg.fanout == "" {
		return nil
	}
	if cfg.given["channels"] {
		return usagef("-fanout chooses the channels: leave out -channels")
	}
	room, isRoom := strings.CutPrefix(cfg.fanout, "room:")
	switch {
	case cfg.fanout == "broadcast":
		cfg.channels = 1
	case cfg.fanout == "user":
		cfg.channels = cfg.connections
	case isRoom:
		n, err := strconv.Atoi(room)
		if err != nil || n < 1 {
			return usagef("-fanout %s: a room has at least one client", cfg.fanout)
		}
		cfg.channels = (cfg.connections + n - 1) / n
	default:
		return usagef("-fanout %q is not broadcast, user or room:N", cfg.fanout)
	}
	return nil
}

func (cfg *config) checkLoad() error {
	switch {
	case cfg.connections < 1 || cfg.connections > 1<<30:
		return usagef("-connections %d: there must be at least one", cfg.connections)
	case cfg.channels < 1:
		return usagef("-channels %d: there must be at least one", cfg.channels)
	case cfg.channels > cfg.connections:
		return usagef("-channels %d: more than -connections %d, so some would have no subscriber", cfg.channels, cfg.connections)
	case !(cfg.zipf >= 0 && cfg.zipf <= 10):
		return usagef("-zipf %g: between 0 and 10 are possible", cfg.zipf)
	case cfg.zipf > 0 && cfg.channels == 1:
		return usagef("-zipf %g: needs more than one of -channels", cfg.zipf)
	case !possibleRate(cfg.rate) || !possibleRate(cfg.ramp):
		return usagef("-rate %g, -ramp %g: between 0 and a million a second are possible", cfg.rate, cfg.ramp)
	case cfg.pingEvery < 0:
		return usagef("-ping-every %s: cannot be negative", cfg.pingEvery)
	case cfg.inflight < 0:
		return usagef("-max-inflight %d: cannot be negative", cfg.inflight)
	case cfg.rate > 0 && cfg.inflight > 0:
		return usagef("-rate is an open loop and -max-inflight a closed one: give one of them")
	case cfg.duration <= 0:
		return usagef("-duration %s: must be more than nothing", cfg.duration)
	case cfg.payload < wire.StampLen || cfg.payload > wire.MaxPayload:
		return usagef("-payload %d: between %d and %d bytes are possible", cfg.payload, wire.StampLen, wire.MaxPayload)
	}
	for name, n := range map[string]int{"runs": cfg.runs, "loops": cfg.loops, "repeat": cfg.repeat, "bursts": cfg.bursts} {
		if n < 1 {
			return usagef("-%s %d: there must be at least one", name, n)
		}
	}
	return nil
}

// possibleRate is false for NaN, too, which the flag package reads.
func possibleRate(r float64) bool { return r >= 0 && r <= 1e6 }

// The phases that only their own flag can make happen, in the order in which they follow the others.
var faultPhases = []string{"slow", "vanish", "kill-redis", "kill-gateway"}

func (cfg *config) checkPhases() error {
	asked := map[string]bool{"slow": cfg.slow > 0, "vanish": cfg.vanish > 0, "kill-redis": cfg.killRedis > 0, "kill-gateway": cfg.killGateway}
	if cfg.slow == 1 {
		return usagef("-slow 100%%: nobody would be left who could notice")
	}
	if cfg.killRedis < 0 {
		return usagef("-kill-redis %s: cannot be negative", cfg.killRedis)
	}
	if cfg.phases == nil {
		cfg.phases = []string{"ramp", "settle", "steady"}
	}
	if cfg.phases[0] != "ramp" {
		cfg.phases = append([]string{"ramp"}, cfg.phases...)
	}
	for i, name := range cfg.phases {
		known := slices.Contains([]string{"ramp", "settle", "steady", "burst", "churn", "storm", "drain"}, name)
		fault := slices.Contains(faultPhases, name)
		switch {
		case !known && !fault:
			return usagef("-phases: there is no phase %q", name)
		case fault && !asked[name]:
			return usagef("-phases: %s needs its own flag, -%s", name, name)
		case slices.Contains(cfg.phases[:i], name):
			return usagef("-phases: %s is there twice", name)
		case name == "drain" && i != len(cfg.phases)-1:
			return usagef("-phases: nobody is left after drain")
		}
	}
	for _, name := range faultPhases {
		if !asked[name] || slices.Contains(cfg.phases, name) {
			continue
		}
		at := len(cfg.phases)
		if cfg.phases[at-1] == "drain" {
			at--
		}
		cfg.phases = slices.Insert(cfg.phases, at, name)
	}
	return nil
}

func (cfg *config) checkTarget() error {
	cfg.url, cfg.admin = cfg.urls[0], cfg.admins[0]
	switch {
	case cfg.given["url"] && (cfg.gateway != "" || len(cfg.gatewayArgs) > 0 || cfg.fleet > 0):
		return usagef("-url names a gateway that runs, -gateway, -gateway-args and -fleet one to start: give one of them")
	case cfg.given["url"] && (cfg.killRedis > 0 || cfg.killGateway):
		return usagef("-kill-redis and -kill-gateway are for gateways that are started for the run: leave out -url")
	case cfg.killRedis > 0 && cfg.redis != "":
		return usagef("-kill-redis is for a Redis that is started for the run: leave out -redis")
	case cfg.fleet < 0 || cfg.fleet > 1000:
		return usagef("-fleet %d: between 0 and 1,000 are possible", cfg.fleet)
	case len(cfg.admins) > len(cfg.urls):
		return usagef("-admin is there %d times, and -url %d times", len(cfg.admins), len(cfg.urls))
	case len(cfg.urls) > 1<<16:
		return usagef("-url: more than 65,536")
	}
	s := &cfg.speech
	s.NoAck = s.Ack == "none"
	s.SingleNamed = s.Channel != "" && cfg.channels == 1
	if s.Subscribe != "" && !strings.Contains(s.Subscribe, "{channel}") {
		return usagef("-subscribe %q has no {channel} in it", s.Subscribe)
	}
	if strings.ContainsAny(s.Channel, "\"\\ \n") {
		return usagef("-channel %q: quotes, backslashes and spaces are not for names", s.Channel)
	}
	isURL := strings.HasPrefix(cfg.publish, "http://") || strings.HasPrefix(cfg.publish, "https://")
	switch {
	case cfg.publish == publishRedis, cfg.publish == publishHTTP, strings.HasPrefix(cfg.publish, publishExec) && len(cfg.publish) > len(publishExec):
	case isURL && strings.Contains(cfg.publish, "{channel}"):
	default:
		return usagef("-publish %q is not redis, http, a URL with {channel} in it, or exec:COMMAND", cfg.publish)
	}
	return nil
}

func (cfg *config) checkAddresses() error {
	for _, raw := range cfg.urls {
		if u, err := url.Parse(raw); err != nil || u.Scheme != "ws" || u.Hostname() == "" {
			return usagef("-url %q is not ws://host:port/path (TLS is not measured here)", raw)
		}
	}
	for _, raw := range cfg.admins {
		if u, err := url.Parse(raw); err != nil || u.Scheme != "http" || u.Hostname() == "" {
			return usagef("-admin %q is not http://host:port", raw)
		}
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
	case floor.Scheme:
		if _, _, err := net.SplitHostPort(u.Host); err != nil {
			return usagef("-redis %q is not %s://host:port", cfg.redis, floor.Scheme)
		}
		return nil
	default:
		return usagef("-redis %q: the scheme is redis, rediss, unix or %s", cfg.redis, floor.Scheme)
	}
}

func (cfg *config) checkClients() error {
	switch {
	case cfg.procs < 0 || cfg.procs > cfg.connections:
		return usagef("-procs %d: between 0 and -connections are possible", cfg.procs)
	case cfg.procs > 0 && len(cfg.workers) > 0:
		return usagef("-procs are processes here, -workers elsewhere: give one of them")
	}
	for _, addr := range append(slices.Clone(cfg.workers), cfg.worker) {
		if _, _, err := net.SplitHostPort(addr); addr != "" && err != nil {
			return usagef("-worker and -workers: %q is not host:port", addr)
		}
	}
	for _, addr := range cfg.sources {
		if ip := net.ParseIP(addr); ip == nil || ip.To4() == nil {
			return usagef("-source-ips: %q is not an IPv4 address", addr)
		}
	}
	return nil
}

func (cfg *config) checkVerdict() (err error) {
	if !slices.Contains([]string{progressAuto, progressPlain, progressNone}, cfg.progress) {
		return usagef("-progress %q is not auto, plain or none", cfg.progress)
	}
	if cfg.slo != "" {
		if cfg.demands, err = report.ParseDemands(cfg.slo); err != nil {
			return usagef("-slo: %w", err)
		}
	}
	return nil
}

// ownGateway reports whether the flags ask for a gateway of our own, whatever answers at -url.
func (cfg *config) ownGateway() bool { return cfg.gateway != "" || len(cfg.gatewayArgs) > 0 }

// ownFleet is how many gateways to start on a Redis that is not embedded in one of them; 0 leaves that to findGateway.
func (cfg *config) ownFleet() int {
	if cfg.fleet == 0 && (cfg.killRedis > 0 || cfg.killGateway) {
		return 1
	}
	return cfg.fleet
}

// ownGateways is how many gateways will certainly be started.
func (cfg *config) ownGateways() int {
	if n := cfg.ownFleet(); n > 0 {
		return n
	}
	if cfg.ownGateway() {
		return 1
	}
	return 0
}

// workload is which client subscribes to what.
func (cfg *config) workload() client.Workload {
	return client.Workload{Connections: cfg.connections, Channels: cfg.channels, Zipf: cfg.zipf}
}

func (cfg *config) refuse(why string, names ...string) error {
	for _, name := range names {
		if cfg.given[name] {
			return usagef("-%s %s", name, why)
		}
	}
	return nil
}
