package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"
)

// selfWake lets a loop ask to be called again behind the sockets that are ready. A task that executes itself again
// would not do: gnet runs its queue until it is empty before it polls. So one end of a socket pair is enrolled as a
// connection of the loop, and a byte written to the other end comes round like any other input. It is also how the
// loop gets its gnet.EventLoop, which can only be had from a connection.
type selfWake struct {
	fd      int32 // the end that is written to; 0 before the loop has booted
	pending bool  // a byte is on its way
}

var errEngineOver = errors.New("self-wake: enroll: the engine has ended")

// selfWakeMark is the context of the enrolled end's gnet connection.
type selfWakeMark struct{}

// now asks for the call. It reports false if the call will not come.
func (w *selfWake) now() bool {
	if !w.pending && w.fd != 0 {
		_, errno := send(w.fd, []byte{1})
		w.pending = errno == 0
	}
	return w.pending
}

func (w *selfWake) close() {
	if w.fd != 0 {
		_ = unix.Close(int(w.fd))
	}
	*w = selfWake{}
}

// enrollSelfWake makes the socket pair and enrolls one end; it returns the other when gnet has opened the first, or
// an error when the engine is over: its loop would never open it. Must not run on the loop: it blocks.
func enrollSelfWake(eng gnet.Engine, over <-chan struct{}) (fd int32, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("socketpair: %w", err)
	}
	defer func() {
		if err != nil {
			_ = unix.Close(pair[1])
		}
	}()
	file := os.NewFile(uintptr(pair[0]), "self-wake")
	conn, err := net.FileConn(file)
	_ = file.Close() // FileConn has its own copy
	if err != nil {
		return 0, fmt.Errorf("self-wake: %w", err)
	}
	ctx := gnet.NewNetConnContext(gnet.NewContext(context.Background(), selfWakeMark{}), conn)
	result, err := eng.Register(ctx)
	if err != nil {
		_ = conn.Close()
		return 0, fmt.Errorf("self-wake: enroll: %w", err)
	}
	select {
	case r := <-result:
		if r.Err != nil {
			return 0, fmt.Errorf("self-wake: enroll: %w", r.Err)
		}
		return int32(pair[1]), nil
	case <-over:
		return 0, errEngineOver
	}
}
