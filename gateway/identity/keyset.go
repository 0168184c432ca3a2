package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/MicahParks/keyfunc/v3"

	"github.com/carillon-ws/carillon/protocol/http1"
)

const (
	defaultRefresh = 15 * time.Minute
	fetchTimeout   = 10 * time.Second
	minRefreshGap  = 10 * time.Second // between two fetches, however many unknown keys are named: an attacker can name any
	minRetry       = time.Second      // after a failure, doubled up to maxRetry
	maxRetry       = time.Minute
	maxSetBytes    = 1 << 20
)

// Stats are the counters of a Verifier's key set.
type Stats struct {
	Keys        int       // keys in use
	Refreshed   time.Time // when they were fetched; zero: never
	Refreshes   uint64    // fetches that succeeded
	Failures    uint64    // fetches that failed; the old set stayed in use
	UnknownKeys uint64    // tokens that named a key that is not in the set
}

// keySet is a JWKS (RFC 7517 section 5) that is fetched again and again. The library keyfunc parses its keys. The library's
// own client is not used, because its look-ups wait for the network when a key is unknown.
type keySet struct {
	// Fixed at creation.
	url    string
	client *http.Client
	every  time.Duration
	gap    time.Duration // minRefreshGap, or less in tests
	log    *slog.Logger
	ask    chan struct{} // a signal: a token named an unknown key since the last fetch began

	// Atomic.
	current   atomic.Pointer[keys] // nil: never fetched
	refreshes atomic.Uint64
	failures  atomic.Uint64
	unknown   atomic.Uint64
}

// keys is one set. It is never changed after it is made.
type keys struct {
	named   map[keyName]*publicKey
	lone    map[string]*publicKey // by algorithm: the only key, for tokens without kid; nil if there are several
	count   int
	fetched time.Time
}

// keyName has the algorithm, because keys of different kinds may share a kid (RFC 7517 section 4.5).
type keyName struct{ alg, kid string }

func newKeySet(cfg *Config) (*keySet, error) {
	at, err := url.Parse(cfg.JWKSURL)
	switch {
	case err != nil: // err is left out: it has the URL, and any part of that may be a password
		return nil, errors.New("key set: its URL cannot be read; special characters in a password, like / ? # %, must be percent-encoded")
	case at.Host == "": // the same holds for a URL without a host
		return nil, errors.New("key set: not an https URL, which is like https://issuer.example/jwks.json")
	case at.Scheme != "https" && at.Scheme != "http":
		return nil, fmt.Errorf("key set: %s is not an https URL", withoutSecrets(at))
	case !cfg.InsecureJWKS && !trusted(at):
		return nil, fmt.Errorf("key set: %s is plain http: whoever can change it on its way can make valid tokens; use https", withoutSecrets(at))
	}
	s := &keySet{url: cfg.JWKSURL, every: cfg.JWKSRefresh, gap: minRefreshGap, log: cfg.Log, ask: make(chan struct{}, 1)}
	if s.every == 0 {
		s.every = defaultRefresh
	}
	if s.every < minRefreshGap {
		return nil, fmt.Errorf("key set: a refresh every %v: at least %v are needed", s.every, minRefreshGap)
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	client := http.Client{}
	if cfg.Client != nil {
		client = *cfg.Client
	}
	if client.Timeout == 0 {
		client.Timeout = fetchTimeout
	}
	client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		switch {
		case len(via) >= 5:
			return errors.New("over 5 redirects")
		case !cfg.InsecureJWKS && !trusted(req.URL):
			return errors.New("redirect to plain http")
		}
		return nil
	}
	s.client = &client
	return s, nil
}

// withoutSecrets returns a URL for messages and logs: without user, password and query, which may have an API key.
func withoutSecrets(at *url.URL) string {
	shown := url.URL{Scheme: at.Scheme, Host: at.Host, Path: at.Path}
	return shown.String()
}

// trusted reports whether nobody on the way can change the answer of a URL.
func trusted(at *url.URL) bool {
	return at.Scheme == "https" || http1.IsLoopbackHost(at.Hostname())
}

// find returns the key of a token from memory. If there is none, it has run fetch a new set. If the present set has just
// been fetched, the issuer has retired the key.
func (s *keySet) find(alg, kid string, named bool) (any, error) {
	missing := ErrUnknownKey
	if set := s.current.Load(); set != nil {
		if time.Since(set.fetched) < s.gap {
			missing = errRetired
		}
		key, there := set.named[keyName{alg, kid}]
		if !named {
			key, there = set.lone[alg]
		}
		switch {
		case key != nil:
			return key.key, nil
		case there:
			return nil, errNoKeyID
		}
	}
	s.unknown.Add(1)
	select {
	case s.ask <- struct{}{}:
	default: // already asked
	}
	return nil, missing
}

// run fetches the set at once, then every s.every, and when a token named an unknown key, but never twice within s.gap.
// After a failure it tries again, each time after a longer delay.
func (s *keySet) run(ctx context.Context) error {
	for failed := 0; ; {
		select {
		case <-s.ask: // the next fetch is for it
		default:
		}
		err := s.refresh(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			failed = 0
			if !rest(ctx, s.gap, nil) || !rest(ctx, jitter(s.every-s.gap), s.ask) {
				return nil
			}
			continue
		}
		wait := jitter(min(minRetry<<min(failed, 10), maxRetry))
		failed++
		s.log.Warn("token keys cannot be fetched; the known keys stay in use", "error", err, "retry", wait)
		if !rest(ctx, wait, nil) {
			return nil
		}
	}
}

// rest waits, but not longer than until ask, and reports whether ctx goes on.
func rest(ctx context.Context, wait time.Duration, ask <-chan struct{}) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ask:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// jitter returns 3/4 to 5/4 of d, so that many gateways do not fetch at the same time.
func jitter(d time.Duration) time.Duration { return d*3/4 + rand.N(d/2+1) }

// refresh fetches the set once. Must not run on the loop: it may block.
func (s *keySet) refresh(ctx context.Context) error {
	set, skipped, err := s.fetch(ctx)
	if err != nil {
		s.failures.Add(1)
		return err
	}
	s.current.Store(set)
	s.refreshes.Add(1)
	s.log.Debug("token keys refreshed", "keys", set.count, "skipped", skipped)
	return nil
}

func (s *keySet) fetch(ctx context.Context) (set *keys, skipped int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, http.NoBody)
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	res, err := s.client.Do(req)
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok { // its text has the URL with its query
			err = ue.Err
		}
		return nil, 0, fmt.Errorf("key set %s: %w", withoutSecrets(req.URL), err)
	}
	defer func() { _ = res.Body.Close() }() // an error changes nothing: it was only read
	if res.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("key set: status %d", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxSetBytes+1))
	if err != nil {
		return nil, 0, fmt.Errorf("key set: %w", err)
	}
	if len(body) > maxSetBytes {
		return nil, 0, errors.New("key set: over 1 MiB")
	}
	return parseKeys(body)
}

// parseKeys reads a set. Keys that the gateway cannot use are skipped, as RFC 7517 section 5 says. A set without a key that
// it can use is an error.
func parseKeys(body []byte) (set *keys, skipped int, err error) {
	var doc struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, 0, fmt.Errorf("key set: %w", err)
	}
	set = &keys{named: map[keyName]*publicKey{}, lone: map[string]*publicKey{}, fetched: time.Now()}
	for _, text := range doc.Keys {
		kid, key := parseKey(text)
		if key == nil {
			skipped++
			continue
		}
		set.count++
		if kid != "" {
			set.named[keyName{key.alg, kid}] = key
		}
		if _, other := set.lone[key.alg]; other {
			set.lone[key.alg] = nil
		} else {
			set.lone[key.alg] = key
		}
	}
	if set.count == 0 {
		return nil, skipped, fmt.Errorf("key set: none of its %d keys is an RSA, ECDSA P-256 or Ed25519 public key for signatures", skipped)
	}
	return set, skipped, nil
}

// parseKey reads a JWK. It returns nil if that is not a public key for signatures with one of our algorithms. It also
// returns nil for a secret or a private key: everybody can read it in the set.
func parseKey(text []byte) (kid string, key *publicKey) {
	parsed, err := keyfunc.NewJWKJSON(text)
	if err != nil {
		return "", nil
	}
	all, err := parsed.Storage().KeyReadAll(context.Background()) // a list in memory
	if err != nil || len(all) != 1 {
		return "", nil
	}
	about := all[0].Marshal()
	key, err = newPublicKey(all[0].Key())
	switch {
	case err != nil:
		return "", nil
	case about.USE != "" && about.USE != "sig":
		return "", nil
	case about.ALG != "" && string(about.ALG) != key.alg:
		return "", nil
	}
	return about.KID, key
}

func (s *keySet) stats() Stats {
	stats := Stats{Refreshes: s.refreshes.Load(), Failures: s.failures.Load(), UnknownKeys: s.unknown.Load()}
	if set := s.current.Load(); set != nil {
		stats.Keys, stats.Refreshed = set.count, set.fetched
	}
	return stats
}
