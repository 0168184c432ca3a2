package settings

import (
	"flag"
	"io"
	"time"

	"github.com/carillon-ws/carillon/gateway/identity"
	"github.com/carillon-ws/carillon/gateway/server"
)

// Settings is what the flags and the environment say, for serve and demo. The zero value has no flags: get one from
// [Parse] or [Read].
type Settings struct {
	Addr, Admin, Redis, AdminToken, LogLevel, LogFormat string
	Insecure, Demo, Compress                            bool
	GCPercent, MemoryLimit                              int // MemoryLimit in bytes; 0: none
	Origins                                             []string
	Identity                                            identity.Config
	Server                                              server.Config

	printConfig bool
	flags       *flag.FlagSet     // bound to the rest
	origin      map[string]string // of each value that is not the default: a variable, or flag
}

// flagGroup is a part of the table: flags that belong together.
type flagGroup struct {
	title string
	rows  []flagRow
}

// flagRow is all that is said about a flag, once: the flag set, the help, the environment's names, -print-config and
// the README's table are made of it.
type flagRow struct {
	name  string
	bind  Binding
	usage string // one sentence: what it does, and what more or less of it costs

	unset  string // what the zero value means, where it means "chosen at start"
	wins   string // variable of Go's own that has precedence over the flag
	secret bool   // its value is not shown
	url    bool   // its user, password and query are not
	once   bool   // a question rather than a setting: not taken from the environment
}

// flagTable is every flag of serve and demo, bound to cfg.
func flagTable(cfg *Settings) []flagGroup {
	id, s := &cfg.Identity, &cfg.Server
	return append([]flagGroup{
		{"Listen", []flagRow{
			{name: "addr", bind: text(&cfg.Addr, "127.0.0.1:8080"), usage: "where clients connect; beyond loopback only with a -jwt- key, or -insecure"},
			{name: "insecure", bind: yes(&cfg.Insecure), usage: "listen beyond loopback although nobody is asked for a token: anyone who reaches the port hears any channel"},
			{name: "allow-origin", bind: each(&cfg.Origins, checkedOrigin), unset: "the gateway's own", usage: "origin whose pages may connect (scheme://host[:port], repeatable, * for any); without it the gateway's own, and loopback ones while it listens there; there, without tokens and -trusted-proxy, no others"},
			{name: "loops", bind: Number(&s.Loops, 0), unset: "one a CPU", usage: "event loops: more use more CPUs, and wake more of them for a small fan-out"},
		}},
		{"Redis", []flagRow{
			{name: "redis", bind: text(&cfg.Redis, ""), url: true, unset: "embedded", usage: "URL of the Redis to listen to (redis://, rediss://, unix://); without it an embedded one, for trying out"},
		}},
		{"Identity", []flagRow{
			{name: "jwt-secret", bind: text(&id.SecretFile, ""), usage: "file with the secret of HS256 tokens, 32 bytes or more: clients need a token then"},
			{name: "jwt-public-key", bind: text(&id.PublicKeyFile, ""), usage: "PEM file with the public key of RS256, ES256 or EdDSA tokens: clients need a token then"},
			{name: "jwt-jwks", bind: text(&id.JWKSURL, ""), url: true, usage: "URL of the key set of RS256, ES256 or EdDSA tokens, fetched again as keys rotate: clients need a token then"},
			{name: "jwt-jwks-insecure", bind: yes(&id.InsecureJWKS), usage: "fetch the key set by plain http from beyond loopback: who can change it on its way makes every token"},
			{name: "jwt-audience", bind: text(&id.Audience, ""), usage: "claim aud that a token must have; without it a token that the same issuer made for another service is good here"},
			{name: "jwt-issuer", bind: text(&id.Issuer, ""), usage: "claim iss that a token must have"},
			{name: "jwt-leeway", bind: Duration(&id.Leeway, 0), usage: "how far the clocks of the issuer and of this host may differ"},
			{name: "jwt-cookie", bind: text(&s.TokenSources.Cookie, ""), usage: "cookie that may carry the token, beside Sec-WebSocket-Protocol and Authorization: as safe as the check of the origin"},
			{name: "jwt-query", bind: yes(&s.TokenSources.Query), usage: "let ?token= carry the token: proxies write it into their logs"},
			{name: "personal-channel", bind: text(&s.PersonalChannel, ""), usage: "channel that each client is subscribed to unasked, as in user:{sub}, if its token allows it"},
		}},
		{"Proxies", []flagRow{
			{name: "trusted-proxy", bind: each(&s.TrustedProxies, parseNetwork), usage: "network (CIDR, or an address; repeatable) of proxies whose X-Forwarded-For, or PROXY header, is believed: limits by address then mean clients, not the proxy"},
			{name: "proxy-protocol", bind: yes(&s.ProxyProtocol), usage: "trusted proxies send a PROXY protocol header, version 1 or 2, before anything else"},
		}},
		{"Limits", []flagRow{
			{name: "max-connections", bind: Number(&s.MaxConnections, 0), unset: "what the open-file limit allows", usage: "connections beyond this get 503"},
			{name: "max-connections-per-address", bind: Number(&s.MaxPerAddress, 0), usage: "connections of one client address (64 bits of IPv6) beyond this get 429: a whole office may share one; 0 is off"},
			{name: "max-accepts", bind: Number(&s.MaxAccepts, 0), usage: "newcomers a second beyond this get 503: spreads a stampede that the clients do not spread themselves; 0 is off"},
			{name: "max-message", bind: bytesize(&s.MaxMessage, 64<<10), usage: "largest message from a client; larger ones end with 1009"},
			{name: "max-inbound-total", bind: bytesize(&s.MaxInboundTotal, 64<<20), usage: "bytes that unfinished messages and request heads hold in the whole process; over it the oldest of the address that holds most ends with 1013, a request with 503"},
			{name: "max-fragments", bind: Number(&s.MaxFragments, 128), usage: "frames of one message; more end with 1008"},
			{name: "message-timeout", bind: Duration(&s.MessageTimeout, 30*time.Second), usage: "time for a message from its first byte to its last; longer ones end with 1008"},
			{name: "max-message-rate", bind: Number(&s.MessageRate, 100), usage: "messages, pings and pongs a second from one client in the long run; 0 is off"},
			{name: "max-message-burst", bind: Number(&s.MessageBurst, 0), unset: "2000, or twice -max-channels", usage: "of them at once, at least -max-channels; beyond it commands are refused (rate_limited), beyond twice as many it is closed (4102); a malformed message counts as a twentieth of it"},
			{name: "max-channels", bind: Number(&s.MaxChannels, 1000), usage: "channels one connection may subscribe to: each costs about 50 bytes"},
			{name: "handshake-timeout", bind: Duration(&s.HandshakeTimeout, 10*time.Second), usage: "time for a whole request head: bounds what silent sockets can hold"},
		}},
		{"Heartbeat", []flagRow{
			{name: "ping-interval", bind: Duration(&s.PingInterval, 30*time.Second), usage: "silence after which a ping is sent, and once more after which the connection ends: shorter finds dead peers sooner and costs a write each; 0 is off"},
			{name: "heartbeat", bind: Duration(&s.Heartbeat, 0), usage: "a message at least this often, for pages, which cannot see pings, to notice a gateway that is gone: a write each; 0 is off"},
		}},
		{"Slow consumers", []flagRow{
			{name: "slow-consumer", bind: oneOf(&s.SlowConsumer, server.SlowClose, server.SlowDrop), usage: "what happens over -max-backlog: close (4100, the client returns) or drop (oldest notifications go, the client is told by a gap)"},
			{name: "max-backlog", bind: bytesize(&s.MaxBacklog, 1<<20), usage: "bytes that wait for one slow connection: more rides out longer stalls, and delivers older news"},
			{name: "max-backlog-age", bind: Duration(&s.MaxBacklogAge, 30*time.Second), usage: "time without a byte taken after which a connection with a backlog is too slow"},
			{name: "max-backlog-total", bind: bytesize(&s.MaxBacklogTotal, 256<<20), usage: "bytes that the backlogs of all connections hold together, a shared frame once for each loop: beyond it those that hold the oldest frames give way, as -slow-consumer says"},
			{name: "max-mailbox", bind: bytesize(&s.MaxMailbox, 64<<20), usage: "bytes that wait for one loop; beyond it publications are dropped and told as a gap"},
			{name: "send-buffer", bind: bytesize(&s.SendBuffer, 64<<10), usage: "kernel send buffer of a connection: smaller bounds what a stalled one holds, larger takes bigger bursts"},
		}},
		{"Bandwidth", []flagRow{
			{name: "compress", bind: yes(&cfg.Compress), usage: "permessage-deflate for clients that offer it, which browsers do: JSON shrinks to a quarter or a half, for some 10 us of CPU a publication and no memory a connection"},
		}},
		{"Operation", []flagRow{
			{name: "admin", bind: text(&cfg.Admin, "127.0.0.1:9090"), usage: "where operators look: metrics, health, publishing, the demo page and the operator page"},
			{name: "admin-token", bind: text(&cfg.AdminToken, ""), secret: true, usage: "bearer token for the admin listener; without one only metrics and health are served beyond loopback"},
			{name: "drain-delay", bind: Duration(&s.DrainDelay, 0), usage: "time after SIGTERM in which everything goes on but /readyz, which is red at once: as long as balancers take to notice, so that they send no newcomer who is refused; then comes -drain"},
			{name: "drain", bind: Duration(&s.Drain, 5*time.Second), usage: "time over which clients are told to come back after SIGTERM, evenly: longer spares whatever they come back to; a second SIGTERM leaves at once; 0 is all at once"},
			{name: "gc-percent", bind: Number(&cfg.GCPercent, 100), wins: "GOGC", usage: "heap growth that starts a garbage collection, as GOGC, which wins over it: more collects less often and holds more memory; a delivery allocates nothing, so there is little to gain"},
			{name: "memory-limit", bind: bytesizeOrNone(&cfg.MemoryLimit), wins: "GOMEMLIMIT", usage: "Go memory beyond which collections come closer, as GOMEMLIMIT, which wins over it: set it below the container's limit less 8KiB a connection for the kernel's share; 0 is none"},
			{name: "log-level", bind: oneOf(&cfg.LogLevel, "info", "debug", "warn", "error"), usage: "least level that is logged; POST /log-level on the admin listener changes it while the gateway runs; debug tells of connections, a few lines a second at most"},
			{name: "log-format", bind: oneOf(&cfg.LogFormat, "auto", "text", "json"), usage: "text is for people and json for machines; auto is text on a terminal and json elsewhere"},
			{name: "print-config", bind: yes(&cfg.printConfig), once: true, usage: "print every setting with its value and where that came from, and exit"},
		}},
	}, echoGroup(cfg)...)
}

// NewFlagSet registers every flag of serve and demo.
func NewFlagSet(cfg *Settings) *flag.FlagSet {
	fs := flag.NewFlagSet("gateway", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // we print our own sentence
	for _, group := range flagTable(cfg) {
		for _, row := range group.rows {
			row.bind(fs, row.name, row.usage)
		}
	}
	return fs
}
