package main

import (
	"net/netip"
	"strings"
	"testing"
)

func TestSourceAddresses(t *testing.T) {
	t.Parallel()
	loopback := target{addr: netip.MustParseAddrPort("127.0.0.1:8080")}
	for _, tt := range []struct {
		connections, want int
		last              string
	}{
		{1, 1, "127.0.0.2"},
		{2500, 1, "127.0.0.2"},
		{2501, 2, "127.0.0.3"},
		{10000, 4, "127.0.0.5"},
		{1_000_000, 400, "127.0.1.145"},
	} {
		d := newDialer(loopback, tt.connections)
		if len(d.sources) != tt.want || d.sources[len(d.sources)-1].String() != tt.last {
			t.Errorf("%d connections: %d sources, the last %v, want %d and %s", tt.connections, len(d.sources), d.sources[len(d.sources)-1], tt.want, tt.last)
		}
	}
	if d := newDialer(target{addr: netip.MustParseAddrPort("192.0.2.1:8080")}, 10000); len(d.sources) != 0 {
		t.Errorf("a remote target gets source addresses %v, want the kernel's choice", d.sources)
	}
}

func TestLimitsNameTheFix(t *testing.T) {
	t.Parallel()
	if err := checkFiles(19_900, 20_000); err != nil {
		t.Errorf("19,900 connections with 20,000 files: %v", err)
	}
	if err := checkFiles(20_000, 20_000); err == nil || !strings.Contains(err.Error(), "ulimit -n 20064") {
		t.Errorf("20,000 connections with 20,000 files: %v, want the fix", err)
	}
	if err := checkPorts(28_232, 32768, 60999); err != nil {
		t.Errorf("28,232 connections over the default range: %v", err)
	}
	if err := checkPorts(28_233, 32768, 60999); err == nil || !strings.Contains(err.Error(), "ip_local_port_range") {
		t.Errorf("28,233 connections over the default range: %v, want the fix", err)
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]target{
		"ws://127.0.0.1:8080/ws":   {netip.MustParseAddrPort("127.0.0.1:8080"), "127.0.0.1:8080", "/ws"},
		"ws://127.0.0.1/ws?user=7": {netip.MustParseAddrPort("127.0.0.1:80"), "127.0.0.1", "/ws?user=7"},
		"ws://127.0.0.1:9":         {netip.MustParseAddrPort("127.0.0.1:9"), "127.0.0.1:9", "/"},
		"ws://[::1]:8080/":         {netip.MustParseAddrPort("[::1]:8080"), "[::1]:8080", "/"},
	} {
		if got, err := resolve(t.Context(), in); got != want || err != nil {
			t.Errorf("resolve(%q) = %+v, %v, want %+v", in, got, err, want)
		}
	}
}
