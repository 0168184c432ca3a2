package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func block(kind string, der []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// TestNewKeyFiles reads every kind of key file, and files that are none. want is a part of the error; empty: no error.
func TestNewKeyFiles(t *testing.T) {
	t.Parallel()
	rsaKey := testKeys()["RS256"].key.(*rsa.PrivateKey)
	curve := testKeys()["ES256"].key.(*ecdsa.PrivateKey)
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: now.Add(time.Hour)}
	cert, certErr := x509.CreateCertificate(rand.Reader, template, template, &curve.PublicKey, curve)
	pkcs8, pkcs8Err := x509.MarshalPKCS8PrivateKey(curve)
	secret := strings.Repeat("s", 32)
	const privatePart, holdsPEM = "holds a private key", "holds a PEM key"
	tests := []struct {
		name           string
		content        []byte
		public, secret string // the error of New with the file as public key or as secret
	}{
		{"RSA", pkix(t, &rsaKey.PublicKey), "", holdsPEM},
		{"RSA, PKCS 1", block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey), nil), "", holdsPEM},
		{"ECDSA", pkix(t, &curve.PublicKey), "", holdsPEM},
		{"Ed25519", pkix(t, public(testKeys()["EdDSA"])), "", holdsPEM},
		{"certificate", block("CERTIFICATE", cert, certErr), "", holdsPEM},
		{"text before it", append([]byte("a note\n"), pkix(t, &curve.PublicKey)...), "", holdsPEM},
		{"RSA of 1024 bits", pkix(t, &small.PublicKey), "1024 bits: 2048 to 8192", holdsPEM},
		{"ECDSA P-384", pkix(t, &p384.PublicKey), "only P-256", holdsPEM},
		{"private", block("PRIVATE KEY", pkcs8, pkcs8Err), privatePart, holdsPEM},
		{"private, PKCS 1", block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey), nil), privatePart, holdsPEM},
		{"two keys", append(pkix(t, &curve.PublicKey), pkix(t, &rsaKey.PublicKey)...), "several keys", holdsPEM},
		{"something else", block("X509 CRL", []byte("x"), nil), "holds a x509 crl", holdsPEM},
		{"broken", block("PUBLIC KEY", []byte("x"), nil), "asn1", holdsPEM},
		{"empty", nil, "not a PEM file", "holds 0 bytes, at least 32"},
		{"31 bytes", []byte(secret[1:]), "not a PEM file", "holds 31 bytes, at least 32"},
		{"31 bytes and a line end", []byte(secret[1:] + "\r\n"), "not a PEM file", "holds 31 bytes"},
		{"32 bytes", []byte(secret), "not a PEM file", ""},
		{"32 bytes and a line end", []byte(secret + "\n"), "not a PEM file", ""},
	}
	check := func(t *testing.T, cfg Config, want string) {
		t.Helper()
		v, err := New(cfg)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) || (v == nil) != (err != nil) {
			t.Errorf("New(%+v) = %v, want an error with %q", cfg, err, want)
		}
		if err != nil && strings.Contains(err.Error(), secret[1:]) {
			t.Errorf("the error holds the secret: %v", err)
		}
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			file := writeFile(t, tt.content)
			check(t, Config{PublicKeyFile: file}, tt.public)
			check(t, Config{SecretFile: file}, tt.secret)
		})
	}
	missing := filepath.Join(t.TempDir(), "none")
	check(t, Config{PublicKeyFile: missing}, "no such file")
	check(t, Config{SecretFile: missing}, "no such file")
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	secret := writeFile(t, bytes.Repeat([]byte("s"), 32))
	tests := []struct {
		name string
		cfg  Config
		want string
	}{
		{"no key", Config{Audience: "app"}, "need a key"},
		{"public key and key set", Config{PublicKeyFile: "f", JWKSURL: "https://x/"}, "cannot be used together"},
		{"negative leeway", Config{SecretFile: secret, Leeway: -1}, "leeway"},
		{"an hour of leeway", Config{SecretFile: secret, Leeway: time.Hour}, "leeway"},
		{"plain http", Config{JWKSURL: "http://issuer.example/jwks"}, "plain http"},
		{"plain http on a name like loopback", Config{JWKSURL: "http://localhost.example/jwks"}, "plain http"},
		{"a file", Config{JWKSURL: "file:///etc/jwks"}, "not an https URL"},
		{"no scheme", Config{JWKSURL: "issuer.example/jwks"}, "not an https URL"},
		{"no URL", Config{JWKSURL: "https://[x"}, "key set"},
		{"too frequent", Config{JWKSURL: "https://x/", JWKSRefresh: time.Second}, "refresh every 1s"},
		{"secrets in a wrong URL", Config{JWKSURL: "ftp://hunter1:hunter2@x/keys?key=hunter3"}, "key set: ftp://x/keys is not"},
		{"secrets in a plain URL", Config{JWKSURL: "http://hunter1:hunter2@x/keys?key=hunter3"}, "key set: http://x/keys is plain"},
		{"secrets in an unreadable URL", Config{JWKSURL: "https://hunter1:hunter%zz@x/keys"}, "percent-encoded"},
		{"secrets without a scheme", Config{JWKSURL: "hunter1:hunter2@x/keys"}, "not an https URL"},
		{"a slash in the password", Config{JWKSURL: "https://me:hunter2/@x/keys"}, "percent-encoded"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := New(tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter") {
				t.Errorf("New = %v, want an error with %q and without a secret", err, tt.want)
			}
		})
	}
	for _, good := range []Config{
		{JWKSURL: "https://issuer.example/jwks"},
		{JWKSURL: "http://127.0.0.1:1/jwks"},
		{JWKSURL: "http://localhost/jwks"},
		{JWKSURL: "http://issuer.example/jwks", InsecureJWKS: true},
	} {
		if _, err := New(good); err != nil {
			t.Errorf("New(%+v) = %v", good, err)
		}
	}
}
