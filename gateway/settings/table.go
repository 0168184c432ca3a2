package settings

import (
	"flag"
	"io"
	"time"

	"github.com/carillon-ws/carillon/fanout/redis"
	"github.com/carillon-ws/carillon/gateway/identity"
	"github.com/carillon-ws/carillon/gateway/server"
)

// Settings are the settings of serve and demo, from the flags and the environment. They are made by [Parse] or [Read]; the
// zero value has no flags to show.
type Settings struct {
	Addr, Admin, Redis, AdminToken, LogLevel, LogFormat string
	Insecure, Demo, Compress                            bool
	GCPercent, MemoryLimit                              int // MemoryLimit in bytes; 0: none
	Origins                                             []string
	Identity                                            identity.Config
	Server                                              server.Config
	RedisTLS                                            redis.TLSFiles
	Interest                                            redis.Mode

	printConfig bool
	flags       *flag.FlagSet     // bound to the rest
	origin      map[string]string // by flag: where a value that is not the default came from
}

// flagGroup is a part of the table: flags that belong together.
type flagGroup struct {
	title string
	rows  []flagRow
}

// flagRow is everything about a flag in one place. The flag set, the help, the environment variables, -print-config and the
// README's tables are made from it.
type flagRow struct {
	name  string
	bind  Binding
	usage string // one sentence: what the flag does, and what a larger or smaller value costs

	unset  string // what the gateway does without the flag, if the zero value does not say it
	wins   string // Go's own variable that wins over the flag
	secret bool   // its value is not shown
	url    bool   // it is a URL: its user, password and query are not shown
	once   bool   // it asks for something and is no setting: it has no environment variable
}

// flagTable returns every flag of serve and demo, bound to cfg.
func flagTable(cfg *Settings) []flagGroup {
	id, s := &cfg.Identity, &cfg.Server
	return append([]flagGroup{
		{"Listen", []flagRow{
			{name: "addr", bind: text(&cfg.Addr, "127.0.0.1:8080"), usage: "address (host:port) where clients connect; an address beyond loopback needs a key (-jwt-secret, -jwt-public-key or -jwt-jwks), or -insecure"},
			{name: "insecure", bind: yes(&cfg.Insecure), usage: "listen beyond loopback although clients need no token: anyone who reaches the port can hear any channel"},
			{name: "allow-origin", bind: each(&cfg.Origins, checkedOrigin), unset: "the host that the page connects to", usage: "origin whose pages may connect (scheme://host[:port]; repeatable; * is any); without this flag, pages from the host that they connect to may connect, and on loopback also pages from loopback; on loopback without tokens and without -trusted-proxy, only pages from loopback"},
			{name: "loops", bind: Number(&s.Loops, 0), unset: "one for each CPU", usage: "number of event loops; more loops use more CPUs, but one publication then wakes more CPUs"},
		}},
		{"Redis", []flagRow{
			{name: "redis", bind: text(&cfg.Redis, ""), url: true, unset: "embedded", usage: "URL of the Redis to subscribe to (redis://, rediss://, unix://, redis+sentinel://, redis+cluster://, rediss+sentinel:// or rediss+cluster://); without it the gateway runs an embedded Redis, for trying out"},
			{name: "redis-ca", bind: text(&cfg.RedisTLS.CA, ""), unset: "those of the system", usage: "PEM file with the certificate authorities that may sign the certificate of Redis"},
			{name: "redis-cert", bind: text(&cfg.RedisTLS.Cert, ""), usage: "PEM file with the certificate that the gateway shows to Redis; needs -redis-key"},
			{name: "redis-key", bind: text(&cfg.RedisTLS.Key, ""), usage: "PEM file with the key of that certificate"},
			{name: "interest", bind: oneOf(&cfg.Interest, redis.Pattern, redis.Dynamic, redis.Sharded), usage: "how the gateway subscribes in Redis: pattern hears all channels, and Redis sends each publication to every gateway; dynamic hears the channels that clients have, and each channel that comes or goes costs Redis a command; sharded does the same on a Cluster of Redis 7, and publishers must use SPUBLISH"},
		}},
		{"Identity", []flagRow{
			{name: "jwt-secret", bind: text(&id.SecretFile, ""), usage: "file with the secret for HS256 tokens, 32 bytes or more; with it clients need a token"},
			{name: "jwt-public-key", bind: text(&id.PublicKeyFile, ""), usage: "PEM file with the public key for RS256, ES256 or EdDSA tokens; with it clients need a token"},
			{name: "jwt-jwks", bind: text(&id.JWKSURL, ""), url: true, usage: "URL of the key set (JWKS) for RS256, ES256 or EdDSA tokens, which is fetched again as keys rotate; with it clients need a token"},
			{name: "jwt-jwks-insecure", bind: yes(&id.InsecureJWKS), usage: "allow a key set at a plain http URL beyond loopback; whoever can change it on its way can make valid tokens"},
			{name: "jwt-audience", bind: text(&id.Audience, ""), usage: "claim aud that a token must have; without this flag a token that the same issuer made for another service is valid here"},
			{name: "jwt-issuer", bind: text(&id.Issuer, ""), usage: "claim iss that a token must have"},
			{name: "jwt-leeway", bind: Duration(&id.Leeway, 0), usage: "how far the clocks of the issuer and of this host may differ; tokens are valid for so much longer"},
			{name: "jwt-cookie", bind: text(&s.TokenSources.Cookie, ""), usage: "name of a cookie that may carry the token, beside the headers Sec-WebSocket-Protocol and Authorization; it is only as safe as -allow-origin is strict"},
			{name: "jwt-query", bind: yes(&s.TokenSources.Query), usage: "allow the token in the query (?token=); proxies write it into their logs"},
			{name: "personal-channel", bind: text(&s.PersonalChannel, ""), usage: "channel to which the gateway subscribes each client by itself, if the client's token allows it; {sub} is replaced by the token's sub, as in user:{sub}"},
		}},
		{"Proxies", []flagRow{
			{name: "trusted-proxy", bind: each(&s.TrustedProxies, parseNetwork), usage: "network or address of a proxy (as in 10.0.0.0/8; repeatable) whose X-Forwarded-For header, or PROXY protocol header, is believed; limits for each address then count clients and not the proxy"},
			{name: "proxy-protocol", bind: yes(&s.ProxyProtocol), usage: "expect a PROXY protocol header, version 1 or 2, at the start of each connection from a trusted proxy"},
		}},
		{"Limits", []flagRow{
			{name: "max-connections", bind: Number(&s.MaxConnections, 0), unset: "what the open-file limit allows", usage: "most connections at a time; more get 503"},
			{name: "max-connections-per-address", bind: Number(&s.MaxPerAddress, 0), usage: "most connections from one client address (for IPv6 its first 64 bits); more get 429; many users of one office may share an address; 0 is off"},
			{name: "max-accepts", bind: Number(&s.MaxAccepts, 0), usage: "most new connections a second; more get 503, which spreads clients that all reconnect at once; 0 is off"},
			{name: "max-message", bind: bytesize(&s.MaxMessage, 64<<10), usage: "largest message from a client; a larger one ends its connection with 1009"},
			{name: "max-inbound-total", bind: bytesize(&s.MaxInboundTotal, 64<<20), usage: "most bytes that unfinished messages and request heads hold in the whole process, at least twice -max-message; over it, the address that holds most gives up its oldest one: a connection is closed with 1013, a request is answered with 503"},
			{name: "max-fragments", bind: Number(&s.MaxFragments, 128), usage: "most frames of one message; more end the connection with 1008"},
			{name: "message-timeout", bind: Duration(&s.MessageTimeout, 30*time.Second), usage: "time for a message from its first byte to its last; a message that takes longer ends its connection with 1008"},
			{name: "max-message-rate", bind: Number(&s.MessageRate, 100), usage: "messages, pings and pongs a second from one client, as an average; more may come at once, see -max-message-burst; 0 is off"},
			{name: "max-message-burst", bind: Number(&s.MessageBurst, 0), unset: "20 times -max-message-rate, or twice -max-channels if that is more; at most 32767", usage: "messages, pings and pongs from one client at once, at least -max-channels; more are refused with the error rate_limited, and after twice as many the connection is closed with 4102; a malformed message counts as a twentieth of the burst"},
			{name: "max-channels", bind: Number(&s.MaxChannels, 1000), usage: "most channels of one connection; each costs about 50 bytes"},
			{name: "handshake-timeout", bind: Duration(&s.HandshakeTimeout, 10*time.Second), usage: "time for a client to send its whole request head; a shorter time frees the places of silent sockets sooner"},
		}},
		{"Heartbeat", []flagRow{
			{name: "ping-interval", bind: Duration(&s.PingInterval, 30*time.Second), usage: "after this time without a byte from a client a ping is sent, and after the same time again the connection ends; a shorter time finds dead clients sooner, and each ping costs a write; 0 is off"},
			{name: "heartbeat", bind: Duration(&s.Heartbeat, 0), usage: "longest time without a message to a client, so that a page, which cannot see pings, notices that the gateway is gone; each message costs a write; 0 is off"},
		}},
		{"Slow consumers", []flagRow{
			{name: "slow-consumer", bind: oneOf(&s.SlowConsumer, server.SlowClose, server.SlowDrop), usage: "what happens to a connection whose backlog is over a limit: close closes it with 4100, and the client reconnects; drop drops its oldest notifications, and the client gets a gap"},
			{name: "max-backlog", bind: bytesize(&s.MaxBacklog, 1<<20), usage: "most bytes that wait for one slow connection; more lets a client stall for longer, and its notifications are older then"},
			{name: "max-backlog-age", bind: Duration(&s.MaxBacklogAge, 30*time.Second), usage: "a connection with a backlog that takes no byte for so long is closed with 4100"},
			{name: "max-backlog-total", bind: bytesize(&s.MaxBacklogTotal, 256<<20), usage: "most bytes that the backlogs of all connections of the process hold; a frame that many wait for counts once for each loop; over it, -slow-consumer is applied to the connections that hold the oldest frames"},
			{name: "max-mailbox", bind: bytesize(&s.MaxMailbox, 64<<20), usage: "most bytes that wait for one loop to send them; over it publications are dropped, and clients get a gap"},
			{name: "send-buffer", bind: bytesize(&s.SendBuffer, 64<<10), usage: "size of the kernel's send buffer for each connection; a small one bounds the memory that a stalled client holds, a large one takes larger bursts"},
		}},
		{"Bandwidth", []flagRow{
			{name: "compress", bind: yes(&cfg.Compress), usage: "compress messages (permessage-deflate) for clients that offer it, as browsers do; JSON shrinks to a quarter or a half; it costs about 10 us of CPU for each publication, and no memory for a connection"},
		}},
		{"Operation", []flagRow{
			{name: "admin", bind: text(&cfg.Admin, "127.0.0.1:9090"), usage: "address (host:port) of the admin listener: metrics, health, publishing, the demo page and the operator page"},
			{name: "admin-token", bind: text(&cfg.AdminToken, ""), secret: true, usage: "bearer token for the admin listener; without it, only metrics and health are served beyond loopback"},
			{name: "drain-delay", bind: Duration(&s.DrainDelay, 0), usage: "time from SIGTERM to the drain; /readyz fails at once, everything else goes on; give the time that load balancers need to notice, so that they send no client that is then refused"},
			{name: "drain", bind: Duration(&s.Drain, 5*time.Second), usage: "time over which clients are told to come back, evenly, after SIGTERM and -drain-delay; a longer time spreads the reconnects; a second SIGTERM ends the process at once; 0 tells all at once"},
			{name: "gc-percent", bind: Number(&cfg.GCPercent, 100), wins: "GOGC", usage: "heap growth in percent that starts a garbage collection, as GOGC does; if GOGC is set, it wins; more means fewer collections and more memory; a delivery allocates nothing, so there is little to gain"},
			{name: "memory-limit", bind: bytesizeOrNone(&cfg.MemoryLimit), wins: "GOMEMLIMIT", usage: "memory of Go near which garbage is collected more often, as GOMEMLIMIT does; if GOMEMLIMIT is set, it wins; set it below the container's limit less 8KiB for each connection, which is the kernel's share; 0 is no limit"},
			{name: "log-level", bind: oneOf(&cfg.LogLevel, "info", "debug", "warn", "error"), usage: "lowest level that is logged: debug, info, warn or error; POST /log-level on the admin listener changes it while the gateway runs; debug logs connections, a few lines a second at most"},
			{name: "log-format", bind: oneOf(&cfg.LogFormat, "auto", "text", "json"), usage: "format of the log: text is for people, json for machines, auto is text on a terminal and json elsewhere"},
			{name: "print-config", bind: yes(&cfg.printConfig), once: true, usage: "print every setting with its value and where the value came from, and exit"},
		}},
	}, echoGroup(cfg)...)
}

// NewFlagSet returns a flag set with every flag of serve and demo. Parsing it sets cfg.
func NewFlagSet(cfg *Settings) *flag.FlagSet {
	fs := flag.NewFlagSet("gateway", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // main prints the error, once
	for _, group := range flagTable(cfg) {
		for _, row := range group.rows {
			row.bind(fs, row.name, row.usage)
		}
	}
	return fs
}
