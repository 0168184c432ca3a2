package doctor

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// TestTuneHostHasTheSameTable runs scripts/tune-host.sh --check on made-up hosts and wants of each parameter what
// Settings wants: one truth, in two languages because a host to be tuned has no Go.
func TestTuneHostHasTheSameTable(t *testing.T) {
	t.Parallel()
	small := func(files fstest.MapFS) {
		set(files, "proc/meminfo", "MemTotal: 2048000 kB\nSwapTotal: 1024 kB\n")
		set(files, "proc/sys/fs/nr_open", "524288")
		set(files, "proc/sys/fs/epoll/max_user_watches", "300000")
		set(files, "proc/sys/net/core/somaxconn", "128")
		set(files, "proc/sys/net/ipv4/tcp_mem", "20000 700000 60000")
		set(files, "proc/sys/net/netfilter/nf_conntrack_max", "65536")
		set(files, "sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never")
	}
	for name, spoil := range map[string]func(fstest.MapFS){"big": func(fstest.MapFS) {}, "small": small} {
		for _, n := range []int{1, 49_999, 50_000, 1_234_567} {
			for _, proxy := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s host, %d connections, proxy %t", name, n, proxy), func(t *testing.T) {
					t.Parallel()
					h, files := bigHost()
					h.PageSize = os.Getpagesize() // as the script finds it
					spoil(files)
					p := Plan{Connections: n, SendBuffer: 64 << 10, Proxy: proxy}
					args := []string{"--check", "--connections", strconv.Itoa(n)}
					if proxy {
						args = append(args, "--proxy")
					}
					got, low := runCheck(t, files, args...)
					want := map[string]string{}
					wantLow := false
					for _, s := range Settings(h, p) {
						want[s.Key] = "skip"
						if s.Now != nil {
							want[s.Key] = joined(s.Want)
							wantLow = wantLow || !s.Enough()
						}
					}
					want["transparent_hugepage"] = "madvise"
					wantLow = wantLow || hugePages(h).Status == Warn
					for key, value := range want {
						if got[key] != value {
							t.Errorf("%s: the script wants %q, the doctor %q", key, got[key], value)
						}
					}
					if len(got) != len(want) {
						t.Errorf("the script knows %v, the doctor %v", got, want)
					}
					if low != wantLow {
						t.Errorf("the script says that something is low: %t; the doctor: %t", low, wantLow)
					}
				})
			}
		}
	}
}

// runCheck runs the script on a copy of the made-up host. It returns what each parameter should be, and whether
// the exit status says that something is not.
func runCheck(t *testing.T, files fstest.MapFS, args ...string) (wanted map[string]string, low bool) {
	t.Helper()
	root := t.TempDir()
	for name, file := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(file.Data, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "../../scripts/tune-host.sh", args...)
	cmd.Env = append(os.Environ(), "TUNE_HOST_ROOT="+root)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var status *exec.ExitError
	if err != nil && (!errors.As(err, &status) || status.ExitCode() != 1) || stderr.Len() > 0 {
		t.Fatalf("tune-host.sh %v: %v: %s", args, err, &stderr)
	}
	wanted = map[string]string{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		key, rest := fields[1], strings.Join(fields[2:], " ")
		if _, needed, found := strings.Cut(rest, "; needed: "); found {
			rest = needed
		}
		if fields[0] == "skip" {
			rest = "skip"
		}
		wanted[key] = rest
	}
	return wanted, err != nil
}

// TestTuneHostForReal applies the script to a real kernel and undoes it, in a network namespace.
func TestTuneHostForReal(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "../../scripts/test-tune-host.sh").CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	if text, skipped := strings.CutPrefix(string(out), "skip: "); skipped {
		t.Skip(text)
	}
}

// shell types a command as the doctor tells it.
func shell(t *testing.T, command string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
}

// TestFixesHelp types what the doctor tells, in a network namespace of its own, and asks again.
func TestFixesHelp(t *testing.T) {
	const inside = "CARILLON_DOCTOR_TEST_INSIDE"
	if os.Getenv(inside) == "" {
		t.Parallel()
		if _, err := exec.LookPath("sysctl"); err != nil {
			t.Skip("this machine has no sysctl command (procps)")
		}
		if err := exec.CommandContext(t.Context(), "unshare", "--net", "true").Run(); err != nil {
			t.Skip("this machine allows no network namespace (unshare --net), so no fix was typed")
		}
		cmd := exec.CommandContext(t.Context(), "unshare", "--net", os.Args[0], "-test.run=^TestFixesHelp$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestFixesHelp") {
			t.Errorf("%v:\n%s", err, out)
		}
		return
	}
	p := Plan{Connections: 1_000_000, SendBuffer: 64 << 10, Proxy: true}
	for _, check := range []string{"net.core.somaxconn", "net.ipv4.tcp_max_syn_backlog", "net.ipv4.ip_local_port_range"} {
		sick := find(t, Examine(ThisHost(), p), check)
		if sick.Fix == "" {
			t.Errorf("a new namespace has its %s tuned: %+v", check, sick)
			continue
		}
		shell(t, sick.Fix)
		if r := find(t, Examine(ThisHost(), p), check); r.Status != OK {
			t.Errorf("after %q: %+v", sick.Fix, r)
		}
	}
}
