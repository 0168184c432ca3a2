package main

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// placement is where processes run: the server on a CPU of its own, everything else beside it, so that what is
// measured is the server's work and not the scheduler's choices. Both servers are placed alike.
type placement struct{ server, rest int }

var anywhere = placement{server: anyCPU, rest: anyCPU}

// pinned moves this process to the second CPU that it may use and keeps the first for the server. ok is false when
// there is only one.
func pinned() (p placement, ok bool, err error) {
	var may unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil {
		return anywhere, false, os.NewSyscallError("sched_getaffinity", err)
	}
	if may.Count() < 2 {
		return anywhere, false, nil
	}
	p = anywhere
	for cpu := 0; p.rest == anyCPU; cpu++ {
		switch {
		case !may.IsSet(cpu):
		case p.server == anyCPU:
			p.server = cpu
		default:
			p.rest = cpu
		}
	}
	return p, true, pinSelf(p.rest)
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
