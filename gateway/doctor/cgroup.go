package doctor

import (
	"path"
	"strconv"
	"strings"
)

// cgroupDirs returns the directories of a controller whose limits hold for this process, from its own up to the root. In
// a container the path in /proc/self/cgroup may be that of the host, while the mount shows only the container's part. So
// the root is always among them.
func (h Host) cgroupDirs(controller string) []string {
	text, err := h.text("proc/self/cgroup")
	if err != nil {
		return nil
	}
	var dirs []string
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		names := fields[1]
		switch {
		case fields[0] == "0" && names == "": // version 2
			dirs = append(dirs, upwards("sys/fs/cgroup", fields[2])...)
		case strings.Contains(","+names+",", ","+controller+","): // version 1
			dirs = append(dirs, upwards("sys/fs/cgroup/"+names, fields[2])...)
			dirs = append(dirs, upwards("sys/fs/cgroup/"+controller, fields[2])...)
		}
	}
	return dirs
}

// upwards returns root/dir, its parent, …, root.
func upwards(root, dir string) []string {
	var out []string
	for dir = path.Clean("/" + dir); dir != "/"; dir = path.Dir(dir) {
		out = append(out, path.Join(root, dir))
	}
	return append(out, root)
}

// noLimit is larger than any real limit: version 1 writes "no limit" as a very large number.
const noLimit = 1 << 60

// memoryLimit returns the smallest memory limit that holds for this process, 0 if there is none.
func (h Host) memoryLimit() uint64 {
	least := uint64(noLimit)
	for _, dir := range h.cgroupDirs("memory") {
		for _, name := range []string{"memory.max", "memory.high", "memory.limit_in_bytes"} {
			if v, err := h.numbers(path.Join(dir, name)); err == nil { // "max" is no number
				least = min(least, v[0])
			}
		}
	}
	if least == noLimit {
		return 0
	}
	return least
}

// cpuQuota returns the smallest CPU quota that holds for this process, in CPUs, 0 if there is none.
func (h Host) cpuQuota() float64 {
	least := 0.0
	consider := func(quota, period float64) {
		if quota > 0 && period > 0 && (least == 0 || quota/period < least) {
			least = quota / period
		}
	}
	for _, dir := range h.cgroupDirs("cpu") {
		if v, err := h.numbers(path.Join(dir, "cpu.max")); err == nil && len(v) == 2 {
			consider(float64(v[0]), float64(v[1]))
		}
		quota, err := h.text(path.Join(dir, "cpu.cfs_quota_us")) // -1 is no quota
		if err != nil {
			continue
		}
		q, _ := strconv.ParseFloat(quota, 64) // 0 if it is no number
		if period, err := h.numbers(path.Join(dir, "cpu.cfs_period_us")); err == nil {
			consider(q, float64(period[0]))
		}
	}
	return least
}
