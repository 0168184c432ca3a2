package main

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
	before, err := readUsage(os.Getpid(), tid)
	if err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); time.Since(start) < 20*time.Millisecond; {
	}
	thread, err := readUsage(os.Getpid(), tid)
	if err != nil {
		t.Fatal(err)
	}
	process, err := readUsage(os.Getpid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if spent := thread.cpu - before.cpu; spent <= 0 || process.cpu < thread.cpu {
		t.Errorf("20 ms of work took %s of the thread's CPU, %s in all, %s of the process", spent, thread.cpu, process.cpu)
	}
	if process.rss < 1<<20 || process.threads < 2 || process.user > process.cpu {
		t.Errorf("usage %+v is not that of a Go program", process)
	}
	if _, err := readUsage(1<<30, 0); err == nil {
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

func TestThousands(t *testing.T) {
	t.Parallel()
	for in, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000", -100: "-100"} {
		if got := thousands(in); got != want {
			t.Errorf("thousands(%d) = %q, want %q", in, got, want)
		}
	}
}
