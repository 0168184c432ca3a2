package settings

import (
	"errors"
	"net"
	"strings"
	"time"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/gateway/server"
	"github.com/carillon-ws/carillon/protocol/http1"
)

// check returns an error for settings that contradict each other, and sets what follows from them.
func (cfg *Settings) check(command string) error {
	host, _, err := net.SplitHostPort(cfg.Addr)
	if err != nil {
		return Usagef("-addr %q is not host:port", cfg.Addr)
	}
	loopback := http1.IsLoopbackHost(host)
	switch {
	case command == "demo" && !loopback:
		return Usagef("demo listens on loopback only, not on %q", cfg.Addr)
	case !loopback && !cfg.Insecure && !cfg.Authenticates():
		return Usagef("-addr %s is reachable from other machines, and clients need no token: give a key (-jwt-secret, -jwt-public-key or -jwt-jwks), add -insecure if anyone may hear any channel, or listen on 127.0.0.1", cfg.Addr)
	case !loopback && cfg.Redis == "":
		return Usagef("-addr %s needs -redis: the embedded Redis is for trying out on loopback", cfg.Addr)
	case command == "demo" && cfg.Redis != "":
		return Usagef("demo has a Redis of its own: use serve with -redis")
	}
	if _, _, err := net.SplitHostPort(cfg.Admin); err != nil {
		return Usagef("-admin %q is not host:port", cfg.Admin)
	}
	if err := cfg.checkSecrets(); err != nil {
		return err
	}
	if err := cfg.CheckLoops(); err != nil {
		return err
	}
	if cfg.GCPercent < 10 {
		return Usagef("-gc-percent %d: at least 10 is needed, or the garbage collector runs all the time", cfg.GCPercent)
	}
	if err := cfg.checkIdentity(); err != nil {
		return err
	}
	if cfg.Server.ProxyProtocol && len(cfg.Server.TrustedProxies) == 0 {
		return Usagef("-proxy-protocol needs -trusted-proxy: the addresses of the proxies that send the header")
	}
	if err := cfg.checkNumbers(); err != nil {
		return err
	}
	cfg.Server.Addr = cfg.Addr
	cfg.Server.Upgrade = http1.Config{
		AllowOrigins: cfg.Origins, Loopback: loopback, Deflate: cfg.Compress,
		LoopbackHost: loopback && !cfg.Authenticates() && len(cfg.Server.TrustedProxies) == 0,
	}
	return nil
}

// CheckLoops returns an error for a number of loops that the server cannot have.
func (cfg *Settings) CheckLoops() error {
	if n := cfg.Server.Loops; n < 0 || n > fanout.MaxLoops {
		return Usagef("-loops %d: between 1 and %d are possible; 0 means one for each CPU", n, fanout.MaxLoops)
	}
	return nil
}

// checkSecrets refuses a key or a token that is given and empty, as by -admin-token "$TOKEN" when the variable is not set:
// the gateway would run without protection. A line end after the token, which files have, is taken off.
func (cfg *Settings) checkSecrets() error {
	for _, name := range []string{"jwt-secret", "jwt-public-key", "jwt-jwks", "admin-token"} {
		if from := cfg.origin[name]; from != "" && strings.TrimSpace(cfg.flags.Lookup(name).Value.String()) == "" {
			return Usagef("-%s is given (%s) and empty: give a value, or leave it out", name, from)
		}
	}
	cfg.AdminToken = strings.TrimSpace(cfg.AdminToken)
	return nil
}

// named is a value with the name of its flag. Checks walk over lists and not over maps, so that with several wrong
// settings the error is the same each time.
type named[T any] struct {
	flag  string
	value T
}

// checkNumbers returns an error for numbers that have no meaning, or that the server cannot keep to.
func (cfg *Settings) checkNumbers() error {
	s := &cfg.Server
	for _, count := range []named[int]{
		{"max-connections", s.MaxConnections},
		{"max-connections-per-address", s.MaxPerAddress},
		{"max-accepts", s.MaxAccepts},
		{"max-message-rate", s.MessageRate},
	} {
		if count.value < 0 {
			return Usagef("-%s %d is negative", count.flag, count.value)
		}
	}
	if s.MaxFragments < 1 {
		return Usagef("-max-fragments %d: at least 1 is needed", s.MaxFragments)
	}
	if n := s.MaxChannels; n < 1 || n > server.MostChannels {
		return Usagef("-max-channels %d: between 1 and %d are possible", n, server.MostChannels)
	}
	if n := s.MessageBurst; n < 0 || n > server.MostBurst {
		return Usagef("-max-message-burst %d: between 1 and %d are possible, 0 chooses", n, server.MostBurst)
	}
	for _, span := range []named[time.Duration]{
		{"ping-interval", s.PingInterval}, {"heartbeat", s.Heartbeat}, {"drain-delay", s.DrainDelay}, {"drain", s.Drain},
	} {
		if span.value < 0 {
			return Usagef("-%s %s is negative", span.flag, span.value)
		}
	}
	for _, limit := range []named[time.Duration]{
		{"message-timeout", s.MessageTimeout}, {"handshake-timeout", s.HandshakeTimeout}, {"max-backlog-age", s.MaxBacklogAge},
	} {
		if limit.value <= 0 {
			return Usagef("-%s %s: a time above 0 is needed, or one client could hold its place for ever", limit.flag, limit.value)
		}
	}
	burst := s.MessageBurst
	if burst == 0 {
		burst = server.DefaultBurst(s.MessageRate, s.MaxChannels)
	}
	switch {
	case s.MaxInboundTotal < server.LeastInboundTotal(s.MaxMessage):
		return Usagef("-max-inbound-total %s is too small: one message of -max-message %s may need twice its size", size{n: &s.MaxInboundTotal}, size{n: &s.MaxMessage})
	case burst < s.MessageRate:
		return Usagef("-max-message-burst %d is less than -max-message-rate %d: the messages of one second may come at once", burst, s.MessageRate)
	case s.MessageRate > 0 && burst < s.MaxChannels:
		return Usagef("-max-message-burst %d is less than -max-channels %d: a client that reconnects subscribes to all its channels at once, and would be refused", burst, s.MaxChannels)
	case s.Heartbeat > 0 && s.Heartbeat < server.MinHeartbeat:
		return Usagef("-heartbeat %s: at least %s is needed, or 0 for none", s.Heartbeat, server.MinHeartbeat)
	}
	return nil
}

// checkedOrigin returns an origin in the form that browsers send: in lower case, and without the scheme's own port.
func checkedOrigin(v string) (string, error) {
	if v == "*" {
		return v, nil
	}
	v = strings.ToLower(v)
	scheme, host, ok := strings.Cut(v, "://")
	if !ok || scheme == "" || host == "" || strings.ContainsAny(host, "/?#@ *") {
		return "", errors.New("an origin is scheme://host[:port], without a path or a wildcard; * alone means any origin")
	}
	switch scheme {
	case "https":
		v = strings.TrimSuffix(v, ":443")
	case "http":
		v = strings.TrimSuffix(v, ":80")
	}
	return v, nil
}
