package settings

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/carillon-ws/carillon/bench/client"
	"github.com/carillon-ws/carillon/bench/report"
	"github.com/carillon-ws/carillon/bench/wire"
)

// Config is what the flags say.
type Config struct {
	Connections, Channels int
	Zipf                  float64
	Rate                  float64
	Duration              time.Duration
	Payload               int
	Inflight              int
	Ramp                  float64
	PingEvery             time.Duration // 0: off

	Phases           []string
	Bursts           int
	Churn            float64 // share of the clients per second
	Storm            float64 // share
	Slow, Vanish     float64 // shares; 0: off
	KillRedis        time.Duration
	killGateway      bool
	URLs, Admins     []string
	URL, Admin       string // of the one gateway that is asked for
	Redis, Publish   string
	Speech           client.Speech
	fleet            int
	Gateway          string
	GatewayArgs      []string
	Procs            int
	Workers          []string // elsewhere
	Worker           string   // to be one
	Sources          []string
	JSON, HTML, Name string
	Progress         string
	Repeat           int
	slo              string
	Demands          []report.Figure
	VsFloor          bool
	Runs             int
	Loops            int
	Pin              bool

	Settle time.Duration   // settleTime, except in tests that have other things to look at
	Given  map[string]bool // names of the flags that were on the command line
}

// flagGroup orders the flags in the help.
type flagGroup struct {
	title string
	names []string
}

var flagGroups = []flagGroup{
	{"Load", []string{"connections", "channels", "zipf", "rate", "max-inflight", "duration", "payload", "ramp", "ping-every"}},
	{"Phases", []string{"phases", "bursts", "churn", "storm"}},
	{"Faults", []string{"slow", "vanish", "kill-redis", "kill-gateway"}},
	{"Target", []string{"url", "admin", "redis", "fleet", "gateway", "gateway-args"}},
	{"Other servers", []string{"channel", "subscribe", "ack", "publish"}},
	{"Clients", []string{"procs", "workers", "worker", "source-ips"}},
	{"Verdict and output", []string{"slo", "repeat", "json", "html", "name", "progress"}},
	{"Compared with the floor", []string{"vs-floor", "runs", "loops", "pin"}},
}

// NewFlags registers every flag. Each sentence says what the flag trades.
func NewFlags(cfg *Config) *flag.FlagSet {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // we print our own sentence
	cfg.loadFlags(fs)
	cfg.phaseFlags(fs)
	cfg.targetFlags(fs)
	cfg.clientFlags(fs)
	fs.BoolVar(&cfg.VsFloor, "vs-floor", false, "run fixed scenarios against the floor server and the gateway in turn, and print the ratios")
	fs.IntVar(&cfg.Runs, "runs", 5, "how often each scenario of -vs-floor is run on either server, with fresh processes")
	fs.IntVar(&cfg.Loops, "loops", 1, "event loops of the gateway in -vs-floor; the floor has one thread, and more than one loop has a bound of its own")
	fs.BoolVar(&cfg.Pin, "pin", true, "in -vs-floor, keep the server on one CPU and everything else on another; off with more than one loop, unless given")
	return fs
}

func (cfg *Config) loadFlags(fs *flag.FlagSet) {
	fs.IntVar(&cfg.Connections, "connections", 10000, "clients, each with a socket and one subscription")
	fs.IntVar(&cfg.Channels, "channels", 1, "channels they are dealt to in turn: 1 is a broadcast to everyone")
	fs.Float64Var(&cfg.Zipf, "zipf", 0, "with -channels: the first are more popular, by this exponent (1 is usual); 0: all alike")
	fs.Float64Var(&cfg.Rate, "rate", 0, "publications per second, sent on schedule whatever the gateway does (open loop); 0: what stays below 20,000 deliveries/s")
	fs.IntVar(&cfg.Inflight, "max-inflight", 0, "instead of -rate: publish as soon as fewer than this many publications are on their way (closed loop): measures capacity, hides queueing; 0: off")
	fs.DurationVar(&cfg.Duration, "duration", 10*time.Second, "how long a phase publishes")
	fs.IntVar(&cfg.Payload, "payload", 128, fmt.Sprintf("bytes per publication, at least the %d that carry number and time", wire.StampLen))
	fs.Float64Var(&cfg.Ramp, "ramp", 0, "new connections per second; 0: as fast as they are accepted")
	fs.DurationVar(&cfg.PingEvery, "ping-every", 0, "one connection more pings this often while the others are published to, and its answers are timed; 0: off")
}

func (cfg *Config) phaseFlags(fs *flag.FlagSet) {
	fs.Func("phases", "what happens, in this order: ramp (always first), settle, steady, burst, churn, storm, drain, and the faults (default ramp,settle,steady, and the faults that are asked for)", func(v string) error {
		cfg.Phases = nil
		for name := range strings.SplitSeq(v, ",") {
			cfg.Phases = append(cfg.Phases, strings.TrimSpace(name))
		}
		return nil
	})
	fs.IntVar(&cfg.Bursts, "bursts", 5, "publications of the phase burst to each channel, each sent when the one before was heard by all")
	cfg.Churn, cfg.Storm = 0.01, 1
	fs.Func("churn", "share of the clients that leaves and comes back every second of the phase churn (default 1%)", ShareVar(&cfg.Churn))
	fs.Func("storm", "share of the clients that leaves and comes back at once in the phase storm (default 100%)", ShareVar(&cfg.Storm))
	fs.Func("slow", "this share of the subscribers (1%) stops reading for a second -duration: the report tells what the others notice, and whether the slow ones were told what they missed", ShareVar(&cfg.Slow))
	fs.Func("vanish", "this share of the clients (100%) is reset at once and as many new ones connect: the report tells when all are back, and what the gateway still holds of those that left", ShareVar(&cfg.Vanish))
	fs.DurationVar(&cfg.KillRedis, "kill-redis", 0, "kill the gateways' Redis for so long: the report tells when it has healed, and whether everybody was told what was missed; starts a redis-server of its own; 0: off")
	fs.BoolVar(&cfg.killGateway, "kill-gateway", false, "kill a gateway and start it again: the report tells when its clients are back")
}

func (cfg *Config) targetFlags(fs *flag.FlagSet) {
	cfg.URLs, cfg.Admins = []string{"ws://127.0.0.1:8080/ws"}, []string{"http://127.0.0.1:9090"}
	list(fs, &cfg.URLs, "url", "where clients connect (repeatable: they are dealt to all); default ws://127.0.0.1:8080/ws, and if nothing answers there, a gateway is started for the run")
	list(fs, &cfg.Admins, "admin", "the admin listener of each -url, in the same order: names its Redis and its process (default http://127.0.0.1:9090, if that belongs to -url)")
	fs.StringVar(&cfg.Redis, "redis", "", "where to publish, redis://… or floor://host:port; empty: ask the admin listener")
	fs.IntVar(&cfg.fleet, "fleet", 0, "start this many gateways on one Redis: as many as one process can have open files for its clients; 0: off")
	fs.StringVar(&cfg.Gateway, "gateway", "", "start this binary, whatever answers at -url; empty: a gateway beside bench, in PATH, or built here")
	fs.Func("gateway-args", "more flags for the gateways that are started, separated by spaces", func(v string) error {
		cfg.GatewayArgs = strings.Fields(v)
		return nil
	})
	fs.StringVar(&cfg.Speech.Channel, "channel", "", "name of the channels, with :NUMBER behind it; with one channel, exactly that name (default bench)")
	fs.StringVar(&cfg.Speech.Subscribe, "subscribe", "", "what a client sends to subscribe, with {channel} in it; empty: as in the protocol")
	fs.StringVar(&cfg.Speech.Ack, "ack", "", "text that the answer to it contains, or none when nothing answers; empty: as in the protocol")
	fs.StringVar(&cfg.Publish, "publish", PublishRedis, "redis; http: POST /publish/CHANNEL at the admin listener; a URL to POST to, with {channel} in it; or exec:COMMAND, which reads a CHANNEL PAYLOAD a line")
}

func (cfg *Config) clientFlags(fs *flag.FlagSet) {
	fs.IntVar(&cfg.Procs, "procs", 0, "worker processes that hold the clients; 0: as many as the open-file limit makes necessary")
	fs.Func("workers", "instead: bench -worker processes on other machines, host:port,host:port", func(v string) error {
		cfg.Workers = strings.Split(v, ",")
		return nil
	})
	fs.StringVar(&cfg.Worker, "worker", "", "be a worker for a bench elsewhere, and listen for it at this address: on a network that is trusted")
	fs.Func("source-ips", "addresses to connect from, with commas; empty: all of 127.0.0.0/8 on loopback, else what the kernel chooses", func(v string) error {
		cfg.Sources = strings.Split(v, ",")
		return nil
	})
	fs.StringVar(&cfg.slo, "slo", "", "what must hold, like p99<50ms,lost=0,rss_per_conn<2KiB; exit status 3 when it does not")
	fs.IntVar(&cfg.Repeat, "repeat", 1, "run all of it so many times, for a spread")
	fs.StringVar(&cfg.JSON, "json", "", "also write the result to this file")
	fs.StringVar(&cfg.HTML, "html", "", "also write a page about it to this file")
	fs.StringVar(&cfg.Name, "name", "", "what to call the run in reports and comparisons")
	fs.StringVar(&cfg.Progress, "progress", ProgressAuto, "auto: one line that changes on a terminal, a line a second elsewhere; plain; none")
}

// list is a flag that may be given again; the first time replaces the default.
func list(fs *flag.FlagSet, to *[]string, name, usage string) {
	given := false
	fs.Func(name, usage, func(v string) error {
		if !given {
			*to, given = nil, true
		}
		*to = append(*to, v)
		return nil
	})
}

// ShareVar reads a share, 1% or 0.01; 1%/s means the same.
func ShareVar(to *float64) func(string) error {
	return func(v string) error {
		digits, percent := strings.CutSuffix(strings.TrimSuffix(v, "/s"), "%")
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

// Parse reads the arguments of a run. Errors are one sentence each.
func Parse(args []string, help io.Writer) (*Config, error) {
	cfg := &Config{Settle: SettleTime, Given: map[string]bool{}}
	fs := NewFlags(cfg)
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			printHelp(help, fs)
			return nil, err
		}
		return nil, Usagef("%w (bench -h lists the flags)", err)
	}
	if fs.NArg() > 0 {
		return nil, Usagef("unexpected argument %q (the commands are floor and compare; flags begin with -)", fs.Arg(0))
	}
	fs.Visit(func(f *flag.Flag) { cfg.Given[f.Name] = true })
	if err := checkLimits(fs); err != nil {
		return nil, err
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.Rate == 0 && cfg.Inflight == 0 {
		cfg.Rate = DefaultRate(cfg.Connections, cfg.Channels)
	}
	return cfg, nil
}

// printHelp writes the commands and the flags by group.
func printHelp(w io.Writer, fs *flag.FlagSet) {
	fmt.Fprint(w, `bench loads a notification gateway over the wire and says what its clients saw.

  bench [flags]             connect, subscribe, publish, report
  bench compare A B         runs side by side, from what -json wrote ("bench compare -h")
  bench -vs-floor           ratios to the cheapest possible server, interleaved in one run
  bench floor [flags]       that server ("bench floor -h")
  bench -worker ADDR        clients for a bench -workers on another machine

Exit status: 0 all delivered once and in order, 1 not, or the run failed, 2 usage, 3 -slo or a hold of -vs-floor
missed, 4 compare found a regression, 5 the run is invalid: bench itself did not keep up.
`)
	for _, g := range flagGroups {
		fmt.Fprintf(w, "\n%s\n", g.title)
		for _, name := range g.names {
			f := fs.Lookup(name)
			fmt.Fprintf(w, "  -%-14s %s", f.Name, f.Usage)
			if f.DefValue != "" && f.DefValue != "0" && f.DefValue != "0s" && f.DefValue != "false" {
				fmt.Fprintf(w, " (default %s)", f.DefValue)
			}
			fmt.Fprintln(w)
		}
	}
}

// UsageError marks errors that are the caller's: one sentence, exit status 2.
type UsageError struct{ error }

// Usagef makes one.
func Usagef(format string, args ...any) error { return UsageError{fmt.Errorf(format, args...)} }

// SettleTime is how long the gateways are left alone between connecting and the look at their memory.
const SettleTime = 2 * time.Second

// Ways to publish, as -publish names them.
const (
	PublishRedis = "redis" // PUBLISH, a batch per round trip
	PublishHTTP  = "http"  // POST /publish/CHANNEL at the admin listeners, or at a URL with {channel} in it
	PublishExec  = "exec:" // a command that reads "CHANNEL PAYLOAD" lines
)

// How a run tells what it is doing, as -progress names it.
const (
	ProgressAuto  = "auto"
	progressPlain = "plain"
	ProgressNone  = "none"
)
