package redis

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"

	goredis "github.com/redis/go-redis/v9"
)

// Kind is how a Redis is run.
type Kind string

// The kinds, as the schemes of URLs tell them.
const (
	Single   Kind = "single"   // redis://, rediss://, unix://
	Sentinel Kind = "sentinel" // redis+sentinel://, rediss+sentinel://
	Cluster  Kind = "cluster"  // redis+cluster://, rediss+cluster://
)

// Place is a Redis that a URL names: how it is run, where, and how one logs in.
type Place struct {
	Kind    Kind
	Name    string           // the URL without user, password and query, for logs
	Options *goredis.Options // of a connection to a server; Addr is empty where it has to be asked for
	Addrs   []string         // of Sentinels, or of nodes of a Cluster to begin with

	master       string // the name by which Sentinels know the master
	sentinelUser string
	sentinelPass string
	tlsHost      string // the host in the URL: what the certificate of a server is for that is known by a number
}

// scrub takes the passwords out of an error's text: servers that do not know AUTH or HELLO send back its arguments.
func (p *Place) scrub(err error) error {
	text := err.Error()
	for _, secret := range []string{p.Options.Password, p.sentinelPass} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	if text == err.Error() {
		return err
	}
	return errors.New(text)
}

// ParseURL returns the place that raw stands for. Its errors say no more of raw than its name: url.Parse and go-redis
// quote what they choke on, which is a piece of the password when it contains a character that should have been
// percent-encoded. From then on go-redis's own lines are at level debug, in the log of the process.
//
// With Sentinel the user and password in the URL are for the Sentinels; those for the master are the parameters username
// and password: redis+sentinel://:S@host:26379?master_name=main&username=U&password=P&addr=host2:26379.
func ParseURL(raw string) (*Place, error) {
	quietGoRedis()
	if raw == "" {
		return nil, errors.New("redis URL: empty")
	}
	u, err := url.Parse(raw)
	// An @ in the query of an URL with several servers may be the master's password.
	hidden := strings.Contains(raw, "@")
	if hidden && (err != nil || u.User == nil || strings.Contains(u.Path+u.RawQuery+u.Fragment, "@")) && !queryHoldsAt(u) {
		return nil, fmt.Errorf("redis URL %s: unreadable; special characters in a password, like / ? # %%, must be percent-encoded", redactUnparsed(raw))
	}
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok { // without the URL in it
			err = ue.Err
		}
		return nil, fmt.Errorf("redis URL %s: %w; want redis://host:port", redactUnparsed(raw), err)
	}
	user := ""
	if u.User != nil {
		user = "***@"
	}
	p := &Place{Kind: Single, Name: u.Scheme + "://" + user + u.Host + u.Path, tlsHost: u.Hostname()}
	scheme, kind, several := strings.Cut(u.Scheme, "+")
	switch {
	case !several:
		p.Options, err = goredis.ParseURL(raw)
	case kind == "sentinel" && (scheme == "redis" || scheme == "rediss"):
		p.Kind, u.Scheme = Sentinel, scheme
		err = p.parseSentinel(u.String())
	case kind == "cluster" && (scheme == "redis" || scheme == "rediss"):
		p.Kind, u.Scheme = Cluster, scheme
		err = p.parseCluster(u.String())
	default:
		err = errors.New("unknown scheme " + u.Scheme)
	}
	if err != nil {
		return nil, fmt.Errorf("redis URL %s: %w; want redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://", p.Name, err)
	}
	return p, nil
}

// queryHoldsAt reports whether u is one of the URLs whose query may hold a password, and reads well with an @ in it.
func queryHoldsAt(u *url.URL) bool {
	if u == nil || !strings.Contains(u.Scheme, "+") || strings.Contains(u.Path+u.Fragment, "@") {
		return false
	}
	values, err := url.ParseQuery(u.RawQuery)
	return err == nil && strings.Contains(values.Get("password"), "@")
}

func (p *Place) parseSentinel(raw string) error {
	o, err := goredis.ParseFailoverURL(raw)
	switch {
	case err != nil:
		return err
	case o.MasterName == "":
		return errors.New("the parameter master_name is missing: the name by which Sentinels know the master")
	case o.ReplicaOnly || o.RouteByLatency || o.RouteRandomly:
		return errors.New("replica_only, route_by_latency and route_randomly are not possible: the master is heard and published to")
	}
	p.Addrs, p.master = o.SentinelAddrs, o.MasterName
	p.sentinelUser, p.sentinelPass = o.SentinelUsername, o.SentinelPassword
	p.Options = &goredis.Options{
		Username: o.Username, Password: o.Password, DB: o.DB, TLSConfig: o.TLSConfig, ClientName: o.ClientName,
		DialTimeout: o.DialTimeout, PoolSize: o.PoolSize,
	}
	p.Name += " (master " + o.MasterName + ")"
	return nil
}

func (p *Place) parseCluster(raw string) error {
	o, err := goredis.ParseClusterURL(raw)
	if err != nil {
		return err
	}
	p.Addrs = o.Addrs
	p.Options = &goredis.Options{
		Username: o.Username, Password: o.Password, TLSConfig: o.TLSConfig, ClientName: o.ClientName,
		DialTimeout: o.DialTimeout,
	}
	return nil
}

// TLSFiles are PEM files for connections by TLS.
type TLSFiles struct {
	CA   string // of the authorities that are trusted, instead of the system's
	Cert string // of the certificate to show; needs Key
	Key  string
}

// UseTLS reads the files into the options of the place. Errors are one sentence.
func (p *Place) UseTLS(files TLSFiles) error {
	switch {
	case files == TLSFiles{}:
		return nil
	case p.Options.TLSConfig == nil:
		return fmt.Errorf("redis URL %s: certificates are given, and the connection is not by TLS: want rediss:// or rediss+…://", p.Name)
	case (files.Cert == "") != (files.Key == ""):
		return errors.New("redis: a certificate needs its key, and a key its certificate")
	}
	config := p.Options.TLSConfig.Clone()
	if files.CA != "" {
		pem, err := os.ReadFile(files.CA)
		if err != nil {
			return fmt.Errorf("redis CA: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("redis CA: no certificate in %s", files.CA)
		}
	}
	if files.Cert != "" {
		cert, err := tls.LoadX509KeyPair(files.Cert, files.Key)
		if err != nil {
			return fmt.Errorf("redis certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{cert}
	}
	p.Options.TLSConfig = config
	return nil
}

// serverName is the name that the certificate of the server at addr must have: its own, or, where a Sentinel or a node
// tells a number, the name in the URL.
func (p *Place) serverName(addr string) string {
	if p.Kind == Single {
		return p.Options.TLSConfig.ServerName
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return p.tlsHost
	}
	if net.ParseIP(host) != nil && net.ParseIP(p.tlsHost) == nil {
		return p.tlsHost
	}
	return host
}

// redactUnparsed is raw without what stands before the last @ (but for a scheme) and after the first ? behind it.
func redactUnparsed(raw string) string {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		scheme, rest = "", raw
	} else {
		scheme += "://"
	}
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		rest = "***" + rest[i:]
	}
	rest, _, _ = strings.Cut(rest, "?")
	return scheme + rest
}

// goRedisLog takes go-redis's own lines, which it would print to stderr, one per failed dial. They are for whoever
// debugs; what an operator must know Run says itself.
type goRedisLog struct{}

func (goRedisLog) Printf(ctx context.Context, format string, v ...any) {
	if log := slog.Default(); log.Enabled(ctx, slog.LevelDebug) {
		log.DebugContext(ctx, "go-redis", "line", fmt.Sprintf(format, v...))
	}
}

// quietGoRedis sets go-redis's logger, of which a process has one.
var quietGoRedis = sync.OnceFunc(func() { goredis.SetLogger(goRedisLog{}) })
