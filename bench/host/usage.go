package host

import (
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/prometheus/procfs"
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

// Add adds what another process has used.
func (u *Usage) Add(other Usage) {
	u.CPU += other.CPU
	u.User += other.User
	u.RSS += other.RSS
	u.Threads += other.Threads
}

// ReadUsage looks at a process on this machine. If a thread is given, the CPU time is that of the thread.
func ReadUsage(pid, thread int) (u Usage, err error) {
	u.At = time.Now()
	process, err := procfs.NewProc(pid)
	if err != nil {
		return u, err
	}
	timed := process
	if thread == 0 {
		u.CPU, err = processTime(pid)
	} else if timed, err = process.Thread(thread); err == nil {
		var schedule procfs.ProcSchedstat // a thread's clock cannot be read from outside
		schedule, err = timed.Schedstat()
		u.CPU = time.Duration(schedule.RunningNanoseconds)
	}
	if err != nil {
		return u, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	stat, err := timed.Stat()
	if err != nil {
		return u, err
	}
	if ticks := stat.UTime + stat.STime; ticks > 0 {
		u.User = time.Duration(float64(u.CPU) * float64(stat.UTime) / float64(ticks))
	}
	status, err := process.NewStatus()
	u.RSS, u.Threads = int64(status.VmRSS), stat.NumThreads
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
