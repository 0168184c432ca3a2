package settings

import (
	"flag"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/carillon-ws/carillon/bench/client"
	"github.com/carillon-ws/carillon/bench/floor"
	"github.com/carillon-ws/carillon/bench/report"
	"github.com/carillon-ws/carillon/bench/wire"
)

// check refuses what is contradictory, and works out what follows from the flags.
func (cfg *Config) check() error {
	for _, step := range []func() error{
		cfg.checkLoad, cfg.checkPhases, cfg.checkTarget, cfg.checkAddresses, cfg.checkClients, cfg.checkVerdict,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	if !cfg.VsFloor {
		for _, name := range []string{"runs", "loops", "pin"} {
			if cfg.Given[name] {
				return Usagef("-%s only means something with -vs-floor", name)
			}
		}
		return nil
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

// limits are what the numbers of flags may be; times are in seconds.
var limits = []struct {
	name        string
	least, most float64
}{
	{"connections", 1, 1 << 30},
	{"channels", 1, 1 << 30},
	{"zipf", 0, 10},
	{"rate", 0, 1e6},
	{"ramp", 0, 1e6},
	{"max-inflight", 0, 1 << 30},
	{"duration", 0.001, 1e6},
	{"ping-every", 0, 1e6},
	{"payload", wire.StampLen, wire.MaxPayload},
	{"bursts", 1, 1e6},
	{"kill-redis", 0, 1e6},
	{"fleet", 0, 1000},
	{"procs", 0, 1 << 16},
	{"repeat", 1, 1e6},
	{"runs", 1, 1e6},
	{"loops", 1, 1 << 16},
}

func checkLimits(fs *flag.FlagSet) error {
	for _, l := range limits {
		f := fs.Lookup(l.name)
		var v float64
		switch n := f.Value.(flag.Getter).Get().(type) {
		case int:
			v = float64(n)
		case float64:
			v = n
		case time.Duration:
			v = n.Seconds()
		}
		if !(v >= l.least && v <= l.most) { // NaN is not, which the flag package reads
			return Usagef("-%s %s: it must be between %.10g and %.10g", l.name, f.Value, l.least, l.most)
		}
	}
	return nil
}

func (cfg *Config) checkLoad() error {
	switch {
	case cfg.Channels > cfg.Connections:
		return Usagef("-channels %d: more than -connections %d, so some would have no subscriber", cfg.Channels, cfg.Connections)
	case cfg.Zipf > 0 && cfg.Channels == 1:
		return Usagef("-zipf %g: needs more than one of -channels", cfg.Zipf)
	case cfg.Rate > 0 && cfg.Inflight > 0:
		return Usagef("-rate is an open loop and -max-inflight a closed one: give one of them")
	}
	return nil
}

// The phases that only their own flag can make happen, in the order in which they follow the others.
var faultPhases = []string{"slow", "vanish", "kill-redis", "kill-gateway"}

func (cfg *Config) checkPhases() error {
	asked := map[string]bool{"slow": cfg.Slow > 0, "vanish": cfg.Vanish > 0, "kill-redis": cfg.KillRedis > 0, "kill-gateway": cfg.killGateway}
	if cfg.Slow == 1 {
		return Usagef("-slow 100%%: nobody would be left who could notice")
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
	isWay := cfg.Publish == PublishRedis || cfg.Publish == PublishHTTP || len(cfg.Publish) > len(PublishExec) && strings.HasPrefix(cfg.Publish, PublishExec)
	posts := isURL(cfg.Publish, "http", "https") && strings.Contains(cfg.Publish, "{channel}")
	if !isWay && !posts {
		return Usagef("-publish %q is not redis, http, a URL with {channel} in it, or exec:COMMAND", cfg.Publish)
	}
	return nil
}

func (cfg *Config) checkAddresses() error {
	for _, raw := range cfg.URLs {
		if !isURL(raw, "ws") {
			return Usagef("-url %q is not ws://host:port/path (TLS is not measured here)", raw)
		}
	}
	for _, raw := range cfg.Admins {
		if !isURL(raw, "http") {
			return Usagef("-admin %q is not http://host:port", raw)
		}
	}
	if cfg.Redis == "" || isURL(cfg.Redis, "redis", "rediss") || strings.HasPrefix(cfg.Redis, "unix:") {
		return nil
	}
	if u, err := url.Parse(cfg.Redis); err == nil && u.Scheme == floor.Scheme && u.Port() != "" {
		return nil
	}
	return Usagef("-redis %q: the scheme is redis, rediss, unix or %s, and %s://host:port has a port", cfg.Redis, floor.Scheme, floor.Scheme)
}

// isURL reports whether a text is a URL of one of these schemes, with a host.
func isURL(text string, schemes ...string) bool {
	u, err := url.Parse(text)
	return err == nil && slices.Contains(schemes, u.Scheme) && u.Hostname() != ""
}

func (cfg *Config) checkClients() error {
	switch {
	case cfg.Procs > cfg.Connections:
		return Usagef("-procs %d: more than -connections %d", cfg.Procs, cfg.Connections)
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

// ManyChannels is the number of channels in the scenario of many small ones.
const ManyChannels = 1000

// maxDefaultDeliveries bounds what a run without -rate asks for: a laptop reaches it, so that a first run measures
// the gateway's latency and not its queue.
const maxDefaultDeliveries = 20_000

// maxDefaultRate keeps a run with many small channels from measuring the publisher instead.
const maxDefaultRate = 1_000

// DefaultRate is the largest whole number of publications per second that stays below maxDefaultDeliveries, and at
// least one.
func DefaultRate(connections, channels int) float64 {
	perChannel := (connections + channels - 1) / channels
	return float64(min(maxDefaultRate, max(1, (maxDefaultDeliveries-1)/perChannel)))
}
