package client

import (
	"net/netip"
	"strings"
	"testing"
)

func TestSourceAddresses(t *testing.T) {
	t.Parallel()
	loopback := []Target{{Addr: netip.MustParseAddrPort("127.0.0.1:8080")}, {Addr: netip.MustParseAddrPort("127.0.0.1:8081")}}
	remote := []Target{{Addr: netip.MustParseAddrPort("192.0.2.1:8080")}}
	for _, tt := range []struct {
		name       string
		targets    []Target
		sources    []string
		connection int
		want       string
	}{
		{"the first", loopback, nil, 0, "127.0.0.2"},
		{"the last of an address", loopback, nil, 2499, "127.0.0.2"},
		{"the next address", loopback, nil, 2500, "127.0.0.3"},
		{"the last of a million", loopback, nil, 999_999, "127.0.1.145"},
		{"remote", remote, nil, 7, "invalid IP"},
		{"one remote target", append(remote, loopback...), nil, 7, "invalid IP"},
		{"given ones, in turn", remote, []string{"10.0.0.1", "10.0.0.2"}, 3, "10.0.0.2"},
	} {
		d, err := newDialer(tt.targets, tt.sources)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.source(tt.connection).String(); got != tt.want {
			t.Errorf("%s: connection %d comes from %s, want %s", tt.name, tt.connection, got, tt.want)
		}
	}
	if _, err := newDialer(remote, []string{"::1"}); err == nil {
		t.Error("a source that is no IPv4 address is accepted")
	}
}

func TestPortsNameTheFix(t *testing.T) {
	t.Parallel()
	if err := checkPorts(2*28_232, 2, 32768, 60999); err != nil {
		t.Errorf("as many connections as two addresses have ports: %v", err)
	}
	if err := checkPorts(28_233, 1, 32768, 60999); err == nil || !strings.Contains(err.Error(), "ip_local_port_range") {
		t.Errorf("28,233 connections over the default range: %v, want the fix", err)
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]Target{
		"ws://127.0.0.1:8080/ws":   {netip.MustParseAddrPort("127.0.0.1:8080"), "127.0.0.1:8080", "/ws"},
		"ws://127.0.0.1/ws?user=7": {netip.MustParseAddrPort("127.0.0.1:80"), "127.0.0.1", "/ws?user=7"},
		"ws://127.0.0.1:9":         {netip.MustParseAddrPort("127.0.0.1:9"), "127.0.0.1:9", "/"},
		"ws://[::1]:8080/":         {netip.MustParseAddrPort("[::1]:8080"), "[::1]:8080", "/"},
	} {
		if got, err := Resolve(in); got != want || err != nil {
			t.Errorf("Resolve(%q) = %+v, %v, want %+v", in, got, err, want)
		}
	}
}
