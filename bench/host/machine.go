package host

import (
	"cmp"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/prometheus/procfs"
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
	if fs, err := procfs.NewDefaultFS(); err == nil {
		if cpus, err := fs.CPUInfo(); err == nil && len(cpus) > 0 {
			m.CPU = cpus[0].ModelName
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
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return m, err
	}
	info, err := fs.Meminfo()
	if err != nil {
		return m, err
	}
	bytes := func(n *uint64) int64 { return int64(*cmp.Or(n, new(uint64))) }
	return Memory{Total: bytes(info.MemTotalBytes), Available: bytes(info.MemAvailableBytes), Slab: bytes(info.SlabBytes)}, nil
}
