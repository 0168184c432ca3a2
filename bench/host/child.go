package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Child is a process that bench started and will end.
type Child struct {
	name string
	cmd  *exec.Cmd
	tail *tail
	done chan struct{} // closed when it has ended
	err  error         // why it ended; valid after done
}

// AnyCPU leaves a child where the scheduler puts it.
const AnyCPU = -1

// Options are how a child differs from a plain one.
type Options struct {
	Env   []string   // more of it
	Out   io.Writer  // for its stdout; nil: kept with stderr, for the error that may come
	Files []*os.File // descriptors 3, 4, …
	CPU   int        // to run on, or AnyCPU
}

// Start starts a program. What it says on stderr is kept, for the error that may come.
func Start(name string, args []string, opt Options) (*Child, error) {
	c := &Child{name: name, tail: &tail{}, done: make(chan struct{})}
	//nolint:noctx // a context would kill it; Stop asks first
	c.cmd = exec.Command(name, args...)
	c.cmd.Env = append(os.Environ(), opt.Env...)
	c.cmd.Stdout, c.cmd.Stderr = c.tail, c.tail
	c.cmd.ExtraFiles = opt.Files
	if opt.Out != nil {
		c.cmd.Stdout = opt.Out
	}
	// Its own process group: Ctrl-C is for us, we stop it in order. And should we be killed, it must not stay behind.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := onCPU(opt.CPU, c.cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		c.err = c.cmd.Wait()
		close(c.done)
	}()
	return c, nil
}

// PID is its process.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// exited describes a child that ended by itself.
func (c *Child) exited() error {
	return fmt.Errorf("%s ended early (%v):\n%s", c.name, c.cmd.ProcessState, c.tail)
}

// stopTime is how long a child may take to end: one with 20,000 sockets, among fifty others, needs some.
const stopTime = 60 * time.Second

// Stop ends the child: SIGTERM by its pid, then, if it takes too long, SIGKILL. One that was paused goes on, to hear it.
func (c *Child) Stop() error {
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // both fail only when it has ended
	_ = c.cmd.Process.Signal(syscall.SIGCONT)
	timer := time.NewTimer(stopTime)
	defer timer.Stop()
	select {
	case <-c.done:
		return nil
	case <-timer.C:
	}
	_ = c.cmd.Process.Kill()
	<-c.done
	return fmt.Errorf("%s did not end on SIGTERM in time and was killed", c.name)
}

// Kill ends the child as a crash would, and waits until it is gone.
func (c *Child) Kill() {
	_ = c.cmd.Process.Kill() // fails only when it has ended
	<-c.done
}

// Await polls until ready returns nil, the child ends, or it takes too long.
func (c *Child) Await(ctx context.Context, limit time.Duration, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errors.New("not ready in time"))
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-c.done:
			return c.exited()
		case <-ctx.Done():
			return fmt.Errorf("%s: %w: %w\n%s", c.name, context.Cause(ctx), err, c.tail)
		}
	}
}

// onCPU runs start on a thread that is bound to one CPU, so that a process it forks is born there.
func onCPU(cpu int, start func() error) error {
	if cpu == AnyCPU {
		return start()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, only unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return os.NewSyscallError("sched_getaffinity", err)
	}
	only.Set(cpu)
	if err := unix.SchedSetaffinity(0, &only); err != nil {
		return os.NewSyscallError("sched_setaffinity", err)
	}
	err := start()
	return errors.Join(err, os.NewSyscallError("sched_setaffinity", unix.SchedSetaffinity(0, &before)))
}

// tail keeps the end of a child's output. Safe to call from any goroutine.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailBytes = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - tailBytes; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}
