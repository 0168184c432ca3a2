package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Claims are the claims of a token that Mint makes.
type Claims struct {
	Subject  string
	Channels []string // nil: the claim is left out, which allows the personal channel; empty: no channel
	Audience string   // "": left out
	Issuer   string   // "": left out
	KeyID    string   // kid in the header, for key sets; "": left out
}

// SigningKey is a secret or a private key, with its algorithm.
type SigningKey struct {
	method jwt.SigningMethod
	key    any
}

// ReadSigningKey reads a PEM file with a private key (RSA, ECDSA P-256 or Ed25519), or a secret for HS256 as in
// Config.SecretFile.
func ReadSigningKey(file string) (SigningKey, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return SigningKey{}, fmt.Errorf("signing key: %w", err)
	}
	if !isPEM(content) {
		secret, err := readSecret(file)
		return SigningKey{jwt.SigningMethodHS256, secret}, err
	}
	private, err := readPrivateKey(file)
	if err != nil {
		return SigningKey{}, fmt.Errorf("signing key: %w", err)
	}
	return newSigningKey(private)
}

func readPrivateKey(file string) (crypto.Signer, error) {
	block, err := readPEM(file)
	if err != nil {
		return nil, err
	}
	var key any
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("%s holds no private key that can be read", file)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s holds a key that does not sign", file)
	}
	return signer, nil
}

func newSigningKey(private crypto.Signer) (SigningKey, error) {
	if _, err := newPublicKey(private.Public()); err != nil {
		return SigningKey{}, fmt.Errorf("signing key: %w", err)
	}
	switch private.(type) {
	case *rsa.PrivateKey:
		return SigningKey{jwt.SigningMethodRS256, private}, nil
	case *ecdsa.PrivateKey:
		return SigningKey{jwt.SigningMethodES256, private}, nil
	case ed25519.PrivateKey:
		return SigningKey{jwt.SigningMethodEdDSA, private}, nil
	default:
		return SigningKey{}, fmt.Errorf("signing key: a %T does not sign tokens", private)
	}
}

// Mint makes a token that is valid from now on for ttl, rounded to seconds. It is meant for development. It returns an error
// for a token that Verify would refuse.
func Mint(claims Claims, key SigningKey, now time.Time, ttl time.Duration) (string, error) {
	switch {
	case key.method == nil:
		return "", errors.New("mint a token: no signing key")
	case !isSubject(claims.Subject):
		return "", errors.New("mint a token: the subject must be 1-255 bytes of UTF-8 without control characters")
	case ttl < time.Second:
		return "", fmt.Errorf("mint a token: a lifetime of %v: at least 1s is needed", ttl)
	case now.Add(ttl).Unix() > maxDate:
		return "", errors.New("mint a token: it would expire after the year 9999")
	}
	if err := CheckPatterns(claims.Channels); err != nil {
		return "", fmt.Errorf("mint a token: %w", err)
	}
	payload := jwt.MapClaims{"sub": claims.Subject, "iat": now.Unix(), "exp": now.Add(ttl).Unix()}
	if claims.Channels != nil {
		payload["channels"] = claims.Channels
	}
	if claims.Audience != "" {
		payload["aud"] = claims.Audience
	}
	if claims.Issuer != "" {
		payload["iss"] = claims.Issuer
	}
	token := jwt.NewWithClaims(key.method, payload)
	if claims.KeyID != "" {
		token.Header["kid"] = claims.KeyID
	}
	signed, err := token.SignedString(key.key)
	switch {
	case err != nil:
		return "", fmt.Errorf("mint a token: %w", err)
	case len(signed) > MaxTokenBytes:
		return "", fmt.Errorf("mint a token: it has %d bytes, %d are possible", len(signed), MaxTokenBytes)
	}
	return signed, nil
}
