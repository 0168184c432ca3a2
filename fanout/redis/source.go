package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
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
	// MaxFiles is how many descriptors a [RedisSource] holds at most: those connections and the link.
	MaxFiles = maxPublishConns + 1
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
)

// Config says which Redis to hear and how patiently. URL and Pattern are required; durations that are not
// positive take the default named beside them.
type Config struct {
	URL     string       // redis://, rediss:// or unix://, as go-redis reads it; the database number has no effect on Pub/Sub
	Pattern string       // of PSUBSCRIBE: notifications:*
	Log     *slog.Logger // nil: slog.Default()

	DialTimeout  time.Duration // to connect, TLS handshake included: 1 s, or dial_timeout in URL
	ReplyTimeout time.Duration // for one reply while a link is set up, and to PUBLISH: 1 s
	Quiet        time.Duration // silence on the link before it is pinged; five times that, and it is dead: 500 ms
	MinRetry     time.Duration // longest wait before the first new try, doubled from try to try: 50 ms
	MaxRetry     time.Duration // longest wait before any try: 1 s
}

// Stats is a snapshot of a [Source].
type Stats struct {
	Messages   uint64    // publications handed to the sink
	Bytes      uint64    // bytes of their payloads
	Unexpected uint64    // replies that are nothing a subscriber is sent; skipped
	Reconnects uint64    // losses healed: subscriptions that followed the loss of an earlier one
	Up         bool      // Redis has confirmed the subscription, and the link has shown life since
	LostAt     time.Time // since when the link is down: its loss was noticed, or Run began; zero while Up
	LastError  string    // why it is down, without the password; empty while Up
}

// Source hears publications from one Redis by pattern subscription, and publishes to it. Run belongs to one
// goroutine; Publish, Stats and String are safe to call from any goroutine.
type Source struct {
	// Fixed at creation.
	cfg     Config
	name    string           // the URL without user, password and query
	secret  string           // the password, to be kept out of texts
	link    *goredis.Options // for the subscription; each link adds its Dialer
	publish *goredis.Client  // a pool of its own: a subscribed RESP2 connection cannot PUBLISH
	addrs   *addresses
	dial    func(ctx context.Context, network, addr string) (net.Conn, error) // addrs.dial; a test's own

	// Atomic. Written by Run only.
	messages, bytes, unexpected, reconnects atomic.Uint64
	state                                   atomic.Pointer[linkState]
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
	opt, name, err := ParseURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	cfg.DialTimeout = positive(cfg.DialTimeout, opt.DialTimeout, defaultDialTimeout)
	cfg.ReplyTimeout = positive(cfg.ReplyTimeout, defaultReplyTimeout)
	cfg.Quiet = positive(cfg.Quiet, defaultQuiet)
	cfg.MinRetry = positive(cfg.MinRetry, defaultMinRetry)
	cfg.MaxRetry = max(positive(cfg.MaxRetry, defaultMaxRetry), cfg.MinRetry)

	r := &Source{cfg: cfg, name: name, secret: opt.Password}
	r.addrs = &addresses{timeout: cfg.DialTimeout, dialer: &net.Dialer{}}
	if opt.TLSConfig != nil { // which names the server, as the certificate does
		r.addrs.dialer = &tls.Dialer{Config: opt.TLSConfig}
	}
	r.dial = r.addrs.dial
	r.state.Store(&linkState{reason: errStopped.Error()})

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
	r.publish = goredis.NewClient(opt)

	link := *opt
	link.PoolSize, link.MinIdleConns = 1, 0
	link.ReadBufferSize = linkBuffer
	r.link = &link
	return r, nil
}

// String is the URL without user, password and query. Safe to call from any goroutine.
func (r *Source) String() string { return r.name }

// Stats returns a snapshot. Safe to call from any goroutine.
func (r *Source) Stats() Stats {
	st := r.state.Load()
	return Stats{
		Messages:   r.messages.Load(),
		Bytes:      r.bytes.Load(),
		Unexpected: r.unexpected.Load(),
		Reconnects: r.reconnects.Load(),
		Up:         st.up,
		LostAt:     st.lostAt,
		LastError:  st.reason,
	}
}

// Publish publishes data to channel, a full Redis channel name, and returns how many subscriptions Redis delivered it
// to. It is tried once and takes at most DialTimeout + ReplyTimeout; after an error it is unknown whether Redis has
// delivered it. Safe to call from any goroutine.
func (r *Source) Publish(ctx context.Context, channel, data string) (receivers int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.DialTimeout+r.cfg.ReplyTimeout)
	defer cancel()
	receivers, err = r.publish.Publish(ctx, channel, data).Result()
	if err != nil {
		return 0, fmt.Errorf("publish %q: %w", channel, r.scrub(err))
	}
	return receivers, nil
}

// Close closes the connections of Publish. It does not end Run, whose ctx does.
func (r *Source) Close() error {
	if err := r.publish.Close(); err != nil {
		return fmt.Errorf("close redis %s: %w", r.name, err)
	}
	return nil
}

// Run keeps one subscription alive until ctx ends, and then returns nil within a moment. A link that fails, or that
// was never there, is tried again for ever, with waits that double from MinRetry to MaxRetry, half of each random.
// If the name in URL stands for several addresses, the try after one that failed begins with another address.
// Every subscription begins with Lost, the first one too. Everything, dialling too, happens on the calling goroutine; one
// outage is one line in the log when it begins and one when it ends.
func (r *Source) Run(ctx context.Context, sink fanout.Sink) error {
	defer func() { r.state.Store(&linkState{lostAt: time.Now(), reason: errStopped.Error()}) }()
	wait := backoff{low: r.cfg.MinRetry, high: r.cfg.MaxRetry}
	out := outage{since: time.Now()}
	r.state.Store(&linkState{lostAt: out.since, reason: "connecting"})
	for {
		began := time.Now()
		out.tries++
		lk, err := r.open(ctx)
		if err == nil {
			r.healed(&out, sink)
			err = r.hear(ctx, lk, sink)
			began = time.Now()
			if ctx.Err() == nil {
				if began.Sub(lk.opened) > r.cfg.MaxRetry { // one that is cut as soon as it is up keeps its pace
					wait.reset()
				}
				out = outage{since: began, after: true}
				r.failed(&out, err)
			}
			lk.close()
		} else if ctx.Err() == nil {
			r.failed(&out, err)
		}
		// A try that nobody answered has waited already.
		if !sleep(ctx, wait.next()-time.Since(began)) {
			return nil
		}
	}
}

// outage is the time from the loss of a link, or from the start, to the next confirmed subscription.
type outage struct {
	since   time.Time
	tries   int  // including the one that succeeds
	after   bool // a link was lost; else none has been up yet
	said    bool // in the log
	refused bool // Redis answered with an error, and that is in the log
}

// failed notes that the link was lost or a try came to nothing. It logs the first reason of an outage, and the first
// refusal if another reason came before: Redis is back, and only a change of configuration will help.
func (r *Source) failed(out *outage, err error) {
	_, refused := errors.AsType[goredis.Error](err)
	err = r.scrub(err)
	r.state.Store(&linkState{lostAt: out.since, reason: err.Error()})
	switch {
	case !out.said:
		r.cfg.Log.Warn("redis link down, trying again", "redis", r.name, "reason", err)
	case refused && !out.refused:
		r.cfg.Log.Warn("redis refuses the subscription, trying again", "redis", r.name, "reason", err)
	}
	out.said = true
	out.refused = out.refused || refused
}

// healed notes that Redis has confirmed the subscription, and tells sink that something may have been missed: before
// the first one by whoever subscribed to a gateway that did not hear Redis yet.
func (r *Source) healed(out *outage, sink fanout.Sink) {
	sink.Lost()
	if out.after {
		r.reconnects.Add(1)
	}
	r.state.Store(&linkState{up: true})
	r.cfg.Log.Info("redis link up", "redis", r.name, "pattern", r.cfg.Pattern,
		"after", time.Since(out.since).Round(time.Millisecond), "tries", out.tries)
}

// hear hands on what comes over lk until the link is lost, and says why it was.
func (r *Source) hear(ctx context.Context, lk *link, sink fanout.Sink) error {
	lk.wire.idle = sink.Flush
	defer sink.Flush() // a link may end between two reads, and the next one is not there yet
	said := false
	for {
		reply, err := lk.receive(ctx, ownDeadlines)
		if err != nil && lk.lost() {
			return err
		}
		switch reply := reply.(type) {
		case *goredis.Message:
			if reply.Pattern == r.cfg.Pattern {
				r.messages.Add(1)
				r.bytes.Add(uint64(len(reply.Payload)))
				sink.Publish(reply.Channel, reply.Payload)
				continue
			}
		case *goredis.Subscription:
			if reply.Kind == "punsubscribe" {
				return errUnsubscribed
			}
		case *goredis.Pong: // its bytes have done their work
			continue
		}
		// Read to its end and not for us, whatever it is: the stream is in step.
		r.unexpected.Add(1)
		if !said {
			said = true
			if err == nil {
				err = fmt.Errorf("%T", reply)
			}
			r.cfg.Log.Warn("unexpected reply on the redis link, skipped", "redis", r.name, "reason", r.scrub(err))
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
