package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// now is the time of all tests.
var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// testKeys are made once: an RSA key takes a second under the race detector.
var testKeys = sync.OnceValue(func() map[string]SigningKey {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return map[string]SigningKey{
		"HS256": {jwt.SigningMethodHS256, []byte("0123456789abcdef0123456789abcdef")},
		"RS256": {jwt.SigningMethodRS256, private},
		"ES256": {jwt.SigningMethodES256, curve},
		"EdDSA": {jwt.SigningMethodEdDSA, edwards},
	}
})

var algorithms = []string{"HS256", "RS256", "ES256", "EdDSA"}

// newEdwards returns another Ed25519 key.
func newEdwards(tb testing.TB) SigningKey {
	tb.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return SigningKey{jwt.SigningMethodEdDSA, private}
}

func public(key SigningKey) crypto.PublicKey { return key.key.(crypto.Signer).Public() }

// writeFile puts content into a file of its own.
func writeFile(tb testing.TB, content []byte) string {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), "key")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		tb.Fatal(err)
	}
	return file
}

// pkix returns a public key as PEM.
func pkix(tb testing.TB, key crypto.PublicKey) []byte {
	tb.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// configFor returns a Config that accepts tokens of a key.
func configFor(tb testing.TB, key SigningKey) Config {
	tb.Helper()
	if secret, ok := key.key.([]byte); ok {
		return Config{SecretFile: writeFile(tb, secret)}
	}
	return Config{PublicKeyFile: writeFile(tb, pkix(tb, public(key)))}
}

func newVerifier(tb testing.TB, cfg Config) *Verifier {
	tb.Helper()
	v, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// sign makes a token with any header and payload.
func sign(tb testing.TB, key SigningKey, header, payload string) []byte {
	tb.Helper()
	text := encode(header) + "." + encode(payload)
	signature, err := key.method.Sign(text, key.key)
	if err != nil {
		tb.Fatal(err)
	}
	return []byte(text + "." + base64.RawURLEncoding.EncodeToString(signature))
}

func mint(tb testing.TB, key SigningKey, claims Claims) []byte {
	tb.Helper()
	token, err := Mint(claims, key, now, time.Hour)
	if err != nil {
		tb.Fatal(err)
	}
	return []byte(token)
}
