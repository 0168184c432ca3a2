package host

import (
	"bufio"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Machine is where figures come from; without it they mean nothing.
type Machine struct {
	CPU    string `json:"cpu"`
	CPUs   int    `json:"cpus"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
	Commit string `json:"commit,omitempty"` // of bench, when it was built from a checkout
	Memory int64  `json:"memory,omitempty"` // bytes
	Files  uint64 `json:"files,omitempty"`  // that a process may open
}

// ThisMachine describes the one we run on.
func ThisMachine() Machine {
	m := Machine{CPUs: runtime.NumCPU(), Go: runtime.Version()}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, s := range build.Settings {
			if s.Key == "vcs.revision" {
				m.Commit = s.Value
			}
		}
	}
	if mem, err := ReadMemory(); err == nil {
		m.Memory = mem.Total
	}
	m.Files, _ = OpenFiles() // 0: unknown
	return m
}

// OpenFiles is how many files this process may have open. Go raises the soft limit to the hard one by itself.
func OpenFiles() (uint64, error) {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return 0, os.NewSyscallError("getrlimit", err)
	}
	return files.Cur, nil
}

// Memory is what /proc/meminfo says, in bytes.
type Memory struct {
	Total, Available int64
	Slab             int64 // what the kernel holds in objects: sockets, files, directory entries
}

// ReadMemory looks at the machine's memory.
func ReadMemory() (m Memory, err error) {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return m, err
	}
	defer f.Close() //nolint:errcheck // only read
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 {
			continue
		}
		kib, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			continue // not one of ours
		}
		switch fields[0] {
		case "MemTotal:":
			m.Total = kib << 10
		case "MemAvailable:":
			m.Available = kib << 10
		case "Slab:":
			m.Slab = kib << 10
		}
	}
	return m, lines.Err()
}
