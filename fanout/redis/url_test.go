package redis

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/fanout/redis/redistest"
)

func TestParseURLOfSeveral(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in         string
		name, err  string
		kind       Kind
		addrs      string
		user, pass string // for the master, or the nodes
		sentinel   string
		tls        bool
	}{
		{in: "redis+sentinel://h:26379?master_name=main", name: "redis+sentinel://h:26379 (master main)", kind: Sentinel, addrs: "h:26379"},
		{
			in:   "redis+sentinel://su:hunter2@h:1/3?master_name=main&username=u&password=hunter2m&addr=i:2&addr=j:3",
			name: "redis+sentinel://***@h:1/3 (master main)", kind: Sentinel, addrs: "h:1 i:2 j:3", user: "u", pass: "hunter2m", sentinel: "su:hunter2",
		},
		{in: "rediss+sentinel://h?master_name=m", name: "rediss+sentinel://h (master m)", kind: Sentinel, addrs: "h:6379", tls: true},
		{in: "redis+sentinel://h", err: "master_name is missing"},
		{in: "redis+sentinel://h?master_name=m&replica_only=true", err: "replica_only"},
		{in: "redis+sentinel://:hunter2@h?master_name=m&pass=hunter2", err: "unexpected option: pass"},
		{in: "redis+sentinel://h?master_name=m&password=hunter2%40x", name: "redis+sentinel://h (master m)", kind: Sentinel, addrs: "h:6379", pass: "hunter2@x"},
		{in: "redis+cluster://u:hunter2@h:1?addr=i:2", name: "redis+cluster://***@h:1", kind: Cluster, addrs: "h:1 i:2", user: "u", pass: "hunter2"},
		{in: "rediss+cluster://h", name: "rediss+cluster://h", kind: Cluster, addrs: "h:6379", tls: true},
		{in: "redis+cluster://h?master_name=m", err: "unexpected option: master_name"},
		{in: "redis+cluster://:a/hunter2@h", err: "unreadable"},
		{in: "redis+other://:hunter2@h", err: "redis+other://***@h: unknown scheme redis+other"},
		{in: "unix+cluster://h", err: "unknown scheme"},
	} {
		p, err := ParseURL(tt.in)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("ParseURL(%q) = %v, want an error with %q and no password", tt.in, err, tt.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("ParseURL(%q): %v", tt.in, err)
			continue
		}
		sentinel := ""
		if p.sentinelPass != "" {
			sentinel = p.sentinelUser + ":" + p.sentinelPass
		}
		if p.Name != tt.name || p.Kind != tt.kind || strings.Join(p.Addrs, " ") != tt.addrs || p.Options.Username != tt.user ||
			p.Options.Password != tt.pass || sentinel != tt.sentinel || (p.Options.TLSConfig != nil) != tt.tls {
			t.Errorf("ParseURL(%q) = %+v with %q:%q", tt.in, p, p.Options.Username, p.Options.Password)
		}
	}
}

func TestRefusedTogether(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	interest := fanout.NewInterest()
	for _, tt := range []struct {
		cfg  Config
		want string
	}{
		{Config{URL: "redis://h", Mode: Sharded, Interest: interest}, "sharded interest needs a Cluster"},
		{Config{URL: "redis+sentinel://h?master_name=m", Mode: Sharded, Interest: interest}, "sharded interest needs a Cluster"},
		{Config{URL: "redis://h", Mode: Dynamic}, "no interest"},
		{Config{URL: "redis://h", Mode: "some"}, "unknown"},
		{Config{URL: "redis://h", Mode: Dynamic, Interest: interest, Pattern: "a*b"}, "prefix"},
		{Config{URL: "redis://h", TLS: TLSFiles{CA: "x"}}, "not by TLS"},
		{Config{URL: "rediss://h", TLS: TLSFiles{Cert: "x"}}, "needs its key"},
		{Config{URL: "rediss://h", TLS: TLSFiles{CA: filepath.Join(dir, "none.pem")}}, "redis CA"},
		{Config{URL: "rediss://h", TLS: TLSFiles{CA: empty}}, "no certificate in"},
		{Config{URL: "rediss://h", TLS: TLSFiles{Cert: empty, Key: empty}}, "redis certificate"},
	} {
		if tt.cfg.Pattern == "" {
			tt.cfg.Pattern = "notifications:*"
		}
		if _, err := NewSource(tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("NewSource(%+v) = %v, want %q", tt.cfg, err, tt.want)
		}
	}
}

// The names that certificates are held against, of servers that are known by several addresses.
func TestServerName(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ url, addr, want string }{
		{"rediss://redis.example:1", "10.0.0.1:1", "redis.example"},
		{"rediss+cluster://redis.example:1", "10.0.0.1:1", "redis.example"},
		{"rediss+cluster://redis.example:1", "node7.example:1", "node7.example"},
		{"rediss+cluster://10.0.0.9:1", "10.0.0.1:1", "10.0.0.1"},
		{"rediss+sentinel://s.example:1?master_name=m", "master.example:1", "master.example"},
	} {
		p, err := ParseURL(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.serverName(tt.addr); got != tt.want {
			t.Errorf("%s at %s: %s, want %s", tt.url, tt.addr, got, tt.want)
		}
	}
}

// A real Redis that wants a certificate of its clients, and whose own is by an authority of ours.
func TestClientCertificate(t *testing.T) {
	t.Parallel()
	server := redistest.Reserve(t)
	host, port := splitAddr(server.Addr())
	dir := t.TempDir()
	ca, key := writeCertificates(t, dir, host)
	server.RestartWith("--port", "0", "--tls-port", port, "--tls-cert-file", ca, "--tls-key-file", key, "--tls-ca-cert-file", ca)
	url := "rediss://" + server.Addr()
	for _, tt := range []struct {
		name  string
		files TLSFiles
		bad   string
	}{
		{"all", TLSFiles{CA: ca, Cert: ca, Key: key}, ""},
		{"no certificate", TLSFiles{CA: ca}, "certificate required"},
		{"no authority", TLSFiles{Cert: ca, Key: key}, "x509"},
	} {
		w := newWorld(t, Config{URL: url, TLS: tt.files, Mode: Dynamic}, 1)
		if tt.bad == "" {
			channels := channelNames(3)
			w.populate(channels)
			w.up()
			w.subscribed()
			w.hearsAll(channels)
			continue
		}
		eventually(t, "it is told why", func() bool { return strings.Contains(w.Stats().LastError, tt.bad) })
	}
}

// writeCertificates makes one certificate that is authority, server and client, and its key.
func writeCertificates(t *testing.T, dir, host string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.ParseIP(host)},
		KeyUsage:    x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(crand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// Slots as Redis computes them.
func TestSlotOf(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--cluster-enabled", "yes")
	for _, channel := range []string{
		"", "a", "notifications:user:42", "{a}b", "b{a}c{d}", "{}a", "a{}", "{a", "a}b", "}{a}", "{{a}}", "notifications:{x}", "\xff\x00", strings.Repeat("x", 300),
	} {
		if strings.Contains(channel, "\x00") || channel == "" { // not to be given on a command line
			continue
		}
		if got, want := fmt.Sprint(slotOf(channel)), server.Do("CLUSTER", "KEYSLOT", channel); got != want {
			t.Errorf("slotOf(%q) = %s, want %s", channel, got, want)
		}
	}
}

// One channel that the user may not hear costs no other.
func TestRefusedChannel(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	acl := strings.Replace(ACLDynamic, "&notifications:*", "&notifications:user:*", 1)
	server.Do(append([]string{"ACL", "SETUSER", "bell", "on", ">hunter2"}, strings.Fields(acl)...)...)
	w := newWorld(t, Config{URL: "redis://bell:hunter2@" + server.Addr(), Mode: Dynamic}, 2)
	channels := channelNames(1000)
	all := slices.Concat(channels[:500], []string{"secret"}, channels[500:])
	w.populate(all)
	w.up()
	w.subscribed() // whoever asked for the other one does not wait for ever either
	w.hearsAll(channels)
	eventually(t, "it is asked for again", func() bool { return w.Stats().Refused > 1 })
	if n := strings.Count(w.log.String(), "redis refuses a channel"); n != 1 {
		t.Errorf("%d lines about it, want one:\n%s", n, w.log)
	}
	_, before := w.verdict()
	server.Do("ACL", "SETUSER", "bell", "&notifications:*")
	eventually(t, "it is heard when it is allowed", func() bool { return w.Stats().Channels == len(all) })
	w.hearsAll(all)
	_, gaps := w.verdict()
	if gaps["secret"] <= before["secret"] {
		t.Error("the channel that was refused had no gap when it was heard")
	}
	if gaps["user:7"] != before["user:7"] {
		t.Error("another channel was told a gap")
	}
	if st := w.Stats(); st.Reconnects > 0 {
		t.Errorf("Stats = %+v: the link was lost", st)
	}
}
