package identity

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
)

// The algorithms (RFC 7518 section 3.1, RFC 8037 section 3.1).
const (
	algHS256 = "HS256"
	algRS256 = "RS256"
	algES256 = "ES256"
	algEdDSA = "EdDSA"
)

// Sizes of keys.
const (
	minSecretBytes = 32   // as many as the hash has (RFC 7518 section 3.2)
	minRSABits     = 2048 // RFC 7518 section 3.3
	maxRSABits     = 8192 // as in crypto/tls: a check with a larger key would hold the loop for too long
)

// publicKey is a key and the only algorithm that it is used with.
type publicKey struct {
	alg string
	key crypto.PublicKey
}

// newPublicKey returns a key with its algorithm, or an error if no algorithm of ours uses such a key.
func newPublicKey(key any) (*publicKey, error) {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return nil, fmt.Errorf("an RSA key of %d bits: %d to %d are possible", bits, minRSABits, maxRSABits)
		}
		return &publicKey{algRS256, key}, nil
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() {
			return nil, fmt.Errorf("an ECDSA key on %s: only P-256 is possible", key.Curve.Params().Name)
		}
		return &publicKey{algES256, key}, nil
	case ed25519.PublicKey:
		return &publicKey{algEdDSA, key}, nil
	default:
		return nil, errors.New("neither an RSA, nor an ECDSA P-256, nor an Ed25519 public key")
	}
}

// readSecret reads an HMAC secret. A line end at the end of the file, which editors and echo write, is not part of it.
func readSecret(file string) ([]byte, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("token secret: %w", err)
	}
	secret := bytes.TrimSuffix(bytes.TrimSuffix(content, []byte("\n")), []byte("\r"))
	switch {
	case isPEM(content): // if a public key were the secret, anybody could make tokens, because anybody has it
		return nil, fmt.Errorf("token secret: %s holds a PEM key, not a secret", file)
	case len(secret) < minSecretBytes:
		return nil, fmt.Errorf("token secret: %s holds %d bytes, at least %d are needed (openssl rand -hex 32 > %s)",
			file, len(secret), minSecretBytes, file)
	}
	return secret, nil
}

func isPEM(content []byte) bool { return bytes.Contains(content, []byte("-----BEGIN ")) }

// readPEM reads the only key of a PEM file. A block with the name of the curve, which openssl ecparam -genkey writes before
// the key, is skipped: the key itself has it.
func readPEM(file string) (*pem.Block, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(content)
	if block != nil && block.Type == "EC PARAMETERS" {
		block, rest = pem.Decode(rest)
	}
	switch {
	case block == nil:
		return nil, fmt.Errorf("%s is not a PEM file with a key", file)
	case isPEM(rest):
		return nil, fmt.Errorf("%s holds several keys: for rotation use a key set (JWKS)", file)
	}
	return block, nil
}

func readPublicKey(file string) (*publicKey, error) {
	block, err := readPEM(file)
	if err != nil {
		return nil, fmt.Errorf("token public key: %w", err)
	}
	var key any
	switch block.Type {
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
			key = cert.PublicKey
		}
	default:
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return nil, fmt.Errorf("token public key: %s holds a private key, which the gateway must not have (openssl pkey -in %s -pubout)", file, file)
		}
		return nil, fmt.Errorf("token public key: %s holds a %s", file, strings.ToLower(block.Type))
	}
	if err != nil {
		return nil, fmt.Errorf("token public key: %s: %w", file, err)
	}
	public, err := newPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("token public key: %s: %w", file, err)
	}
	return public, nil
}
