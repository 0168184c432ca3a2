package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Host is what the checks read. [ThisHost] is the machine that the program runs on; tests make up others.
type Host struct {
	FS          fs.FS // its root: proc/sys, proc/meminfo, sys/fs/cgroup, …
	CPUs        int   // that the process may use
	PageSize    int
	MemoryLimit int64 // Go's, as set by GOMEMLIMIT; math.MaxInt64 is none
	FileLimit   func() (soft, hard uint64, err error)
	ClockSynced func() (bool, error)
}

// ThisHost returns the machine that the program runs on.
func ThisHost() Host {
	return Host{
		FS: os.DirFS("/"), CPUs: runtime.NumCPU(), PageSize: os.Getpagesize(), MemoryLimit: debug.SetMemoryLimit(-1),
		FileLimit:   fileLimit,
		ClockSynced: clockSynced,
	}
}

func fileLimit() (soft, hard uint64, err error) {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return 0, 0, os.NewSyscallError("getrlimit", err)
	}
	return lim.Cur, lim.Max, nil
}

// clockSynced asks the kernel whether its clock is synchronized. That needs no privilege.
func clockSynced() (bool, error) {
	var tx unix.Timex
	state, err := unix.Adjtimex(&tx)
	if err != nil {
		return false, os.NewSyscallError("adjtimex", err)
	}
	return state != unix.TIME_ERROR && tx.Status&unix.STA_UNSYNC == 0, nil
}

// text returns the content of a file without the white space around it.
func (h Host) text(name string) (string, error) {
	b, err := fs.ReadFile(h.FS, name)
	return strings.TrimSpace(string(b)), err
}

// numbers returns the fields of a file that consists of numbers.
func (h Host) numbers(name string) ([]uint64, error) {
	text, err := h.text(name)
	if err != nil {
		return nil, err
	}
	var out []uint64
	for field := range strings.FieldsSeq(text) {
		n, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, n)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s is empty", name)
	}
	return out, nil
}

// sysctlFile returns the file of a sysctl key.
func sysctlFile(key string) string { return path.Join("proc/sys", strings.ReplaceAll(key, ".", "/")) }

// meminfo returns a line of /proc/meminfo in bytes.
func (h Host) meminfo(name string) (uint64, error) {
	text, err := h.text("proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		if key != name {
			continue
		}
		kib, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		return kib << 10, err
	}
	return 0, fmt.Errorf("/proc/meminfo has no %s", name)
}

// unreadable says why a file could not be read, for people.
func unreadable(name string, err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return "/" + name + " does not exist here"
	}
	return err.Error()
}
