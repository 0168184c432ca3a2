package host

import (
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestReadUsage(t *testing.T) {
	t.Parallel()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	tid := unix.Gettid()
	before, err := ReadUsage(os.Getpid(), tid)
	if err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); time.Since(start) < 20*time.Millisecond; {
	}
	thread, err := ReadUsage(os.Getpid(), tid)
	if err != nil {
		t.Fatal(err)
	}
	process, err := ReadUsage(os.Getpid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if spent := thread.CPU - before.CPU; spent <= 0 || process.CPU < thread.CPU {
		t.Errorf("20 ms of work took %s of the thread's CPU, %s in all, %s of the process", spent, thread.CPU, process.CPU)
	}
	if process.RSS < 1<<20 || process.Threads < 2 || process.User > process.CPU {
		t.Errorf("usage %+v is not that of a Go program", process)
	}
	if _, err := ReadUsage(1<<30, 0); err == nil {
		t.Error("usage of a process that is not there is no error")
	}
}

func TestOnCPURestores(t *testing.T) {
	t.Parallel()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, during, after unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	cpu := 0
	for !before.IsSet(cpu) {
		cpu++
	}
	if err := onCPU(cpu, func() error { return unix.SchedGetaffinity(0, &during) }); err != nil {
		t.Fatal(err)
	}
	if err := unix.SchedGetaffinity(0, &after); err != nil {
		t.Fatal(err)
	}
	if during.Count() != 1 || !during.IsSet(cpu) || after != before {
		t.Errorf("affinity before %v, during %v, after %v, want only CPU %d during", before, during, after, cpu)
	}
}
