package proxies

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// patience is how long a test waits before it fails, also on a busy machine.
const patience = 60 * time.Second

var (
	gatewayBinary string
	certificate   keyPair
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if os.Getenv("CARILLON_PROXY_TEST") == "" {
		fmt.Fprintln(os.Stderr, "proxytest: not asked for (make proxy-test)")
		return 0
	}
	dir, err := os.MkdirTemp("", "proxytest")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir) //nolint:errcheck // what is left is in the directory for temporary files
	gatewayBinary = filepath.Join(dir, "gateway")
	if out, err := exec.Command("go", "build", "-o", gatewayBinary, "github.com/carillon-ws/carillon/gateway").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the gateway: %v\n%s", err, out)
		return 1
	}
	if certificate, err = newKeyPair(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// keyPair is a certificate for 127.0.0.1 that only this run uses.
type keyPair struct {
	certFile, keyFile string
	bothFile          string // certificate and key in one file, for HAProxy
	client            *tls.Config
}

func newKeyPair(dir string) (keyPair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return keyPair{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return keyPair{}, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return keyPair{}, err
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	pair := keyPair{certFile: filepath.Join(dir, "cert"), keyFile: filepath.Join(dir, "key"), bothFile: filepath.Join(dir, "both.pem")}
	for file, content := range map[string][]byte{pair.certFile: certPEM, pair.keyFile: keyPEM, pair.bothFile: append(certPEM, keyPEM...)} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			return keyPair{}, err
		}
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	pair.client = &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", ClientSessionCache: tls.NewLRUClientSessionCache(64)}
	return pair, nil
}
