package redis

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/carillon-ws/carillon/fanout"
)

// Defaults of [Config]. Together they keep two promises: a dead link is noticed within 3 s
// (silentReads x defaultQuiet = 2.5 s), and a Redis that answers again is asked within 1 s (defaultMaxRetry, or the
// end of a try that nobody answered).
const (
	defaultDialTimeout  = time.Second
	defaultReplyTimeout = time.Second
	defaultQuiet        = 500 * time.Millisecond
	defaultMinRetry     = 50 * time.Millisecond
	defaultMaxRetry     = time.Second
)

const (
	// silentReads is how many reads in a row, each Quiet long and all but the last answered with a Ping, may pass
	// without a byte before the link counts as dead. Reads are counted, not time: when this process was stopped or
	// starved, one read is late, however long it took, and the next one finds what has arrived meanwhile.
	silentReads = 5
	// maxPublishConns is how many connections Publish uses at most. Who comes when all are busy waits for one.
	maxPublishConns = 32
	// linkBuffer is the link's read buffer, bytes: under load one read takes a few hundred publications.
	linkBuffer = 64 << 10
	// ownDeadlines, as the timeout of a read in go-redis, leaves the socket's deadline alone: wire sets it.
	ownDeadlines = -1
)

var (
	errSilent       = errors.New("no byte and no answer to ping")
	errOneSocket    = errors.New("a link has one socket")
	errUnsubscribed = errors.New("redis ended the subscription")
	errStopped      = errors.New("not running")
	errOutOfStep    = errors.New("redis answered what was not asked")
	errMoved        = errors.New("another redis is the one to hear now")
)

// Mode is how Redis is asked for channels.
type Mode string

// The modes.
const (
	Pattern Mode = "pattern" // all channels, by one pattern
	Dynamic Mode = "dynamic" // the channels that this gateway's clients hold
	Sharded Mode = "sharded" // the same, by sharded Pub/Sub on a Cluster
)

// Config says which Redis to hear and how patiently. URL and Pattern are required; durations that are not
// positive take the default named beside them.
type Config struct {
	URL     string       // see [ParseURL]; the database number has no effect on Pub/Sub
	TLS     TLSFiles     // certificates, for a URL with TLS
	Pattern string       // of PSUBSCRIBE: notifications:*; in other modes what stands before the * begins each channel
	Mode    Mode         // empty: Pattern
	Log     *slog.Logger // nil: slog.Default()

	// Interest is what the gateway's clients hold; required unless Mode is Pattern.
	Interest *fanout.Interest
	// Gateway is a name that no other gateway of this Redis has: it ends the name of the canary's channel. Empty: no
	// canary is published.
	Gateway string

	DialTimeout  time.Duration // to connect, TLS handshake included: 1 s, or dial_timeout in URL
	ReplyTimeout time.Duration // for one reply while a link is set up, and to PUBLISH: 1 s
	Quiet        time.Duration // silence on the link before it is pinged; five times that, and it is dead: 500 ms
	MinRetry     time.Duration // longest wait before the first new try, doubled from try to try: 50 ms
	MaxRetry     time.Duration // longest wait before any try: 1 s
	Grace        time.Duration // how long a channel without subscribers is heard: 5 s
	CanaryEvery  time.Duration // from canary to canary: 1 s
}

// Stats is a snapshot of a [Source].
type Stats struct {
	Messages   uint64    // publications handed to the sink
	Bytes      uint64    // bytes of their payloads
	Unexpected uint64    // replies that are nothing a subscriber is sent; skipped
	Reconnects uint64    // losses healed: subscriptions that followed the loss of an earlier one
	Up         bool      // Redis has confirmed every subscription, and each link has shown life since
	LostAt     time.Time // since when the link is down, or the first of several: its loss was noticed, or Run began; zero while Up
	LastError  string    // why it is down, without the password; empty while Up

	// Zero in mode Pattern.
	Channels     int    // channels that Redis has confirmed
	Waiting      int    // channels whose confirmation is outstanding
	Resubscribed uint64 // channels that were confirmed again after a link was lost
	Refused      uint64 // answers of Redis that a channel is not allowed, or not now
	Moved        uint64 // channels that moved to another node of the Cluster
}

// LinkStats is a snapshot of one link.
type LinkStats struct {
	Name       string // of the link, whichever address it has: the master's in mode Sharded, else that of the URL
	Node       string // address that was asked for; empty: that of the URL
	Up         bool
	LostAt     time.Time
	LastError  string
	Reconnects uint64
	Messages   uint64
	CanaryAge  time.Duration // since a canary was last heard, on this link or one before it; negative: there is none
	Canaries   uint64        // number of the last canary that was heard on this link

	Channels, Waiting            int
	Resubscribed, Refused, Moved uint64
}

// Source hears publications from one Redis, and publishes to it. Run belongs to one goroutine; the other methods are
// safe to call from any goroutine.
type Source struct {
	// Fixed at creation.
	cfg     Config
	place   *Place
	name    string           // the URL without user, password and query
	link    *goredis.Options // for the subscription; each link adds its Dialer
	pool    *goredis.Options // for publishing
	addrs   *addresses
	dial    func(ctx context.Context, network, addr string) (net.Conn, error) // addrs.dial; a test's own
	changed chan struct{}                                                     // the interest has; capacity 1; nil in mode Pattern
	masters *sentinels                                                        // nil without Sentinel
	cluster *cluster                                                          // nil without a Cluster
	wg      sync.WaitGroup                                                    // what may be publishing when Run has returned

	// Atomic.
	bytes, unexpected atomic.Uint64
	began             atomic.Pointer[time.Time]      // when Run did; nil: it has not
	publish           atomic.Pointer[goredis.Client] // a pool of its own: a subscribed RESP2 connection cannot PUBLISH; nil on a Cluster

	// Guarded by mu.
	mu      sync.Mutex
	keepers []*keeper
	past    Stats // of keepers that are gone
}

// linkState is what Stats tells of the link, swapped as a whole.
type linkState struct {
	up     bool
	lostAt time.Time
	reason string
}

// NewSource reads cfg. It does not connect: a Redis that is absent is Run's to wait for. Errors name the URL
// without its password.
func NewSource(cfg Config) (*Source, error) {
	if cfg.Pattern == "" {
		return nil, errors.New("redis source: no pattern")
	}
	place, err := ParseURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	if err := place.UseTLS(cfg.TLS); err != nil {
		return nil, err
	}
	if cfg.Mode == "" {
		cfg.Mode = Pattern
	}
	switch {
	case cfg.Mode != Pattern && cfg.Mode != Dynamic && cfg.Mode != Sharded:
		return nil, fmt.Errorf("redis source: mode %q is unknown: want pattern, dynamic or sharded", cfg.Mode)
	case cfg.Mode == Sharded && place.Kind != Cluster:
		return nil, fmt.Errorf("redis URL %s: sharded interest needs a Cluster: want redis+cluster:// or rediss+cluster://", place.Name)
	case cfg.Mode != Pattern && !strings.HasSuffix(cfg.Pattern, "*"):
		return nil, errors.New("redis source: the pattern must be a prefix and *")
	case cfg.Mode != Pattern && cfg.Interest == nil:
		return nil, errors.New("redis source: no interest to follow")
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	opt := place.Options
	cfg.DialTimeout = positive(cfg.DialTimeout, opt.DialTimeout, defaultDialTimeout)
	cfg.ReplyTimeout = positive(cfg.ReplyTimeout, defaultReplyTimeout)
	cfg.Quiet = positive(cfg.Quiet, defaultQuiet)
	cfg.MinRetry = positive(cfg.MinRetry, defaultMinRetry)
	cfg.MaxRetry = max(positive(cfg.MaxRetry, defaultMaxRetry), cfg.MinRetry)
	cfg.Grace = positive(cfg.Grace, defaultGrace)
	cfg.CanaryEvery = positive(cfg.CanaryEvery, defaultCanaryEvery)

	r := &Source{cfg: cfg, place: place, name: place.Name}
	r.addrs = &addresses{timeout: cfg.DialTimeout, dialer: &net.Dialer{}}
	if opt.TLSConfig != nil { // which names the server, as the certificate does
		r.addrs.dialer = &tlsDialer{place}
	}
	r.dial = r.addrs.dial

	opt.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) { return r.dial(ctx, network, addr) }
	opt.DialTimeout = cfg.DialTimeout
	opt.ReadTimeout, opt.WriteTimeout = cfg.ReplyTimeout, cfg.ReplyTimeout
	// RESP2: half the parsing of RESP3's push frames, and nothing that go-redis might take for a notification of its own.
	opt.Protocol = 2
	opt.DB = 0
	opt.MaxRetries = -1 // a PUBLISH that is repeated because its reply was lost would be delivered twice
	opt.DialerRetries = 1
	opt.DisableIdentity = true // one round trip and one permission less
	opt.ContextTimeoutEnabled = true
	opt.PipelinePoolSize = -1
	opt.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	// The default follows GOMAXPROCS, and descriptors are counted beforehand. pool_size in URL may ask for fewer.
	if opt.PoolSize <= 0 || opt.PoolSize > maxPublishConns {
		opt.PoolSize = maxPublishConns
	}
	opt.MinIdleConns = min(opt.MinIdleConns, opt.PoolSize)
	r.pool = opt
	switch place.Kind {
	case Sentinel:
		r.masters = newSentinels(r)
	case Cluster:
		r.cluster = newCluster(r)
	case Single:
	}
	if r.cluster == nil {
		r.publish.Store(r.newPublisher())
	}

	if cfg.Mode != Pattern {
		r.follow()
	}
	link := *opt
	link.PoolSize, link.MinIdleConns = 1, 0
	link.ReadBufferSize = linkBuffer
	r.link = &link
	return r, nil
}

// newClient returns a client of the one server at addr, with few connections.
func (r *Source) newClient(addr string) *goredis.Client {
	opt := *r.pool
	opt.Addr, opt.PoolSize = addr, 2
	return goredis.NewClient(&opt)
}

// newPublisher returns a client of the server to publish to: with Sentinel the master, whoever that is when a connection
// is made.
func (r *Source) newPublisher() *goredis.Client {
	opt := *r.pool
	if r.masters != nil {
		opt.Addr = r.place.master
		opt.Dialer = func(ctx context.Context, network, _ string) (net.Conn, error) {
			addr, err := r.masters.master(ctx)
			if err != nil {
				return nil, err
			}
			return r.dial(ctx, network, addr)
		}
	}
	return goredis.NewClient(&opt)
}

// tlsDialer dials servers that are known by several addresses.
type tlsDialer struct{ place *Place }

func (d *tlsDialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	config := d.place.Options.TLSConfig.Clone()
	config.ServerName = d.place.serverName(addr)
	return (&tls.Dialer{Config: config}).DialContext(ctx, network, addr)
}

// MaxFiles returns how many descriptors a [Source] of this URL holds at most. Files that are counted beforehand are those
// of a Cluster of up to maxNodes nodes; a larger one takes from what connections may have.
func MaxFiles(rawURL string) int {
	const (
		one         = maxPublishConns + 1 // and the link
		maxSentinel = 16
		maxNodes    = 32
		ofNode      = clusterPoolSize + 1 + 2 // to publish, the link, and a client that asks the node something
	)
	place, err := ParseURL(rawURL)
	switch {
	case err != nil: // it is refused elsewhere
		return one
	case place.Kind == Sentinel:
		return one + maxPublishConns + maxSentinel // after a failover, publications are under way to the old master
	case place.Kind == Cluster:
		return maxNodes * ofNode
	default:
		return one
	}
}

// String is the URL without user, password and query. Safe to call from any goroutine.
func (r *Source) String() string { return r.name }

// Kind is how the Redis is run.
func (r *Source) Kind() Kind { return r.place.Kind }

// Client returns a client of the server that the link, or the first of the links, would be opened to now. For whoever
// examines that server; close it.
func (r *Source) Client(ctx context.Context) (*goredis.Client, error) {
	addr := r.place.Options.Addr
	var err error
	switch {
	case r.masters != nil:
		addr, err = r.masters.master(ctx)
		r.masters.close()
	case r.cluster != nil:
		var t *topology
		if t, err = r.cluster.look(ctx, ""); err == nil {
			addr = t.masters[0]
		}
	}
	if err != nil {
		return nil, r.place.scrub(err)
	}
	return r.newClient(addr), nil
}

// Check asks a Cluster, once, whether it can do what the configuration needs. Its errors are one sentence. Another Redis is
// not asked, and one that does not answer is Run's to wait for.
func (r *Source) Check(ctx context.Context) error {
	if r.cluster == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.DialTimeout+r.cfg.ReplyTimeout)
	defer cancel()
	t, err := r.cluster.look(ctx, "")
	switch {
	case err != nil && strings.Contains(err.Error(), "cluster support disabled"):
		return fmt.Errorf("redis URL %s: that Redis is no Cluster: want redis:// or redis+sentinel://", r.name)
	case err != nil || r.cfg.Mode != Sharded:
		return nil
	}
	client := r.newClient(t.masters[0])
	defer client.Close() //nolint:errcheck // the one command was answered, or its error says nothing
	known, err := client.Do(ctx, "command", "info", "ssubscribe").Slice()
	if err == nil && len(known) == 1 && known[0] == nil {
		return fmt.Errorf("redis URL %s: sharded interest needs Redis 7: %s does not know SSUBSCRIBE", r.name, t.masters[0])
	}
	return nil
}

// Mode is how Redis is asked for channels.
func (r *Source) Mode() Mode { return r.cfg.Mode }

// Stats returns a snapshot. Safe to call from any goroutine.
func (r *Source) Stats() Stats {
	r.mu.Lock()
	keepers, out := r.keepers, r.past
	r.mu.Unlock()
	out.Bytes, out.Unexpected = r.bytes.Load(), r.unexpected.Load()
	out.Up, out.LastError = len(keepers) > 0, ""
	if len(keepers) == 0 {
		out.LastError = errStopped.Error()
		if began := r.began.Load(); began != nil {
			out.LostAt = *began
		}
		if r.cluster != nil {
			out.LastError = cmp.Or(r.cluster.problem(), out.LastError)
		}
	}
	for _, k := range keepers {
		st := k.stats()
		out.Messages += st.Messages
		out.Reconnects += st.Reconnects
		out.Channels += st.Channels
		out.Waiting += st.Waiting
		out.Resubscribed += st.Resubscribed
		out.Refused += st.Refused
		out.Moved += st.Moved
		if !st.Up && (out.Up || st.LostAt.Before(out.LostAt)) {
			out.Up, out.LostAt, out.LastError = false, st.LostAt, st.LastError
		}
	}
	return out
}

// Links returns a snapshot of each link: one, or one for each master in mode Sharded.
func (r *Source) Links() []LinkStats {
	r.mu.Lock()
	keepers := r.keepers
	r.mu.Unlock()
	out := make([]LinkStats, len(keepers))
	for i, k := range keepers {
		out[i] = k.stats()
	}
	return out
}

// Publish publishes data to channel, a full Redis channel name, and returns how many subscriptions Redis delivered it
// to (on a Cluster: those at one node). It is tried once and takes at most DialTimeout + ReplyTimeout; after an error it
// is unknown whether Redis has delivered it. In mode Sharded it is SPUBLISH: a plain PUBLISH is not heard there. Safe to
// call from any goroutine.
func (r *Source) Publish(ctx context.Context, channel, data string) (receivers int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.DialTimeout+r.cfg.ReplyTimeout)
	defer cancel()
	receivers, err = r.publishTo(ctx, channel, data)
	if err != nil {
		return 0, fmt.Errorf("publish %q: %w", channel, r.place.scrub(err))
	}
	return receivers, nil
}

func (r *Source) publishTo(ctx context.Context, channel, data string) (receivers int64, err error) {
	if r.cluster != nil {
		return r.cluster.publish(ctx, channel, data)
	}
	return r.publish.Load().Publish(ctx, channel, data).Result()
}

// Close closes the connections of Publish. Call it when Run has returned.
func (r *Source) Close() error {
	var err error
	if r.cluster != nil {
		err = r.cluster.client.Close()
	} else {
		err = r.publish.Load().Close()
	}
	if r.masters != nil {
		r.masters.close()
	}
	r.wg.Wait()
	if err != nil {
		return fmt.Errorf("close redis %s: %w", r.name, err)
	}
	return nil
}

// Run keeps the links alive until ctx ends, and then returns nil within a moment. A link that fails, or that
// was never there, is tried again for ever, with waits that double from MinRetry to MaxRetry, half of each random.
// If the name in URL stands for several addresses, the try after one that failed begins with another address.
// Every subscription begins with Lost, the first one too; a link that carries channels by name says so when Redis has
// confirmed all of them. One outage is one line in the log when it begins and one when it ends.
//
// A pattern's link runs on the calling goroutine. With names, one goroutine writes for each link; with a canary, one
// publishes it.
func (r *Source) Run(ctx context.Context, sink fanout.Sink) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	now := time.Now()
	r.began.Store(&now)
	if r.cfg.Mode == Sharded {
		newRouter(r, sink).run(ctx)
		return nil
	}
	k := r.newKeeper("", r.where())
	r.setKeepers([]*keeper{k})
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer cancel()
	if r.masters != nil {
		helpers.Go(func() { r.masters.watch(ctx, k) })
	}
	if r.cluster != nil {
		fork := sink.Fork()
		helpers.Go(func() { r.cluster.watch(ctx, k, fork) })
	}
	if k.names != nil {
		helpers.Go(func() { r.feed(ctx, k.names) })
	}
	k.run(ctx, sink)
	return nil
}

// where tells the one link what to dial.
func (r *Source) where() func(context.Context) (string, error) {
	switch {
	case r.masters != nil:
		return r.masters.master
	case r.cluster != nil:
		return r.cluster.pick
	default:
		return func(context.Context) (string, error) { return "", nil }
	}
}

func (r *Source) setKeepers(keepers []*keeper) {
	r.mu.Lock()
	r.keepers = keepers
	r.mu.Unlock()
}

// retire keeps the counts of a keeper that has ended.
func (r *Source) retire(k *keeper) {
	st := k.stats()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.past.Messages += st.Messages
	r.past.Reconnects += st.Reconnects
	r.past.Resubscribed += st.Resubscribed
	r.past.Refused += st.Refused
	r.past.Moved += st.Moved
}

// follow keeps the interest's changes from now on: no loop has added anything yet.
func (r *Source) follow() {
	r.changed = make(chan struct{}, 1)
	r.cfg.Interest.Follow(func() {
		select {
		case r.changed <- struct{}{}:
		default:
		}
	})
}

// full puts the prefix before names of the interest. It changes the list.
func (r *Source) full(names []string) []string {
	prefix := strings.TrimSuffix(r.cfg.Pattern, "*")
	for i := range names {
		names[i] = prefix + names[i]
	}
	return names
}

// feed hands the one link's names what changes in the interest, until ctx ends.
func (r *Source) feed(ctx context.Context, n *names) {
	n.consider(r.full(r.cfg.Interest.Names(nil)), 0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.changed:
			n.consider(r.full(r.cfg.Interest.TakeChanged(nil)), 0)
		}
	}
}

// backoff gives the waits between tries: doubling from low to high, each between half of that and all of it, so that
// gateways which lost the same Redis do not come back as one.
type backoff struct{ low, high, last time.Duration }

func (b *backoff) next() time.Duration {
	b.last = min(max(2*b.last, b.low), b.high)
	return b.last - rand.N(b.last/2+1)
}

func (b *backoff) reset() { b.last = 0 }

// sleep waits for d and says whether ctx is still alive then.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// positive returns the first of ds that is.
func positive(ds ...time.Duration) time.Duration {
	for _, d := range ds {
		if d > 0 {
			return d
		}
	}
	return 0
}
