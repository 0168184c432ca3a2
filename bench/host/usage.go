package host

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carillon-ws/carillon/protocol/http1"
)

// Usage is what a process has used so far, seen from outside.
type Usage struct {
	CPU     time.Duration // user and system, to the nanosecond
	User    time.Duration // its user part, from the kernel's tick samples: good over seconds, not over milliseconds
	RSS     int64         // VmRSS, bytes
	Threads int
	At      time.Time
}

// ReadUsage looks at a process on this machine. Its CPU time is that of one thread when that is given.
func ReadUsage(pid, thread int) (u Usage, err error) {
	u.At = time.Now()
	stat := fmt.Sprintf("/proc/%d/stat", pid)
	if thread == 0 {
		u.CPU, err = processTime(pid)
	} else {
		stat = fmt.Sprintf("/proc/%d/task/%d/stat", pid, thread)
		u.CPU, err = threadTime(pid, thread)
	}
	if err != nil {
		return u, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	user, system, err := statTimes(stat)
	if err != nil {
		return u, err
	}
	if total := user + system; total > 0 {
		u.User = time.Duration(float64(u.CPU) * float64(user) / float64(total))
	}
	u.RSS, u.Threads, err = statusNumbers(pid)
	return u, err
}

// processTime is the CPU time of a process: that clock has an id made of the pid (clock_getcpuclockid(3)).
// /proc/PID/stat has the same sum, but rounded to 10 ms.
func processTime(pid int) (time.Duration, error) {
	const sched = 2
	var ts unix.Timespec
	err := unix.ClockGettime(int32(^pid<<3|sched), &ts)
	return time.Duration(ts.Nano()), os.NewSyscallError("clock_gettime", err)
}

// threadTime is the CPU time of a thread of any process; the clocks of those cannot be read from outside.
func threadTime(pid, thread int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/schedstat", pid, thread))
	if err != nil {
		return 0, err
	}
	ns, _, _ := strings.Cut(string(text), " ")
	n, err := strconv.ParseInt(ns, 10, 64)
	return time.Duration(n), err
}

// statTimes reads utime and stime, in ticks, from a stat file of /proc.
func statTimes(path string) (user, system int64, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, 0, err
	}
	// The second field is the program's name in brackets and may hold anything; what follows is numbers.
	_, rest, _ := strings.Cut(string(text[bytes.LastIndexByte(text, ')')+1:]), " ")
	fields := strings.Fields(rest)
	const utime, stime = 14 - 3, 15 - 3 // proc_pid_stat(5) counts from 1, and two fields are cut off
	if len(fields) <= stime {
		return 0, 0, fmt.Errorf("%s: too short", path)
	}
	user, err1 := strconv.ParseInt(fields[utime], 10, 64)
	system, err2 := strconv.ParseInt(fields[stime], 10, 64)
	return user, system, errors.Join(err1, err2)
}

func statusNumbers(pid int) (rss int64, threads int, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		switch name {
		case "VmRSS":
			_, err = fmt.Sscanf(value, "%d kB", &rss)
		case "Threads":
			_, err = fmt.Sscanf(value, "%d", &threads)
		}
		if err != nil {
			return 0, 0, err
		}
	}
	return rss * 1024, threads, nil
}

// IsLocal reports whether pid, as told by a server at adminURL, is a process that we can look at.
func IsLocal(pid int, adminURL string) bool {
	u, err := url.Parse(adminURL)
	if err != nil || pid <= 0 || !http1.IsLoopbackHost(u.Hostname()) {
		return false
	}
	_, err = os.Stat(fmt.Sprintf("/proc/%d", pid)) // not there: another container's number
	return err == nil
}

// Cost is the CPU time of a process over a phase, per delivery or per connection.
type Cost struct {
	Each float64 `json:"us"`     // user and system, microseconds
	User float64 `json:"userUs"` // of them
	Busy float64 `json:"cores"`  // CPUs kept busy meanwhile
}

// CostOf is what was used between two looks, for each of n things; nil when there were none.
func CostOf(before, after Usage, n uint64) *Cost {
	if n == 0 {
		return nil
	}
	cpu, user := after.CPU-before.CPU, max(after.User-before.User, 0)
	return &Cost{
		Each: float64(cpu.Nanoseconds()) / 1e3 / float64(n),
		User: float64(user.Nanoseconds()) / 1e3 / float64(n),
		Busy: cpu.Seconds() / after.At.Sub(before.At).Seconds(),
	}
}

// ThreadUsage is the CPU time of the calling thread.
func ThreadUsage() Usage { return rusage(unix.RUSAGE_THREAD) }

// SelfUsage is the CPU time of this process.
func SelfUsage() Usage { return rusage(unix.RUSAGE_SELF) }

func rusage(who int) (u Usage) {
	var r unix.Rusage
	_ = unix.Getrusage(who, &r) // cannot fail for ourselves
	u.User = time.Duration(r.Utime.Nano())
	u.CPU = u.User + time.Duration(r.Stime.Nano())
	u.At = time.Now()
	return u
}
