package doctor

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// find returns the result of a check; there must be exactly one.
func find(t *testing.T, results []Result, check string) Result {
	t.Helper()
	var found []Result
	for _, r := range results {
		if r.Check == check {
			found = append(found, r)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d results of %q in %v", len(found), check, results)
	}
	return found[0]
}

func TestAHostThatFits(t *testing.T) {
	t.Parallel()
	h, _ := bigHost()
	results := Examine(h, million())
	for _, r := range results {
		wantSkip := strings.HasPrefix(r.Check, "net.netfilter.")
		if r.Status != OK && (!wantSkip || r.Status != Skip) {
			t.Errorf("%+v, want ok", r)
		}
		if r.Fix != "" {
			t.Errorf("%s is %s and has a fix: %s", r.Check, r.Status, r.Fix)
		}
		if r.Value == "" || r.Why == "" || r.Source == "" {
			t.Errorf("%+v lacks its value, reason or source", r)
		}
	}
	if got := Worst(results); got != OK {
		t.Errorf("Worst = %s", got)
	}
}

// TestEachLimit changes one thing at a time. Exactly that check must find it and name the command that helps.
func TestEachLimit(t *testing.T) {
	t.Parallel()
	const thp, group = "sys/kernel/mm/transparent_hugepage/", "sys/fs/cgroup/system.slice/"
	file := func(name, text string) func(*Host, fstest.MapFS) {
		return func(_ *Host, files fstest.MapFS) { set(files, name, text) }
	}
	tests := []struct {
		name   string
		spoil  func(*Host, fstest.MapFS)
		check  string
		status Status
		fix    string
	}{
		{"files", func(h *Host, _ fstest.MapFS) {
			h.FileLimit = func() (uint64, uint64, error) { return 1024, 524_288, nil }
		}, "open files", Fail, "ulimit -n 1000400"},
		{"files, hard limit is enough", func(h *Host, _ fstest.MapFS) {
			h.FileLimit = func() (uint64, uint64, error) { return 1024, 1_000_400, nil }
		}, "open files", OK, ""},
		{"files unknown", func(h *Host, _ fstest.MapFS) {
			h.FileLimit = func() (uint64, uint64, error) { return 0, 0, errNo }
		}, "open files", Skip, ""},
		{"nr_open", file("proc/sys/fs/nr_open", "1001023"), "fs.nr_open", Fail, "sysctl -w fs.nr_open=1001024"},
		{"nr_open just enough", file("proc/sys/fs/nr_open", "1001024"), "fs.nr_open", OK, ""},
		{"file-max", file("proc/sys/fs/file-max", "800000"), "fs.file-max", Fail, "sysctl -w fs.file-max=2100000"},
		{"epoll", file("proc/sys/fs/epoll/max_user_watches", "500000"), "fs.epoll.max_user_watches", Fail, "=1125000"},
		{"somaxconn", file("proc/sys/net/core/somaxconn", "128"), "net.core.somaxconn", Warn, "=65535"},
		{"syn backlog", file("proc/sys/net/ipv4/tcp_max_syn_backlog", "2048"), "net.ipv4.tcp_max_syn_backlog", Warn, "=65536"},
		{"syncookies", file("proc/sys/net/ipv4/tcp_syncookies", "0"), "net.ipv4.tcp_syncookies", Warn, "=1"},
		{"wmem_max", file("proc/sys/net/core/wmem_max", "16384"), "net.core.wmem_max", Warn, "=65536"},
		{"tcp_mem, one field larger than needed", file("proc/sys/net/ipv4/tcp_mem", "700000 700000 900000"), "net.ipv4.tcp_mem", Warn, "'700000 880000 1320000'"},
		{"tcp_mem hidden", func(_ *Host, files fstest.MapFS) { delete(files, "proc/sys/net/ipv4/tcp_mem") }, "net.ipv4.tcp_mem", Skip, ""},
		{"tcp_mem odd", file("proc/sys/net/ipv4/tcp_mem", "700000"), "net.ipv4.tcp_mem", Skip, ""},
		{"slow consumers", file("proc/sys/net/ipv4/tcp_mem", "287898 383865 575796"), "net.ipv4.tcp_wmem", Warn, "-send-buffer 57KiB"},
		{"conntrack at work", func(_ *Host, files fstest.MapFS) {
			set(files, "proc/sys/net/netfilter/nf_conntrack_max", "262144")
			set(files, "proc/sys/net/netfilter/nf_conntrack_count", "1200")
		}, "net.netfilter.nf_conntrack_max", Fail, "=2065536"},
		{"conntrack idle", func(_ *Host, files fstest.MapFS) {
			set(files, "proc/sys/net/netfilter/nf_conntrack_max", "262144")
			set(files, "proc/sys/net/netfilter/nf_conntrack_count", "0")
		}, "net.netfilter.nf_conntrack_max", Warn, "=2065536"},
		{"conntrack buckets", file("proc/sys/net/netfilter/nf_conntrack_buckets", "65536"), "net.netfilter.nf_conntrack_buckets", Warn, "=516384"},
		{"swap", file("proc/meminfo", "MemTotal: 65536000 kB\nSwapTotal: 1000 kB\n"), "vm.swappiness", Warn, "sysctl -w vm.swappiness=10"},
		{"a port of ours is anybody's", file("proc/sys/net/ipv4/ip_local_port_range", "1024 65535"), "net.ipv4.ip_local_port_range", Warn, "ip_local_reserved_ports=8080,9090"},
		{"one port is reserved", func(_ *Host, files fstest.MapFS) {
			set(files, "proc/sys/net/ipv4/ip_local_port_range", "1024 65535")
			set(files, "proc/sys/net/ipv4/ip_local_reserved_ports", "9000-9100")
		}, "net.ipv4.ip_local_port_range", Warn, "ip_local_reserved_ports=9000-9100,8080"},
		{"memory", file("proc/meminfo", "MemTotal: 8000000 kB\n"), "memory", Fail, "this host can hold "},
		{"container's memory", file(group+"memory.max", "4294967296"), "cgroup memory", Fail, "MemoryMax="},
		{"container's memory in version 1", func(_ *Host, files fstest.MapFS) {
			set(files, "proc/self/cgroup", "5:cpuset:/\n4:memory:/docker/abc\n0::/\n")
			set(files, "sys/fs/cgroup/memory/memory.limit_in_bytes", "4294967296")
		}, "cgroup memory", Fail, "docker update --memory"},
		{"no limit in version 1", func(_ *Host, files fstest.MapFS) {
			set(files, "proc/self/cgroup", "4:memory:/docker/abc\n")
			set(files, "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712")
		}, "cgroup memory", OK, ""},
		{"GOMEMLIMIT missing in a container", file(group+"memory.max", "17179869184"), "GOMEMLIMIT", Warn, "-memory-limit 6933MiB"},
		{"GOMEMLIMIT leaves the kernel nothing", func(h *Host, files fstest.MapFS) {
			h.MemoryLimit = 16 << 30
			set(files, group+"memory.max", "17179869184")
		}, "GOMEMLIMIT", Warn, "-memory-limit 6933MiB"},
		{"GOMEMLIMIT as it should be", func(h *Host, files fstest.MapFS) {
			h.MemoryLimit = 6 << 30
			set(files, group+"memory.max", "17179869184")
		}, "GOMEMLIMIT", OK, ""},
		{"GOMEMLIMIT below what is alive", func(h *Host, _ fstest.MapFS) { h.MemoryLimit = 100 << 20 }, "GOMEMLIMIT", Warn, "collects garbage all the time"},
		{"huge pages", file(thp+"enabled", "[always] madvise never"), "transparent huge pages", Warn, "echo madvise >"},
		{"huge pages without harm", func(_ *Host, files fstest.MapFS) {
			set(files, thp+"enabled", "[always] madvise never")
			set(files, thp+"khugepaged/max_ptes_none", "0")
		}, "transparent huge pages", OK, ""},
		{"quota", file("sys/fs/cgroup/system.slice/carillon.service/cpu.max", "250000 100000"), "CPU quota", Warn, "-loops 2,"},
		{"quota of the parent", file(group+"cpu.max", "50000 100000"), "CPU quota", Warn, "-loops 1,"},
		{"quota in version 1", func(_ *Host, files fstest.MapFS) {
			set(files, "proc/self/cgroup", "2:cpu,cpuacct:/x\n")
			set(files, "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us", "400000")
			set(files, "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us", "100000")
		}, "CPU quota", Warn, "-loops 4,"},
		{"slow clock", file(clockDir+"current_clocksource", "hpet"), "clock source", Warn, "echo tsc > /"},
		{"clock runs free", func(h *Host, _ fstest.MapFS) { h.ClockSynced = func() (bool, error) { return false, nil } }, "clock", Warn, "set-ntp"},
		{"clock unknown", func(h *Host, _ fstest.MapFS) { h.ClockSynced = func() (bool, error) { return false, errNo } }, "clock", Skip, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h, files := bigHost()
			tt.spoil(&h, files)
			results := Examine(h, million())
			r := find(t, results, tt.check)
			if r.Status != tt.status || !strings.Contains(r.Fix, tt.fix) || (tt.fix == "") != (r.Fix == "") {
				t.Errorf("%s = %s, fix %q; want %s, %q", tt.check, r.Status, r.Fix, tt.status, tt.fix)
			}
			for _, other := range results {
				related := other.Check == tt.check || tt.check == "net.ipv4.tcp_wmem" && other.Check == "net.ipv4.tcp_mem" ||
					tt.check == "net.ipv4.tcp_mem" && other.Check == "net.ipv4.tcp_wmem" ||
					strings.Contains(tt.name, "memory") && (other.Check == "net.ipv4.tcp_mem" || other.Check == "GOMEMLIMIT")
				if !related && other.Status != OK && other.Status != Skip {
					t.Errorf("%s notices as well: %+v", other.Check, other)
				}
			}
		})
	}
}

// TestFewConnectionsNeedLittle: for few connections a small host with the kernel's defaults needs no change.
func TestFewConnectionsNeedLittle(t *testing.T) {
	t.Parallel()
	h, files := bigHost()
	for name, text := range map[string]string{
		"proc/meminfo":                          "MemTotal: 2000000 kB\n",
		"proc/sys/fs/file-max":                  "190000",
		"proc/sys/fs/epoll/max_user_watches":    "440000",
		"proc/sys/net/core/somaxconn":           "4096",
		"proc/sys/net/ipv4/tcp_max_syn_backlog": "1024",
		"proc/sys/net/ipv4/tcp_mem":             "21000 28000 42000",
	} {
		set(files, name, text)
	}
	h.FileLimit = func() (uint64, uint64, error) { return 1024, 524_288, nil }
	h.CPUs = 1
	p := Plan{Connections: 10_000, Files: 10_400, SendBuffer: 64 << 10, Ports: []int{8080, 9090}}
	if got := Worst(Examine(h, p)); got != OK {
		t.Errorf("a small host must be good enough for 10,000 connections: %+v", Examine(h, p))
	}
}

// TestAProxyHereNeedsMore: a proxy on the host needs twice the files, and ports.
func TestAProxyHereNeedsMore(t *testing.T) {
	t.Parallel()
	h, _ := bigHost()
	p := million()
	p.Proxy = true
	results := Examine(h, p)
	for check, fix := range map[string]string{
		"fs.nr_open":                   "sysctl -w fs.nr_open=2001024",
		"net.ipv4.ip_local_port_range": "sysctl -w net.ipv4.ip_local_port_range='10000 65535'",
	} {
		if r := find(t, results, check); r.Status != Fail || r.Fix != fix {
			t.Errorf("%s = %s, %q; want FAIL, %q", check, r.Status, r.Fix, fix)
		}
	}
	if r := find(t, results, "net.ipv4.ip_local_port_range"); r.Needed != "10000 65535, and gateways at 19 addresses or more" {
		t.Errorf("needed: %s; 55,536 ports to each address", r.Needed)
	}
}

// TestFixesComeInOrder: the fixes work if they are typed from top to bottom.
func TestFixesComeInOrder(t *testing.T) {
	t.Parallel()
	results := Examine(ThisHost(), million())
	at := func(check string) int {
		return slices.IndexFunc(results, func(r Result) bool { return r.Check == check })
	}
	if at("open files") < at("fs.nr_open") {
		t.Error("ulimit -n comes before the fs.nr_open that allows it")
	}
}

// TestAContainerAsLargeAsTold: a container with the limit that the doctor names has room for a GOMEMLIMIT too.
func TestAContainerAsLargeAsTold(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1000, 100_000, 1_000_000, 5_000_000} {
		h, files := bigHost()
		p := million()
		p.Connections = n
		const limit = "sys/fs/cgroup/system.slice/carillon.service/memory.max"
		set(files, limit, "1048576")
		var mib uint64
		if fix := find(t, Examine(h, p), "cgroup memory").Fix; fix != "" {
			if _, err := fmt.Sscanf(fix, "MemoryMax=%dM", &mib); err != nil {
				t.Fatalf("%q: %v", fix, err)
			}
		}
		set(files, limit, fmt.Sprint(mib<<20))
		results := Examine(h, p)
		if r := find(t, results, "cgroup memory"); r.Status != OK {
			t.Errorf("%d connections: %+v", n, r)
		}
		if r := find(t, results, "GOMEMLIMIT"); r.Status != Warn || !strings.HasPrefix(r.Fix, "gateway -memory-limit ") {
			t.Errorf("%d connections: %+v, want it told", n, r)
		}
	}
}

// TestRaisedOnlyIfItHelps: tcp_mem is never raised to more than a quarter of the memory.
func TestRaisedOnlyIfItHelps(t *testing.T) {
	t.Parallel()
	h, files := bigHost()
	p := million()
	set(files, "proc/sys/net/ipv4/tcp_mem", "287898 383865 575796")
	if r := find(t, Examine(h, p), "net.ipv4.tcp_wmem"); !strings.HasSuffix(r.Fix, "or raise net.ipv4.tcp_mem as above") {
		t.Errorf("%+v", r)
	}
	set(files, "proc/meminfo", "MemTotal: 4194304 kB\nSwapTotal: 0 kB\n")
	if r := find(t, Examine(h, p), "net.ipv4.tcp_wmem"); r.Status != Warn || strings.Contains(r.Fix, "tcp_mem") {
		t.Errorf("4 GiB: %+v", r)
	}
}

// TestNothingReadable: on a host where no file can be read, checks are skipped; nothing is guessed.
func TestNothingReadable(t *testing.T) {
	t.Parallel()
	h := Host{
		FS: fstest.MapFS{}, CPUs: 1, PageSize: 4096, MemoryLimit: math.MaxInt64,
		FileLimit:   func() (uint64, uint64, error) { return 0, 0, errNo },
		ClockSynced: func() (bool, error) { return false, errNo },
	}
	for _, r := range Examine(h, million()) {
		knowable := r.Check == "cgroup memory" || r.Check == "GOMEMLIMIT" || r.Check == "CPU quota" // without a control group there is no limit
		if r.Status != Skip && !knowable {
			t.Errorf("%+v, want skip", r)
		}
	}
}

// TestTheMachineItRunsOn reads the files of this machine; those that exist must be understood.
func TestTheMachineItRunsOn(t *testing.T) {
	t.Parallel()
	results := Examine(ThisHost(), Plan{Connections: 1, Files: 64, SendBuffer: 64 << 10})
	for _, check := range []string{"open files", "fs.nr_open", "fs.file-max", "net.core.somaxconn", "memory"} {
		if r := find(t, results, check); r.Status != OK {
			t.Errorf("one connection on this machine: %+v", r)
		}
	}
}
