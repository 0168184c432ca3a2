package host

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Placement is where processes run: the server on a CPU of its own, everything else beside it, so that what is
// measured is the server's work and not the scheduler's choices. Both servers are placed alike.
type Placement struct{ Server, Rest int }

// Anywhere leaves all processes to the scheduler.
var Anywhere = Placement{Server: AnyCPU, Rest: AnyCPU}

// Pinned moves this process to the second CPU that it may use and keeps the first for the server. ok is false when
// there is only one.
func Pinned() (p Placement, ok bool, err error) {
	var may unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil {
		return Anywhere, false, os.NewSyscallError("sched_getaffinity", err)
	}
	if may.Count() < 2 {
		return Anywhere, false, nil
	}
	p = Anywhere
	for cpu := 0; p.Rest == AnyCPU; cpu++ {
		switch {
		case !may.IsSet(cpu):
		case p.Server == AnyCPU:
			p.Server = cpu
		default:
			p.Rest = cpu
		}
	}
	return p, true, pinSelf(p.Rest)
}

// pinSelf binds every thread of this process to one CPU. Threads to come inherit it from the one that makes them, so
// a second look catches those that came up during the first.
func pinSelf(cpu int) error {
	var only unix.CPUSet
	only.Set(cpu)
	for range 2 {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		for _, t := range threads {
			tid, err := strconv.Atoi(t.Name())
			if err != nil {
				return err
			}
			if err := unix.SchedSetaffinity(tid, &only); err != nil && !errors.Is(err, unix.ESRCH) {
				return os.NewSyscallError("sched_setaffinity", err)
			}
		}
	}
	return nil
}
