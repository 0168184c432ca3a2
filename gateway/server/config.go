package server

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"runtime"
	"time"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/gateway/identity"
	"github.com/carillon-ws/carillon/protocol/http1"
)

// SlowPolicy is what happens to a connection whose backlog is over its cap.
type SlowPolicy string

// The policies.
const (
	SlowClose SlowPolicy = "close" // end it with 4100
	SlowDrop  SlowPolicy = "drop"  // drop whole notifications, oldest first, and tell the client by a gap
)

// Config is what a Server needs to know. Zero values take the defaults written here.
type Config struct {
	Addr  string // host:port to listen on; port 0 takes a free one
	Loops int    // event loops; default: one a CPU, MaxLoops at most

	MaxConnections   int           // default: what the open-file limit allows
	MaxPerAddress    int           // connections of one address, or of 64 bits of IPv6; 0: any number
	MaxAccepts       int           // sockets a second that may become connections; 0: any number
	MaxMessage       int           // bytes of one message from a client; default 64 KiB
	MaxFragments     int           // frames of one message; default 128
	MaxInboundTotal  int           // bytes that unfinished messages and request heads hold in the process; default 64 MiB, and 4 of MaxMessage at least
	MaxChannels      int           // subscriptions of one connection; default 1,000
	MessageRate      int           // messages, pings and pongs a second from one connection, in the long run; 0: any number
	MessageBurst     int           // of them at once; default 20 times MessageRate, or twice MaxChannels if that is more
	HandshakeTimeout time.Duration // default 10 s
	MessageTimeout   time.Duration // from an unfinished message's first byte; default 30 s
	PingInterval     time.Duration // after this long without a byte a ping is sent; 0: never
	PongTimeout      time.Duration // after this much longer the connection ends; default: PingInterval
	Heartbeat        time.Duration // a message at least this often, for clients that cannot see pings; 0: none

	MaxBacklog      int           // bytes not yet taken by one socket; default 1 MiB
	MaxBacklogAge   time.Duration // without a byte being taken; default 30 s
	MaxBacklogTotal int           // bytes that all backlogs of the process cost; default 256 MiB
	SlowConsumer    SlowPolicy    // default SlowClose
	MaxMailbox      int           // bytes waiting for one loop; default 64 MiB
	SendBuffer      int           // SO_SNDBUF of a connection in bytes; default 64 KiB
	OtherFiles      int           // descriptors that the rest of the process holds at most; default 128

	DrainDelay time.Duration // how long everything goes on when Run's context ends, before the drain begins
	Drain      time.Duration // over which clients are told to leave when Run's context ends; 0: all at once

	TrustedProxies []netip.Prefix // whose X-Forwarded-For, or PROXY protocol header, is believed
	ProxyProtocol  bool           // they send a PROXY protocol header before anything else

	Verifier        *identity.Verifier // of tokens; nil: nobody is asked for one
	TokenSources    identity.Sources
	PersonalChannel string // subscribed for each client, {sub} filled in; empty: none

	EchoConfig

	Upgrade  http1.Config
	Interest *fanout.Interest // required
	Log      *slog.Logger     // default: slog.Default()
}

const (
	maxHead     = 8 << 10 // bytes of a request head
	lingerFor   = 2 * time.Second
	maxLinger   = 256 << 10 // bytes read and thrown away while a connection lingers
	retryWindow = 5 * time.Second
)

// StopPatience is how long after Config.Drain whoever has not left is waited for; then what is left is cut.
const StopPatience = lingerFor + 3*time.Second

// Bounds of a Config.
const (
	MostChannels = math.MaxUint16     // of MaxChannels: conn.count has 16 bits
	MostBurst    = math.MaxUint16 / 2 // of MessageBurst: conn.spent has 16 bits, and counts up to twice the burst
	MinHeartbeat = 2 * time.Second    // the timing wheel turns once a second
)

// LeastInboundTotal is the least MaxInboundTotal with which a message of this size can be sent: the buffer of a message
// grows in steps, to at most twice its size.
func LeastInboundTotal(maxMessage int) int { return 2 * maxMessage }

func (cfg *Config) setDefaults() error {
	if cfg.Interest == nil {
		return errors.New("server: Config.Interest is missing")
	}
	if cfg.Loops == 0 {
		cfg.Loops = min(runtime.NumCPU(), fanout.MaxLoops)
	}
	if cfg.Loops < 1 || cfg.Loops > fanout.MaxLoops {
		return fmt.Errorf("%d loops: between 1 and %d are possible", cfg.Loops, fanout.MaxLoops)
	}
	setDefault(&cfg.MaxMessage, 64<<10)
	setDefault(&cfg.MaxInboundTotal, max(64<<20, 4*cfg.MaxMessage))
	if cfg.MaxInboundTotal < LeastInboundTotal(cfg.MaxMessage) {
		return fmt.Errorf("%d bytes for unfinished messages: one message of %d needs twice as many", cfg.MaxInboundTotal, cfg.MaxMessage)
	}
	setDefault(&cfg.MaxFragments, 128)
	setDefault(&cfg.MaxChannels, 1000)
	setDefault(&cfg.MessageBurst, DefaultBurst(cfg.MessageRate, cfg.MaxChannels))
	if cfg.MaxChannels > MostChannels {
		return fmt.Errorf("%d channels of one connection: at most %d are possible", cfg.MaxChannels, MostChannels)
	}
	if cfg.MessageBurst > MostBurst {
		return fmt.Errorf("a burst of %d messages: at most %d are possible", cfg.MessageBurst, MostBurst)
	}
	if cfg.Heartbeat != 0 && cfg.Heartbeat < MinHeartbeat {
		return fmt.Errorf("a heartbeat every %s: at most one in %s is possible", cfg.Heartbeat, MinHeartbeat)
	}
	setDefault(&cfg.HandshakeTimeout, 10*time.Second)
	setDefault(&cfg.MessageTimeout, 30*time.Second)
	setDefault(&cfg.PongTimeout, cfg.PingInterval)
	setDefault(&cfg.MaxBacklog, 1<<20)
	setDefault(&cfg.MaxBacklogAge, 30*time.Second)
	setDefault(&cfg.MaxBacklogTotal, 256<<20)
	setDefault(&cfg.SlowConsumer, SlowClose)
	setDefault(&cfg.MaxMailbox, 64<<20)
	setDefault(&cfg.SendBuffer, 64<<10)
	setDefault(&cfg.OtherFiles, 128)
	setDefault(&cfg.Log, slog.Default())
	cfg.Upgrade.Credentials = cfg.Verifier != nil
	cfg.Upgrade.TrustForwarded = len(cfg.TrustedProxies) > 0
	return cfg.budgetFiles()
}

// DefaultBurst is the burst of messages when none is given: 20 seconds' worth of the rate, and at least enough for a
// connection to give up all the channels that it may have and to subscribe to as many others.
func DefaultBurst(rate, channels int) int { return min(max(20*rate, 2*channels), MostBurst) }

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
