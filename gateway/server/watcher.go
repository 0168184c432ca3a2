package server

import (
	"errors"
	"fmt"
	"log/slog"

	"golang.org/x/sys/unix"
)

// watcher tells loops when sockets with a backlog take bytes again. gnet's poller watches for writability only what
// lies in its own buffers, where we put nothing. Only sockets with a backlog are here, one shot at a time.
//
// watch and forget are safe to call from any goroutine; run is the one goroutine of the process that waits.
type watcher struct {
	epfd, stopfd int
	loops        []*loop
	log          *slog.Logger
}

func newWatcher(loops []*loop, log *slog.Logger) (*watcher, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	stopfd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(epfd)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	w := &watcher{epfd, stopfd, loops, log}
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: -1}
	if err := unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, stopfd, &event); err != nil {
		w.close()
		return nil, fmt.Errorf("epoll_ctl: %w", err)
	}
	return w, nil
}

// watch asks for one call of the loop's onWritable when the socket takes bytes. again: it was watched before.
func (w *watcher) watch(fd int32, loop int, slot uint32, again bool) error {
	op := unix.EPOLL_CTL_ADD
	if again {
		op = unix.EPOLL_CTL_MOD
	}
	// Fd and Pad are the event's 64 bits of user data: which loop, which record. A record that has since been
	// given to another connection is asked to flush in vain, no more.
	event := unix.EpollEvent{Events: unix.EPOLLOUT | unix.EPOLLONESHOT, Fd: int32(loop), Pad: int32(slot)}
	return unix.EpollCtl(w.epfd, op, int(fd), &event)
}

// forget must be called before the socket is closed: epoll keys on the file description, and a description that
// somebody else still holds would stay.
func (w *watcher) forget(fd int32) { _ = unix.EpollCtl(w.epfd, unix.EPOLL_CTL_DEL, int(fd), nil) }

// run waits until stop. Must not run on the loop: it blocks.
func (w *watcher) run() error {
	events := make([]unix.EpollEvent, 256)
	for {
		n, err := unix.EpollWait(w.epfd, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("epoll_wait: %w", err)
		}
		for _, ev := range events[:max(0, n)] {
			if ev.Fd < 0 {
				return nil
			}
			w.loops[ev.Fd].postWritable(uint32(ev.Pad))
		}
	}
}

func (w *watcher) stop() { _, _ = unix.Write(w.stopfd, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

func (w *watcher) close() {
	_ = unix.Close(w.epfd)
	_ = unix.Close(w.stopfd)
}
