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

// MaxTokenBytes is the longest token. It is the limit of a whole request head, too.
const MaxTokenBytes = 8 << 10

// maxHeaderBytes is the longest header of a token, in base64. Unlike the claims it is read in full before the
// signature is checked.
const maxHeaderBytes = 2 << 10

// maxDepth is the deepest nesting of a token's header and claims, their own braces included. The library reads both
// before it checks the signature, and 8 KiB of brackets cost it twice what an ES256 does, and 106 KiB of memory
// (BenchmarkRefuse, before there was a limit).
const maxDepth = 16

// What Verify says of a token. A reason that a client should not act upon wraps ErrBadToken. None of these ever
// contains a part of the token.
var (
	// ErrNoToken: there is none.
	ErrNoToken = errors.New("no token")
	// ErrBadToken: it is malformed, not signed by a key of ours, or not for us. Another attempt ends the same way.
	ErrBadToken = errors.New("bad token")
	// ErrExpired: it was good. The client should come back with a new one.
	ErrExpired = errors.New("token has expired")
	// ErrNotYet: it will be good (the claim nbf).
	ErrNotYet = errors.New("token is not valid yet")
	// ErrUnknownKey: it names a key that the key set lacks, and a new set has been asked for. The client should come
	// back a little later with the same token.
	ErrUnknownKey = errors.New("token is signed with a key that is not known yet")
)

// errRetired is for a token whose key is not in a set that was only just fetched: another token has a newer key.
// So it is an ErrExpired as well: the client should come back with a new one.
var errRetired = fmt.Errorf("%w, nor to the issuer: as good as expired (%w)", ErrUnknownKey, ErrExpired)

// The reasons behind ErrBadToken, made once: a refusal allocates nothing for its text.
var (
	errLength    = fmt.Errorf("%w: over 8 KiB", ErrBadToken)
	errDepth     = fmt.Errorf("%w: nested over 16 deep", ErrBadToken)
	errForm      = fmt.Errorf("%w: malformed", ErrBadToken)
	errHeader    = fmt.Errorf("%w: its header has a kid that is no string, or crit", ErrBadToken)
	errNoKeyID   = fmt.Errorf("%w: it names no key, and several fit", ErrBadToken)
	errSignature = fmt.Errorf("%w: the algorithm or the signature does not fit the key", ErrBadToken)
	errClaims    = fmt.Errorf("%w: a claim has a wrong type or value", ErrBadToken)
	errTwice     = fmt.Errorf("%w: a claim is there twice", ErrBadToken)
	errMissing   = fmt.Errorf("%w: exp is missing, or aud or iss, which are expected", ErrBadToken)
	errAudience  = fmt.Errorf("%w: made for another audience", ErrBadToken)
	errIssuer    = fmt.Errorf("%w: made by another issuer", ErrBadToken)
	errSubject   = fmt.Errorf("%w: sub is missing, over 255 bytes, or has control characters", ErrBadToken)
	errChannels  = fmt.Errorf("%w: channels is over its limits or has a pattern that is none", ErrBadToken)
)

// Config says which tokens are good. At least one source of keys is needed; a secret may stand beside one of the
// others, a public key and a key set exclude each other.
type Config struct {
	SecretFile    string // HS256: at least 32 bytes; one line end at its end does not count
	PublicKeyFile string // PEM: RSA (RS256), ECDSA P-256 (ES256) or Ed25519 (EdDSA), as a public key or certificate
	JWKSURL       string // https, or http on loopback
	InsecureJWKS  bool   // take plain http from anywhere: who can change it on its way makes every token

	Audience string        // "": not looked at
	Issuer   string        // "": not looked at
	Leeway   time.Duration // how far clocks may differ; 0: not at all, 10 min at most

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

// New reads the key files. It does not touch the network: that is left to Run.
func New(cfg Config) (*Verifier, error) {
	v := &Verifier{leeway: cfg.Leeway}
	var methods []string
	var err error
	switch {
	case cfg.SecretFile == "" && cfg.PublicKeyFile == "" && cfg.JWKSURL == "":
		return nil, errors.New("tokens need a key: a secret, a public key or a key set (JWKS)")
	case cfg.PublicKeyFile != "" && cfg.JWKSURL != "":
		return nil, errors.New("a public key and a key set (JWKS) exclude each other: put the key into the set")
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

// Ready reports whether all keys are there: always, but for a key set that was never fetched.
func (v *Verifier) Ready() bool { return v.remote == nil || v.remote.current.Load() != nil }

// Stats returns how the key set fares; all zero without one.
func (v *Verifier) Stats() Stats {
	if v.remote == nil {
		return Stats{}
	}
	return v.remote.stats()
}

// Verify returns whose token it is. It does no I/O and waits for nothing; what it costs is the signature's check
// and some JSON, at most about as much again for a token that is refused: see BenchmarkVerify and BenchmarkRefuse.
// token is not kept. Errors are the Err… values, or wrap ErrBadToken. Safe to
// call from any goroutine.
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

// isCompact reports whether token is three parts of base64url (RFC 7515 section 7.1). The decoder would pass over
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

// isShallow reports whether the header and the claims of a token are nested no deeper than maxDepth, as far as they
// can be read.
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

// depthOver reports whether JSON is nested deeper than limit. Of text that is not JSON it looks at as much as a parser
// would, or more.
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

// key finds the key of a token whose algorithm is one of ours, and so one that the key is made for.
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

// ours are the errors of our own that pass through the library.
var ours = []error{errRetired, ErrUnknownKey, errHeader, errNoKeyID, errSignature}

// reason turns the library's error into one of ours. It may hold several: expired comes last, because it tells the
// client that a new token of the same kind will do.
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
