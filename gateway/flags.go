package main

import (
	"flag"
	"io"
	"time"

	"github.com/carillon-ws/carillon/fanout/redis"
	"github.com/carillon-ws/carillon/gateway/identity"
	"github.com/carillon-ws/carillon/gateway/server"
)

// config is what the flags say.
type config struct {
	addr, admin, redis, adminToken, logLevel, logFormat string
	insecure, demo, compress, printConfig               bool
	redisTLS                                            redis.TLSFiles
	interest                                            redis.Mode
	gcPercent, memoryLimit                              int
	origins                                             []string
	identity                                            identity.Config
	server                                              server.Config
	flags                                               *flag.FlagSet     // bound to the rest
	origin                                              map[string]string // of each value that is not the default: a variable, or flag
}

// flagGroup is a part of the table: flags that belong together.
type flagGroup struct {
	title string
	rows  []flagRow
}

// flagRow is all that is said about a flag, once: the flag set, the help, the environment's names, -print-config and
// the README's table are made of it.
type flagRow struct {
	name   string
	bind   binding
	trades string // one sentence: what it does, and what more or less of it costs

	unset  string // what the zero value means, where it means "chosen at start"
	wins   string // variable of Go's own that has precedence over the flag
	secret bool   // its value is not shown
	url    bool   // its user, password and query are not
	once   bool   // a question rather than a setting: not taken from the environment
}

// flagTable is every flag of serve and demo, bound to cfg.
func flagTable(cfg *config) []flagGroup {
	id, s := &cfg.identity, &cfg.server
	return append([]flagGroup{
		{"Listen", []flagRow{
			{name: "addr", bind: text(&cfg.addr, "127.0.0.1:8080"), trades: "where clients connect; beyond loopback only with a -jwt- key, or -insecure"},
			{name: "insecure", bind: yes(&cfg.insecure), trades: "listen beyond loopback although nobody is asked for a token: anyone who reaches the port hears any channel"},
			{name: "allow-origin", bind: each(&cfg.origins, checkedOrigin), unset: "the gateway's own", trades: "origin whose pages may connect (scheme://host[:port], repeatable, * for any); without it the gateway's own, and loopback ones while it listens there"},
			{name: "loops", bind: number(&s.Loops, 0), unset: "one a CPU", trades: "event loops: more use more CPUs, and wake more of them for a small fan-out"},
		}},
		{"Redis", []flagRow{
			{name: "redis", bind: text(&cfg.redis, ""), url: true, unset: "embedded", trades: "URL of the Redis to listen to (redis://, rediss://, unix://, redis+sentinel://, redis+cluster://, rediss+...); without it an embedded one, for trying out"},
			{name: "redis-ca", bind: text(&cfg.redisTLS.CA, ""), unset: "the system's", trades: "PEM file of the authorities whose certificates Redis may show"},
			{name: "redis-cert", bind: text(&cfg.redisTLS.Cert, ""), trades: "PEM file of the certificate that the gateway shows to Redis; needs -redis-key"},
			{name: "redis-key", bind: text(&cfg.redisTLS.Key, ""), trades: "PEM file of its key"},
			{name: "interest", bind: oneOf(&cfg.interest, redis.Pattern, redis.Dynamic, redis.Sharded), trades: "how Redis is asked for channels: pattern (all of them: Redis sends each publication to every gateway), dynamic (those that clients hold: costs Redis a command for each channel that comes or goes) or sharded (the same on a Cluster, Redis 7: publishers must use SPUBLISH)"},
		}},
		{"Identity", []flagRow{
			{name: "jwt-secret", bind: text(&id.SecretFile, ""), trades: "file with the secret of HS256 tokens, 32 bytes or more: clients need a token then"},
			{name: "jwt-public-key", bind: text(&id.PublicKeyFile, ""), trades: "PEM file with the public key of RS256, ES256 or EdDSA tokens: clients need a token then"},
			{name: "jwt-jwks", bind: text(&id.JWKSURL, ""), url: true, trades: "URL of the key set of RS256, ES256 or EdDSA tokens, fetched again as keys rotate: clients need a token then"},
			{name: "jwt-jwks-insecure", bind: yes(&id.InsecureJWKS), trades: "fetch the key set by plain http from beyond loopback: who can change it on its way makes every token"},
			{name: "jwt-audience", bind: text(&id.Audience, ""), trades: "claim aud that a token must have; without it a token that the same issuer made for another service is good here"},
			{name: "jwt-issuer", bind: text(&id.Issuer, ""), trades: "claim iss that a token must have"},
			{name: "jwt-leeway", bind: span(&id.Leeway, 0), trades: "how far the clocks of the issuer and of this host may differ"},
			{name: "jwt-cookie", bind: text(&s.TokenSources.Cookie, ""), trades: "cookie that may carry the token, beside Sec-WebSocket-Protocol and Authorization: as safe as the check of the origin"},
			{name: "jwt-query", bind: yes(&s.TokenSources.Query), trades: "let ?token= carry the token: proxies write it into their logs"},
			{name: "personal-channel", bind: text(&s.PersonalChannel, ""), trades: "channel that each client is subscribed to unasked, as in user:{sub}, if its token allows it"},
		}},
		{"Proxies", []flagRow{
			{name: "trusted-proxy", bind: each(&s.TrustedProxies, parseNetwork), trades: "network (CIDR, or an address; repeatable) of proxies whose X-Forwarded-For, or PROXY header, is believed: limits by address then mean clients, not the proxy"},
			{name: "proxy-protocol", bind: yes(&s.ProxyProtocol), trades: "trusted proxies send a PROXY protocol header, version 1 or 2, before anything else"},
		}},
		{"Limits", []flagRow{
			{name: "max-connections", bind: number(&s.MaxConnections, 0), unset: "what the open-file limit allows", trades: "connections beyond this get 503"},
			{name: "max-connections-per-address", bind: number(&s.MaxPerAddress, 0), trades: "connections of one client address (64 bits of IPv6) beyond this get 429: a whole office may share one; 0 is off"},
			{name: "max-accepts", bind: number(&s.MaxAccepts, 0), trades: "newcomers a second beyond this get 503: spreads a stampede that the clients do not spread themselves; 0 is off"},
			{name: "max-message", bind: bytesize(&s.MaxMessage, 64<<10), trades: "largest message from a client; larger ones end with 1009"},
			{name: "max-fragments", bind: number(&s.MaxFragments, 128), trades: "frames of one message; more end with 1008"},
			{name: "message-timeout", bind: span(&s.MessageTimeout, 30*time.Second), trades: "time for a message from its first byte to its last; longer ones end with 1008"},
			{name: "max-message-rate", bind: number(&s.MessageRate, 100), trades: "messages, pings and pongs a second from one client in the long run; 0 is off"},
			{name: "max-message-burst", bind: number(&s.MessageBurst, 2000), trades: "of them at once; beyond it commands are refused (rate_limited), beyond twice as many it is closed (4102); a malformed message counts as a twentieth of it"},
			{name: "max-channels", bind: number(&s.MaxChannels, 1000), trades: "channels one connection may subscribe to: each costs about 50 bytes"},
			{name: "handshake-timeout", bind: span(&s.HandshakeTimeout, 10*time.Second), trades: "time for a whole request head: bounds what silent sockets can hold"},
		}},
		{"Heartbeat", []flagRow{
			{name: "ping-interval", bind: span(&s.PingInterval, 30*time.Second), trades: "silence after which a ping is sent, and once more after which the connection ends: shorter finds dead peers sooner and costs a write each; 0 is off"},
			{name: "heartbeat", bind: span(&s.Heartbeat, 0), trades: "a message at least this often, for pages, which cannot see pings, to notice a gateway that is gone: a write each; 0 is off"},
		}},
		{"Slow consumers", []flagRow{
			{name: "slow-consumer", bind: oneOf(&s.SlowConsumer, server.SlowClose, server.SlowDrop), trades: "what happens over -max-backlog: close (4100, the client returns) or drop (oldest notifications go, the client is told by a gap)"},
			{name: "max-backlog", bind: bytesize(&s.MaxBacklog, 1<<20), trades: "bytes that wait for one slow connection: more rides out longer stalls, and delivers older news"},
			{name: "max-backlog-age", bind: span(&s.MaxBacklogAge, 30*time.Second), trades: "time without a byte taken after which a connection with a backlog is too slow"},
			{name: "max-backlog-total", bind: bytesize(&s.MaxBacklogTotal, 256<<20), trades: "bytes in all backlogs of one loop; beyond it whoever grows is too slow"},
			{name: "max-mailbox", bind: bytesize(&s.MaxMailbox, 64<<20), trades: "bytes that wait for one loop; beyond it publications are dropped and told as a gap"},
			{name: "send-buffer", bind: bytesize(&s.SendBuffer, 64<<10), trades: "kernel send buffer of a connection: smaller bounds what a stalled one holds, larger takes bigger bursts"},
		}},
		{"Bandwidth", []flagRow{
			{name: "compress", bind: yes(&cfg.compress), trades: "permessage-deflate for clients that offer it, which browsers do: JSON shrinks to a quarter or a half, for some 10 us of CPU a publication and no memory a connection"},
		}},
		{"Operation", []flagRow{
			{name: "admin", bind: text(&cfg.admin, "127.0.0.1:9090"), trades: "where operators look: metrics, health, publishing, the demo page and the operator page"},
			{name: "admin-token", bind: text(&cfg.adminToken, ""), secret: true, trades: "bearer token for the admin listener; without one only metrics and health are served beyond loopback"},
			{name: "drain", bind: span(&s.Drain, 5*time.Second), trades: "time over which clients are told to come back after SIGTERM, evenly: longer spares whatever they come back to; a second SIGTERM leaves at once; 0 is all at once"},
			{name: "gc-percent", bind: number(&cfg.gcPercent, 100), wins: "GOGC", trades: "heap growth that starts a garbage collection, as GOGC, which wins over it: more collects less often and holds more memory; a delivery allocates nothing, so there is little to gain"},
			{name: "memory-limit", bind: bytesizeOrNone(&cfg.memoryLimit), wins: "GOMEMLIMIT", trades: "Go memory beyond which collections come closer, as GOMEMLIMIT, which wins over it: set it below the container's limit less 8KiB a connection for the kernel's share; 0 is none"},
			{name: "log-level", bind: oneOf(&cfg.logLevel, "info", "debug", "warn", "error"), trades: "least level that is logged; POST /log-level on the admin listener changes it while the gateway runs; debug tells of connections, a few lines a second at most"},
			{name: "log-format", bind: oneOf(&cfg.logFormat, "auto", "text", "json"), trades: "text is for people and json for machines; auto is text on a terminal and json elsewhere"},
			{name: "print-config", bind: yes(&cfg.printConfig), once: true, trades: "print every setting with its value and where that came from, and exit"},
		}},
	}, echoGroup(cfg)...)
}

// newFlagSet registers every flag of serve and demo.
func newFlagSet(cfg *config) *flag.FlagSet {
	fs := flag.NewFlagSet("gateway", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // we print our own sentence
	for _, group := range flagTable(cfg) {
		for _, row := range group.rows {
			row.bind(fs, row.name, row.trades)
		}
	}
	return fs
}
