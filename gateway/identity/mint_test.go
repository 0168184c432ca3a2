package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestMintIsVerified(t *testing.T) {
	t.Parallel()
	for _, alg := range algorithms {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			file := configFor(t, testKeys()[alg]).SecretFile
			if signer, ok := testKeys()[alg].key.(crypto.Signer); ok {
				der, err := x509.MarshalPKCS8PrivateKey(signer)
				file = writeFile(t, block("PRIVATE KEY", der, err))
			}
			key, err := ReadSigningKey(file)
			if err != nil || key.method.Alg() != alg {
				t.Fatalf("ReadSigningKey = %v, %v", key.method.Alg(), err)
			}
			cfg := configFor(t, testKeys()[alg])
			cfg.Audience, cfg.Issuer = "app", "me"
			claims := Claims{Subject: "42", Channels: []string{"org:*"}, Audience: "app", Issuer: "me", KeyID: "1"}
			token, err := Mint(claims, key, now.Add(999*time.Millisecond), time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			id, err := newVerifier(t, cfg).Verify([]byte(token), now)
			if err != nil || id.User != "42" || !id.Expires.Equal(now.Add(time.Minute)) || !id.May("org:1") {
				t.Errorf("Verify = %+v, %v", id, err)
			}
		})
	}
}

func TestMintRefuses(t *testing.T) {
	t.Parallel()
	long := make([]string, MaxPatterns)
	for i := range long {
		long[i] = strings.Repeat("x", MaxPatternBytes)
	}
	tests := []struct {
		name   string
		claims Claims
		key    SigningKey
		ttl    time.Duration
		want   string
	}{
		{"no key", Claims{Subject: "42"}, SigningKey{}, time.Hour, "no signing key"},
		{"no subject", Claims{}, testKeys()["HS256"], time.Hour, "subject"},
		{"a subject with a line end", Claims{Subject: "4\n2"}, testKeys()["HS256"], time.Hour, "subject"},
		{"no lifetime", Claims{Subject: "42"}, testKeys()["HS256"], 0, "lifetime"},
		{"10,000 years", Claims{Subject: "42"}, testKeys()["HS256"], 1<<63 - 1, ""},
		{"a bad pattern", Claims{Subject: "42", Channels: []string{"a*b"}}, testKeys()["HS256"], time.Hour, "channels: a pattern has a *"},
		{"too long", Claims{Subject: "42", Channels: long}, testKeys()["HS256"], time.Hour, "8192 are possible"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := Mint(tt.claims, tt.key, now, tt.ttl)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("Mint = %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestReadSigningKey(t *testing.T) {
	t.Parallel()
	rsaKey, curve := testKeys()["RS256"].key.(*rsa.PrivateKey), testKeys()["ES256"].key.(*ecdsa.PrivateKey)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec, ecErr := x509.MarshalECPrivateKey(curve)
	wrong, wrongErr := x509.MarshalECPrivateKey(p384)
	tests := []struct {
		name    string
		content []byte
		want    string // the algorithm, or a part of the error
	}{
		{"secret", []byte(strings.Repeat("s", 32) + "\n"), "HS256"},
		{"short secret", []byte("s"), "at least 32"},
		{"PKCS 1", block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey), nil), "RS256"},
		{"EC", block("EC PRIVATE KEY", ec, ecErr), "ES256"},
		{"EC as openssl ecparam writes it", append(block("EC PARAMETERS", []byte("\x06\x08*\x86H\xce=\x03\x01\x07"), nil), block("EC PRIVATE KEY", ec, ecErr)...), "ES256"},
		{"EC parameters alone", block("EC PARAMETERS", []byte("\x06\x08*\x86H\xce=\x03\x01\x07"), nil), "not a PEM file with a key"},
		{"EC P-384", block("EC PRIVATE KEY", wrong, wrongErr), "only P-256"},
		{"public", pkix(t, &curve.PublicKey), "no private key"},
		{"broken", block("PRIVATE KEY", []byte("x"), nil), "asn1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			key, err := ReadSigningKey(writeFile(t, tt.content))
			got := fmt.Sprint(err)
			if err == nil {
				got = key.method.Alg()
			}
			if !strings.Contains(got, tt.want) {
				t.Errorf("ReadSigningKey = %s, want %s", got, tt.want)
			}
		})
	}
}
