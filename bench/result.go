package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// schema is the version of the JSON that -json writes. Fields may be added to it; anything else makes a new one.
const schema = 1

// result is everything that a run found out. README.md documents its JSON.
type result struct {
	Schema  int       `json:"schema"`
	Kind    string    `json:"kind"` // load
	When    time.Time `json:"when"`
	Command []string  `json:"command"`
	Machine machine   `json:"machine"`
	Target  targetRef `json:"target"`
	Load    loadRef   `json:"load"`

	OK        bool          `json:"ok"` // all delivered, once, in order, to connections that stayed
	Ramp      rampResult    `json:"ramp"`
	Server    *serverResult `json:"server,omitempty"` // only when its process is on this machine
	Steady    *steadyResult `json:"steady"`
	Slow      *slowResult   `json:"slow,omitempty"`      // with -slow
	Vanish    *vanishResult `json:"vanish,omitempty"`    // with -vanish
	Ping      *latency      `json:"ping,omitempty"`      // answers to the probe of -ping-every
	Cost      *cpuCost      `json:"serverCPU,omitempty"` // of the server, per delivery; likewise
	Generator *cpuCost      `json:"benchCPU,omitempty"`  // of bench itself, per delivery
}

// machine is where the figures come from; without it they mean nothing.
type machine struct {
	CPU    string `json:"cpu"`
	CPUs   int    `json:"cpus"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
	Commit string `json:"commit,omitempty"` // of bench, when it was built from a checkout
}

// targetRef says what was measured.
type targetRef struct {
	URL           string `json:"url"`
	Name          string `json:"name,omitempty"`
	Version       string `json:"version,omitempty"`
	PID           int    `json:"pid,omitempty"`
	Loops         int    `json:"loops,omitempty"`
	Own           bool   `json:"own"` // started for this run
	RedisEmbedded bool   `json:"redisEmbedded"`
}

// loadRef says what was asked of it.
type loadRef struct {
	Connections int     `json:"connections"`
	Channels    int     `json:"channels"`
	Rate        float64 `json:"rate,omitempty"`     // open loop
	Inflight    int     `json:"inflight,omitempty"` // closed loop
	Payload     int     `json:"payload"`
	Seconds     float64 `json:"seconds"`
	Ramp        float64 `json:"ramp,omitempty"`
}

// serverResult is what the server's process looks like from outside, connected and idle.
type serverResult struct {
	RSSBefore     int64    `json:"rssBefore"` // bytes
	RSSAfter      int64    `json:"rssAfter"`
	PerConnection float64  `json:"rssPerConnection"` // bytes
	Threads       int      `json:"threads"`
	Goroutines    int      `json:"goroutines,omitempty"`
	Connect       *cpuCost `json:"connectCPU"` // per connect, upgrade and subscribe
	IdleCores     float64  `json:"idleCores"`
}

func newResult(cfg *config, g *gateway) *result {
	return &result{
		Schema: schema, Kind: "load", When: time.Now().UTC().Truncate(time.Second), Command: os.Args, Machine: thisMachine(),
		Target: targetRef{
			URL: g.info.URL, Name: g.info.Name, Version: g.info.Version, PID: g.info.PID, Loops: g.info.Loops,
			Own: g.own != nil, RedisEmbedded: g.info.RedisEmbedded,
		},
		Load: loadRef{
			Connections: cfg.connections, Channels: cfg.channels, Rate: cfg.rate, Inflight: cfg.inflight,
			Payload: cfg.payload, Seconds: cfg.duration.Seconds(), Ramp: cfg.ramp,
		},
	}
}

func thisMachine() machine {
	m := machine{CPUs: runtime.NumCPU(), Go: runtime.Version()}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, s := range build.Settings {
			if s.Key == "vcs.revision" {
				m.Commit = s.Value
			}
		}
	}
	return m
}
