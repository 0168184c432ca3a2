package coordinator

import (
	"strings"
	"testing"

	"github.com/carillon-ws/carillon/bench/report"
	"github.com/carillon-ws/carillon/bench/settings"
)

func TestPreflightNamesLimitAndFix(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name                   string
		connections, processes int
		check                  func(int, int, uint64, *report.Preflight) error
		want                   string // empty: it fits
	}{
		{"one process, fits", 19_936, 1, checkClientFiles, ""},
		{"one process, does not", 19_937, 1, checkClientFiles, "ulimit -n 20001), or take more processes (-procs 2)"},
		{"a million in 51", 1_000_000, 51, checkClientFiles, ""},
		{"a million in 50", 1_000_000, 50, checkClientFiles, "-procs 51"},
		{"a gateway, fits", 19_680, 1, checkGatewayFiles, ""},
		{"a gateway, does not", 19_681, 1, checkGatewayFiles, "-fleet 2"},
		{"a million at 50", 1_000_000, 50, checkGatewayFiles, "ulimit -n 20320), or start more gateways (-fleet 51)"},
		{"a million at 53", 1_000_000, 53, checkGatewayFiles, ""},
	} {
		err := tt.check(tt.connections, tt.processes, 20_000, new(report.Preflight))
		if (err == nil) != (tt.want == "") || (err != nil && !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestMemoryArithmetic(t *testing.T) {
	t.Parallel()
	cfg := &settings.Config{Connections: 1_000_000}
	const need = 1_000_000*(2*kernelEach+kernelFrame+gatewayEach+workerEach) + 53*gatewayBase + 53*workerBase + redisBase
	p := &report.Preflight{MemoryAvailable: need}
	if err := checkMemory(cfg, 53, 53, p); err != nil || p.MemoryNeeded != need || len(p.Lines) < 6 {
		t.Errorf("%v; %d bytes in %d lines, want %d: all of both ends", err, p.MemoryNeeded, len(p.Lines), int64(need))
	}
	p = &report.Preflight{MemoryAvailable: need - 1}
	if err := checkMemory(cfg, 53, 53, p); err == nil || !strings.Contains(err.Error(), "MiB are available") {
		t.Errorf("a byte too few: %v, want a refusal", err)
	}
	// Clients elsewhere cost nothing here.
	cfg.Workers = []string{"a:1"}
	p = &report.Preflight{MemoryAvailable: need}
	if err := checkMemory(cfg, 53, 0, p); err != nil || p.MemoryNeeded != need-1_000_000*(kernelEach+kernelFrame+workerEach)-53*workerBase {
		t.Errorf("%v; %d bytes with the clients elsewhere", err, p.MemoryNeeded)
	}
}

func TestProcessesFollowTheFileLimit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		connections, given int
		files              uint64
		want               int
	}{
		{10_000, 0, 20_000, 0},
		{19_936, 0, 20_000, 0},
		{19_937, 0, 20_000, 2},
		{1_000_000, 0, 20_000, 51},
		{1_000_000, 0, 1 << 20, 0},
		{1_000_000, 53, 20_000, 53},
	} {
		if got := processes(&settings.Config{Connections: tt.connections, Procs: tt.given}, tt.files); got != tt.want {
			t.Errorf("%d connections, -procs %d, %d files: %d processes, want %d", tt.connections, tt.given, tt.files, got, tt.want)
		}
	}
}
