package settings

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
func (cfg *Config) check() error {
	for _, step := range []func() error{
		cfg.checkFanout, cfg.checkLoad, cfg.checkPhases, cfg.checkTarget, cfg.checkAddresses, cfg.checkClients, cfg.checkVerdict,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	if !cfg.VsFloor {
		return cfg.refuse("only means something with -vs-floor", "runs", "loops", "pin")
	}
	if cfg.Loops > 1 && !cfg.Given["pin"] {
		cfg.Pin = false // on one CPU, loops would only take turns
	}
	if cfg.Connections < ManyChannels {
		return Usagef("-connections %d: the scenarios of -vs-floor need at least %d", cfg.Connections, ManyChannels)
	}
	for name := range cfg.Given {
		if !slices.Contains([]string{"vs-floor", "connections", "payload", "redis", "gateway", "gateway-args", "json", "runs", "loops", "pin"}, name) {
			return Usagef("-%s is fixed by the scenarios of -vs-floor, or means nothing there", name)
		}
	}
	return nil
}

// checkFanout turns -fanout into -channels.
func (cfg *Config) checkFanout() error {
	if cfg.fanout == "" {
		return nil
	}
	if cfg.Given["channels"] {
		return Usagef("-fanout chooses the channels: leave out -channels")
	}
	room, isRoom := strings.CutPrefix(cfg.fanout, "room:")
	switch {
	case cfg.fanout == "broadcast":
		cfg.Channels = 1
	case cfg.fanout == "user":
		cfg.Channels = cfg.Connections
	case isRoom:
		n, err := strconv.Atoi(room)
		if err != nil || n < 1 {
			return Usagef("-fanout %s: a room has at least one client", cfg.fanout)
		}
		cfg.Channels = (cfg.Connections + n - 1) / n
	default:
		return Usagef("-fanout %q is not broadcast, user or room:N", cfg.fanout)
	}
	return nil
}

func (cfg *Config) checkLoad() error {
	switch {
	case cfg.Connections < 1 || cfg.Connections > 1<<30:
		return Usagef("-connections %d: there must be at least one", cfg.Connections)
	case cfg.Channels < 1:
		return Usagef("-channels %d: there must be at least one", cfg.Channels)
	case cfg.Channels > cfg.Connections:
		return Usagef("-channels %d: more than -connections %d, so some would have no subscriber", cfg.Channels, cfg.Connections)
	case !(cfg.Zipf >= 0 && cfg.Zipf <= 10):
		return Usagef("-zipf %g: between 0 and 10 are possible", cfg.Zipf)
	case cfg.Zipf > 0 && cfg.Channels == 1:
		return Usagef("-zipf %g: needs more than one of -channels", cfg.Zipf)
	case !possibleRate(cfg.Rate) || !possibleRate(cfg.Ramp):
		return Usagef("-rate %g, -ramp %g: between 0 and a million a second are possible", cfg.Rate, cfg.Ramp)
	case cfg.PingEvery < 0:
		return Usagef("-ping-every %s: cannot be negative", cfg.PingEvery)
	case cfg.Inflight < 0:
		return Usagef("-max-inflight %d: cannot be negative", cfg.Inflight)
	case cfg.Rate > 0 && cfg.Inflight > 0:
		return Usagef("-rate is an open loop and -max-inflight a closed one: give one of them")
	case cfg.Duration <= 0:
		return Usagef("-duration %s: must be more than nothing", cfg.Duration)
	case cfg.Payload < wire.StampLen || cfg.Payload > wire.MaxPayload:
		return Usagef("-payload %d: between %d and %d bytes are possible", cfg.Payload, wire.StampLen, wire.MaxPayload)
	}
	for name, n := range map[string]int{"runs": cfg.Runs, "loops": cfg.Loops, "repeat": cfg.Repeat, "bursts": cfg.Bursts} {
		if n < 1 {
			return Usagef("-%s %d: there must be at least one", name, n)
		}
	}
	return nil
}

// possibleRate is false for NaN, too, which the flag package reads.
func possibleRate(r float64) bool { return r >= 0 && r <= 1e6 }

// The phases that only their own flag can make happen, in the order in which they follow the others.
var faultPhases = []string{"slow", "vanish", "kill-redis", "kill-gateway"}

func (cfg *Config) checkPhases() error {
	asked := map[string]bool{"slow": cfg.Slow > 0, "vanish": cfg.Vanish > 0, "kill-redis": cfg.KillRedis > 0, "kill-gateway": cfg.killGateway}
	if cfg.Slow == 1 {
		return Usagef("-slow 100%%: nobody would be left who could notice")
	}
	if cfg.KillRedis < 0 {
		return Usagef("-kill-redis %s: cannot be negative", cfg.KillRedis)
	}
	if cfg.Phases == nil {
		cfg.Phases = []string{"ramp", "settle", "steady"}
	}
	if cfg.Phases[0] != "ramp" {
		cfg.Phases = append([]string{"ramp"}, cfg.Phases...)
	}
	for i, name := range cfg.Phases {
		known := slices.Contains([]string{"ramp", "settle", "steady", "burst", "churn", "storm", "drain"}, name)
		fault := slices.Contains(faultPhases, name)
		switch {
		case !known && !fault:
			return Usagef("-phases: there is no phase %q", name)
		case fault && !asked[name]:
			return Usagef("-phases: %s needs its own flag, -%s", name, name)
		case slices.Contains(cfg.Phases[:i], name):
			return Usagef("-phases: %s is there twice", name)
		case name == "drain" && i != len(cfg.Phases)-1:
			return Usagef("-phases: nobody is left after drain")
		}
	}
	for _, name := range faultPhases {
		if !asked[name] || slices.Contains(cfg.Phases, name) {
			continue
		}
		at := len(cfg.Phases)
		if cfg.Phases[at-1] == "drain" {
			at--
		}
		cfg.Phases = slices.Insert(cfg.Phases, at, name)
	}
	return nil
}

func (cfg *Config) checkTarget() error {
	cfg.URL, cfg.Admin = cfg.URLs[0], cfg.Admins[0]
	switch {
	case cfg.Given["url"] && (cfg.Gateway != "" || len(cfg.GatewayArgs) > 0 || cfg.fleet > 0):
		return Usagef("-url names a gateway that runs, -gateway, -gateway-args and -fleet one to start: give one of them")
	case cfg.Given["url"] && (cfg.KillRedis > 0 || cfg.killGateway):
		return Usagef("-kill-redis and -kill-gateway are for gateways that are started for the run: leave out -url")
	case cfg.KillRedis > 0 && cfg.Redis != "":
		return Usagef("-kill-redis is for a Redis that is started for the run: leave out -redis")
	case cfg.fleet < 0 || cfg.fleet > 1000:
		return Usagef("-fleet %d: between 0 and 1,000 are possible", cfg.fleet)
	case len(cfg.Admins) > len(cfg.URLs):
		return Usagef("-admin is there %d times, and -url %d times", len(cfg.Admins), len(cfg.URLs))
	case len(cfg.URLs) > 1<<16:
		return Usagef("-url: more than 65,536")
	}
	s := &cfg.Speech
	s.NoAck = s.Ack == "none"
	s.SingleNamed = s.Channel != "" && cfg.Channels == 1
	if s.Subscribe != "" && !strings.Contains(s.Subscribe, "{channel}") {
		return Usagef("-subscribe %q has no {channel} in it", s.Subscribe)
	}
	if strings.ContainsAny(s.Channel, "\"\\ \n") {
		return Usagef("-channel %q: quotes, backslashes and spaces are not for names", s.Channel)
	}
	isURL := strings.HasPrefix(cfg.Publish, "http://") || strings.HasPrefix(cfg.Publish, "https://")
	switch {
	case cfg.Publish == PublishRedis, cfg.Publish == PublishHTTP, strings.HasPrefix(cfg.Publish, PublishExec) && len(cfg.Publish) > len(PublishExec):
	case isURL && strings.Contains(cfg.Publish, "{channel}"):
	default:
		return Usagef("-publish %q is not redis, http, a URL with {channel} in it, or exec:COMMAND", cfg.Publish)
	}
	return nil
}

func (cfg *Config) checkAddresses() error {
	for _, raw := range cfg.URLs {
		if u, err := url.Parse(raw); err != nil || u.Scheme != "ws" || u.Hostname() == "" {
			return Usagef("-url %q is not ws://host:port/path (TLS is not measured here)", raw)
		}
	}
	for _, raw := range cfg.Admins {
		if u, err := url.Parse(raw); err != nil || u.Scheme != "http" || u.Hostname() == "" {
			return Usagef("-admin %q is not http://host:port", raw)
		}
	}
	if cfg.Redis == "" {
		return nil
	}
	u, err := url.Parse(cfg.Redis)
	if err != nil {
		return Usagef("-redis %q is not a URL", cfg.Redis)
	}
	switch u.Scheme {
	case "redis", "rediss", "unix":
		return nil
	case floor.Scheme:
		if _, _, err := net.SplitHostPort(u.Host); err != nil {
			return Usagef("-redis %q is not %s://host:port", cfg.Redis, floor.Scheme)
		}
		return nil
	default:
		return Usagef("-redis %q: the scheme is redis, rediss, unix or %s", cfg.Redis, floor.Scheme)
	}
}

func (cfg *Config) checkClients() error {
	switch {
	case cfg.Procs < 0 || cfg.Procs > cfg.Connections:
		return Usagef("-procs %d: between 0 and -connections are possible", cfg.Procs)
	case cfg.Procs > 0 && len(cfg.Workers) > 0:
		return Usagef("-procs are processes here, -workers elsewhere: give one of them")
	}
	for _, addr := range append(slices.Clone(cfg.Workers), cfg.Worker) {
		if _, _, err := net.SplitHostPort(addr); addr != "" && err != nil {
			return Usagef("-worker and -workers: %q is not host:port", addr)
		}
	}
	for _, addr := range cfg.Sources {
		if ip := net.ParseIP(addr); ip == nil || ip.To4() == nil {
			return Usagef("-source-ips: %q is not an IPv4 address", addr)
		}
	}
	return nil
}

func (cfg *Config) checkVerdict() (err error) {
	if !slices.Contains([]string{ProgressAuto, progressPlain, ProgressNone}, cfg.Progress) {
		return Usagef("-progress %q is not auto, plain or none", cfg.Progress)
	}
	if cfg.slo != "" {
		if cfg.Demands, err = report.ParseDemands(cfg.slo); err != nil {
			return Usagef("-slo: %w", err)
		}
	}
	return nil
}

// OwnGateway reports whether the flags ask for a gateway of our own, whatever answers at -url.
func (cfg *Config) OwnGateway() bool { return cfg.Gateway != "" || len(cfg.GatewayArgs) > 0 }

// OwnFleet is how many gateways to start on a Redis that is not embedded in one of them; 0 leaves that to findGateway.
func (cfg *Config) OwnFleet() int {
	if cfg.fleet == 0 && (cfg.KillRedis > 0 || cfg.killGateway) {
		return 1
	}
	return cfg.fleet
}

// OwnGateways is how many gateways will certainly be started.
func (cfg *Config) OwnGateways() int {
	if n := cfg.OwnFleet(); n > 0 {
		return n
	}
	if cfg.OwnGateway() {
		return 1
	}
	return 0
}

// Workload is which client subscribes to what.
func (cfg *Config) Workload() client.Workload {
	return client.Workload{Connections: cfg.Connections, Channels: cfg.Channels, Zipf: cfg.Zipf}
}

func (cfg *Config) refuse(why string, names ...string) error {
	for _, name := range names {
		if cfg.Given[name] {
			return Usagef("-%s %s", name, why)
		}
	}
	return nil
}

// ManyChannels is the number of channels in the scenario of many small ones.
const ManyChannels = 1000
