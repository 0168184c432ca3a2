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

// TestTuneHostHasTheSameTable runs scripts/tune-host.sh --check on made-up hosts. For each parameter the script must want
// the same value as Settings. The table is there twice, in two languages, because a host that is tuned has no Go.
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
					h.PageSize = os.Getpagesize() // as the script reads it
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

// runCheck runs the script on a copy of the made-up host. It returns the value that each parameter should have, and
// whether the exit status says that a value is too low.
func runCheck(t *testing.T, files fstest.MapFS, args ...string) (wanted map[string]string, low bool) {
	t.Helper()
	cmd := tuneHost(t, writeHost(t, files), args...)
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

// writeHost writes the files of a made-up host, so that the script can change them.
func writeHost(t *testing.T, files fstest.MapFS) (root string) {
	t.Helper()
	root = t.TempDir()
	for name, file := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(file.Data, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// tuneHost returns a command that runs the script on such a host.
func tuneHost(t *testing.T, root string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "../../scripts/tune-host.sh", args...)
	cmd.Env = append(os.Environ(), "TUNE_HOST_ROOT="+root)
	return cmd
}

// lowHost is a made-up host with three parameters that are too low for a million, and their files.
func lowHost(t *testing.T) (root string, low map[string]string) {
	t.Helper()
	_, files := bigHost()
	low = map[string]string{"net.core.somaxconn": "128", "net.ipv4.tcp_max_syn_backlog": "512", "net.netfilter.nf_conntrack_max": "65536"}
	for key, value := range low {
		set(files, sysctlFile(key), value)
	}
	return writeHost(t, files), low
}

func readTrimmed(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// TestTuneHostInterrupted kills the script when it starts its first or its second program. The script can then undo what it
// has changed.
func TestTuneHostInterrupted(t *testing.T) {
	t.Parallel()
	for at := 1; at <= 2; at++ {
		root, low := lowHost(t)
		bin := t.TempDir()
		killer := fmt.Sprintf("#!/bin/sh\necho >>%[1]s/calls\n[ $(wc -l <%[1]s/calls) -ne %[2]d ] || kill -KILL $PPID\nexec /bin/grep \"$@\"\n", bin, at)
		if err := os.WriteFile(filepath.Join(bin, "grep"), []byte(killer), 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := tuneHost(t, root, "--apply", "--only", "net.core.")
		cmd.Env = append(cmd.Env, "PATH="+bin+":"+os.Getenv("PATH"))
		_ = cmd.Run() // the script is killed, unless it has ended
		undo := readTrimmed(t, filepath.Join(root, "var/lib/carillon/tune-host.undo"))
		for key, value := range low {
			is := readTrimmed(t, filepath.Join(root, sysctlFile(key)))
			if is != value && !strings.Contains(undo, key+"="+value) {
				t.Errorf("killed at program %d: %s was changed from %s to %s, and --undo knows only %q", at, key, value, is, undo)
			}
		}
	}
}

// TestTuneHostKeepsTheOthers: a run for some parameters does not change the others, also not after a restart of the host.
func TestTuneHostKeepsTheOthers(t *testing.T) {
	t.Parallel()
	root, low := lowHost(t)
	for _, args := range [][]string{{"--apply", "--only", "net."}, {"--apply", "--only", "net.core."}} {
		if out, err := tuneHost(t, root, args...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v: %s", args, err, out)
		}
	}
	conf := readTrimmed(t, filepath.Join(root, "etc/sysctl.d/90-carillon.conf"))
	for key := range low {
		if is := readTrimmed(t, filepath.Join(root, sysctlFile(key))); !strings.Contains(conf, key+" = "+is) {
			t.Errorf("%s is %s, and after a restart it is not: %s", key, is, conf)
		}
	}
}

// TestTuneHostUndoesWhatIsThere: the undo works although the parameters of a module are gone with the module.
func TestTuneHostUndoesWhatIsThere(t *testing.T) {
	t.Parallel()
	root, low := lowHost(t)
	if out, err := tuneHost(t, root, "--apply", "--only", "net.").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.RemoveAll(filepath.Join(root, "proc/sys/net/netfilter")); err != nil {
		t.Fatal(err)
	}
	if out, err := tuneHost(t, root, "--undo").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if is := readTrimmed(t, filepath.Join(root, sysctlFile("net.core.somaxconn"))); is != low["net.core.somaxconn"] {
		t.Errorf("somaxconn is %s", is)
	}
	for _, name := range []string{"etc/sysctl.d/90-carillon.conf", "var/lib/carillon/tune-host.undo"} {
		if text := readTrimmed(t, filepath.Join(root, name)); text != "" {
			t.Errorf("%s is left behind: %s", name, text)
		}
	}
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

// shell runs a command as the doctor prints it.
func shell(t *testing.T, command string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
}

// TestFixesHelp runs the fixes of the doctor in a network namespace of its own, and checks again.
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
