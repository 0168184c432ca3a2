package identity

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// MaxTokenBytes is the length of the longest token. A whole request head has the same limit.
const MaxTokenBytes = 8 << 10

// maxHeaderBytes is the length of the longest header of a token, in base64. Unlike the claims, the header is parsed in full
// before the signature is checked.
const maxHeaderBytes = 2 << 10

// maxDepth is how deep a token's header and claims may be nested, with their own braces. The library reads both before it
// checks the signature, and 8 KiB of brackets cost it twice as much as an ES256 signature, and 106 KiB of memory
// (BenchmarkRefuse, before there was a limit).
const maxDepth = 16

// The errors of Verify. An error after which no retry helps wraps ErrBadToken. No error has a part of the token.
var (
	// ErrNoToken: there is no token.
	ErrNoToken = errors.New("no token")
	// ErrBadToken: the token is malformed, not signed by one of the keys, or not for this gateway. It will never be valid.
	ErrBadToken = errors.New("bad token")
	// ErrExpired: the token was valid. The client should come back with a new one.
	ErrExpired = errors.New("token has expired")
	// ErrNotYet: the token will be valid later (claim nbf).
	ErrNotYet = errors.New("token is not valid yet")
	// ErrUnknownKey: the token names a key that is not in the key set, and a new set is being fetched. The client should come
	// back a little later with the same token.
	ErrUnknownKey = errors.New("token is signed with a key that is not known yet")
)

// errRetired is for a token whose key is not in a set that was just fetched: the issuer has retired the key. It is an
// ErrExpired as well, because a new token will have a newer key.
var errRetired = fmt.Errorf("%w, and the issuer has retired it (%w)", ErrUnknownKey, ErrExpired)

// The reasons of an ErrBadToken. They are made once, so a refusal allocates nothing for its text.
var (
	errLength    = fmt.Errorf("%w: longer than 8 KiB", ErrBadToken)
	errDepth     = fmt.Errorf("%w: nested deeper than 16", ErrBadToken)
	errForm      = fmt.Errorf("%w: malformed", ErrBadToken)
	errHeader    = fmt.Errorf("%w: its header has a kid that is not a string, or it has crit", ErrBadToken)
	errNoKeyID   = fmt.Errorf("%w: it names no key, and there are several keys for its algorithm", ErrBadToken)
	errSignature = fmt.Errorf("%w: the algorithm or the signature does not fit the key", ErrBadToken)
	errClaims    = fmt.Errorf("%w: a claim has a wrong type or value", ErrBadToken)
	errTwice     = fmt.Errorf("%w: a claim is there twice", ErrBadToken)
	errMissing   = fmt.Errorf("%w: exp is missing, or an expected aud or iss is missing", ErrBadToken)
	errAudience  = fmt.Errorf("%w: made for another audience", ErrBadToken)
	errIssuer    = fmt.Errorf("%w: made by another issuer", ErrBadToken)
	errSubject   = fmt.Errorf("%w: sub is missing, longer than 255 bytes, or has control characters", ErrBadToken)
	errChannels  = fmt.Errorf("%w: channels is longer than its limits, or has a pattern that is not valid", ErrBadToken)
)

// Config says which tokens are valid. At least one source of keys is needed. A secret may be used with a public key or a
// key set, but not a public key with a key set.
type Config struct {
	SecretFile    string // HS256: at least 32 bytes; a line end at its end does not count
	PublicKeyFile string // PEM: RSA (RS256), ECDSA P-256 (ES256) or Ed25519 (EdDSA), as a public key or certificate
	JWKSURL       string // https, or http on loopback
	InsecureJWKS  bool   // allow any plain http URL: whoever can change the set on its way can make valid tokens

	Audience string        // "": the claim is not checked
	Issuer   string        // "": the claim is not checked
	Leeway   time.Duration // how far the clocks may differ; 10 min at most

	JWKSRefresh time.Duration // default 15 min
	Client      *http.Client  // for the key set; default: one with a timeout of 10 s
	Log         *slog.Logger  // default: slog.Default()
}

const maxLeeway = 10 * time.Minute

// Verifier checks tokens. All its methods are safe to call from any goroutine.
type Verifier struct {
	// Fixed at creation.
	parser *jwt.Parser        // checks signatures
	checks []jwt.ParserOption // of the registered claims
	leeway time.Duration
	secret []byte // nil: no HS256
	public *publicKey
	remote *keySet
}

// New reads the key files. A key set is fetched by Run.
func New(cfg Config) (*Verifier, error) {
	v := &Verifier{leeway: cfg.Leeway}
	var methods []string
	var err error
	switch {
	case cfg.SecretFile == "" && cfg.PublicKeyFile == "" && cfg.JWKSURL == "":
		return nil, errors.New("tokens need a key: a secret, a public key or a key set (JWKS)")
	case cfg.PublicKeyFile != "" && cfg.JWKSURL != "":
		return nil, errors.New("a public key and a key set (JWKS) cannot be used together: put the key into the set")
	case cfg.Leeway < 0 || cfg.Leeway > maxLeeway:
		return nil, fmt.Errorf("a leeway of %v: between 0 and %v are possible", cfg.Leeway, maxLeeway)
	}
	if cfg.SecretFile != "" {
		if v.secret, err = readSecret(cfg.SecretFile); err != nil {
			return nil, err
		}
		methods = append(methods, algHS256)
	}
	if cfg.PublicKeyFile != "" {
		if v.public, err = readPublicKey(cfg.PublicKeyFile); err != nil {
			return nil, err
		}
		methods = append(methods, v.public.alg)
	}
	if cfg.JWKSURL != "" {
		if v.remote, err = newKeySet(&cfg); err != nil {
			return nil, err
		}
		methods = append(methods, algRS256, algES256, algEdDSA)
	}
	v.parser = jwt.NewParser(jwt.WithValidMethods(methods), jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation())
	v.checks = []jwt.ParserOption{jwt.WithExpirationRequired(), jwt.WithLeeway(cfg.Leeway)}
	if cfg.Audience != "" {
		v.checks = append(v.checks, jwt.WithAudience(cfg.Audience))
	}
	if cfg.Issuer != "" {
		v.checks = append(v.checks, jwt.WithIssuer(cfg.Issuer))
	}
	v.checks = slices.Clip(v.checks) // Verify appends
	return v, nil
}

// Run keeps the key set fresh until ctx ends, and then returns nil. Without a key set it only waits.
// Must not run on the loop: it may block.
func (v *Verifier) Run(ctx context.Context) error {
	if v.remote == nil {
		<-ctx.Done()
		return nil
	}
	return v.remote.run(ctx)
}

// Ready reports whether there are keys. It is false only until a key set is fetched for the first time.
func (v *Verifier) Ready() bool { return v.remote == nil || v.remote.current.Load() != nil }

// Stats returns the counters of the key set; without one all are zero.
func (v *Verifier) Stats() Stats {
	if v.remote == nil {
		return Stats{}
	}
	return v.remote.stats()
}

// Verify returns the identity of a token. It does no I/O and never blocks. It costs the check of the signature and some
// JSON; a refused token costs at most about twice as much (BenchmarkVerify, BenchmarkRefuse). token is not kept. An error is
// one of the Err… values, or wraps ErrBadToken. Safe to call from any goroutine.
func (v *Verifier) Verify(token []byte, now time.Time) (*Identity, error) {
	switch {
	case len(token) == 0:
		return nil, ErrNoToken
	case len(token) > MaxTokenBytes:
		return nil, errLength
	case !isCompact(token), bytes.IndexByte(token, '.') > maxHeaderBytes:
		return nil, errForm
	case !isShallow(token):
		return nil, errDepth
	}
	var c claims
	if _, err := v.parser.ParseWithClaims(string(token), &c, v.key); err != nil {
		return nil, reason(err)
	}
	if err := c.parse(); err != nil {
		return nil, err
	}
	validator := jwt.NewValidator(append(v.checks, jwt.WithTimeFunc(func() time.Time { return now }))...)
	if err := validator.Validate(&c); err != nil {
		return nil, reason(err)
	}
	return c.identity(v.leeway)
}

// isCompact reports whether token is three parts of base64url (RFC 7515 section 7.1). The decoder would skip
// line ends.
func isCompact(token []byte) bool {
	dots := 0
	for _, c := range token {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
		case c == '.':
			dots++
		default:
			return false
		}
	}
	return dots == 2
}

// isShallow reports whether the header and the claims of a token are nested no deeper than maxDepth. A part that cannot be
// decoded is not looked at.
func isShallow(token []byte) bool {
	var room [MaxTokenBytes * 3 / 4]byte // stays on the stack
	for range 2 {
		var part []byte
		part, token, _ = bytes.Cut(token, []byte("."))
		text, err := base64.RawURLEncoding.AppendDecode(room[:0], part)
		if err == nil && depthOver(text, maxDepth) {
			return false
		}
	}
	return true
}

// depthOver reports whether JSON is nested deeper than limit. If text is not JSON, it looks at no less of it than a parser
// would.
func depthOver(text []byte, limit int) bool {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '{', '[':
			if depth++; depth > limit {
				return true
			}
		case '}', ']':
			depth--
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		}
	}
	return false
}

// key finds the key of a token. The library has checked that the algorithm is one of ours.
func (v *Verifier) key(token *jwt.Token) (any, error) {
	if _, extended := token.Header["crit"]; extended { // RFC 7515 section 4.1.11
		return nil, errHeader
	}
	kid, named := token.Header["kid"].(string)
	if !named && token.Header["kid"] != nil {
		return nil, errHeader
	}
	switch alg := token.Method.Alg(); {
	case alg == algHS256 && v.secret != nil:
		return v.secret, nil
	case v.public != nil && alg == v.public.alg:
		return v.public.key, nil
	case v.remote != nil && alg != algHS256:
		return v.remote.find(alg, kid, named)
	}
	return nil, errSignature
}

// ours are our own errors that key returns through the library.
var ours = []error{errRetired, ErrUnknownKey, errHeader, errNoKeyID, errSignature}

// reason turns an error of the library into one of ours. The library's error may hold several reasons. Expired comes last,
// because it tells the client that a new token of the same kind will be accepted.
func reason(err error) error {
	for _, own := range ours {
		if errors.Is(err, own) {
			return own
		}
	}
	switch {
	case errors.Is(err, jwt.ErrTokenSignatureInvalid), errors.Is(err, jwt.ErrTokenUnverifiable):
		return errSignature
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return errMissing
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return errAudience
	case errors.Is(err, jwt.ErrTokenInvalidIssuer):
		return errIssuer
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return ErrNotYet
	case errors.Is(err, jwt.ErrTokenExpired):
		return ErrExpired
	default:
		return errForm
	}
}
