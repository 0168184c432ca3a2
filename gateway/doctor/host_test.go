package doctor

import (
	"errors"
	"math"
	"testing/fstest"
)

// bigHost returns a made-up host that can hold a million connections. Each test changes one thing of it.
func bigHost() (Host, fstest.MapFS) {
	files := fstest.MapFS{}
	for name, text := range map[string]string{
		"proc/meminfo":                               "MemTotal:       65536000 kB\nMemFree:         1000 kB\nSwapTotal:             0 kB\n",
		"proc/self/cgroup":                           "0::/system.slice/carillon.service\n",
		"proc/sys/fs/nr_open":                        "1048576\n",
		"proc/sys/fs/file-max":                       "9223372036854775807\n",
		"proc/sys/fs/epoll/max_user_watches":         "14000000\n",
		"proc/sys/net/core/somaxconn":                "65535\n",
		"proc/sys/net/core/wmem_max":                 "212992\n",
		"proc/sys/net/ipv4/tcp_max_syn_backlog":      "65536\n",
		"proc/sys/net/ipv4/tcp_syncookies":           "1\n",
		"proc/sys/net/ipv4/tcp_mem":                  "1500000\t2000000\t3000000\n",
		"proc/sys/net/ipv4/tcp_wmem":                 "4096\t16384\t4194304\n",
		"proc/sys/net/ipv4/ip_local_port_range":      "32768\t60999\n",
		"proc/sys/net/ipv4/ip_local_reserved_ports":  "\n",
		"proc/sys/vm/swappiness":                     "60\n",
		"sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
		clockDir + "current_clocksource":             "tsc\n",
		clockDir + "available_clocksource":           "tsc hpet acpi_pm\n",
		"sys/fs/cgroup/system.slice/memory.max":      "max\n",
	} {
		files[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return Host{
		FS: files, CPUs: 16, PageSize: 4096, MemoryLimit: math.MaxInt64,
		FileLimit:   func() (uint64, uint64, error) { return 1 << 20, 1 << 20, nil },
		ClockSynced: func() (bool, error) { return true, nil },
	}, files
}

const clockDir = "sys/devices/system/clocksource/clocksource0/"

func set(files fstest.MapFS, name, text string) { files[name] = &fstest.MapFile{Data: []byte(text)} }

func million() Plan {
	return Plan{Connections: 1_000_000, Files: 1_000_400, SendBuffer: 64 << 10, Ports: []int{8080, 9090}}
}

var errNo = errors.New("not today")
