package main

import (
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// readBuffer takes the backlog of a socket in one read: one buffer a worker, not one a connection.
	readBuffer = 256 << 10
	minRead    = 16 << 10
	// maxOpening bounds the connections that a worker has under way, so that a listener's queue is not what a run
	// measures (SYNs that do not fit are sent again after a second).
	maxOpening = 128
	// wakeEvent marks the event of the wake-up descriptor; clients have the index they are stored at.
	wakeEvent = -1
)

// worker is one thread that connects and reads some of the clients.
type worker struct {
	// Fixed at creation.
	clock    clock
	dialer   *dialer
	shake    *handshake
	mark     string
	channels int
	board    *board
	progress chan<- struct{} // worker -> whoever waits for connections; one slot
	epfd     int
	wakefd   int
	share    float64 // of the connections, and so of the ramp's rate

	// Owned by the worker.
	clients    []client
	buf        []byte // read buffer
	out        []byte // frame being written
	tally      tally
	todo       []int32 // clients that are to connect; todo[:dialed] have been started
	dialed     int
	opening    int // of them, under way
	heard      int // deliveries of this turn
	completed  int // publications completed in this turn
	progressed bool
	rampStart  int64
	rampRate   float64 // connections per second of this worker; 0: no limit
	dialing    bool
	stopped    bool

	// Atomic.
	live counters

	// Guarded by mu.
	mu      sync.Mutex
	mailbox []func()
	failure error // of the first connection that failed
}

// counters are what others may read while the worker runs. They are brought up to date once per turn.
type counters struct {
	ready, closed, received atomic.Int64
}

func (w *worker) open() (err error) {
	if w.epfd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if w.wakefd, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	return w.watch(w.wakefd, wakeEvent, unix.EPOLLIN)
}

func (w *worker) watch(fd int, id int32, events uint32) error {
	err := unix.EpollCtl(w.epfd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: id})
	return os.NewSyscallError("epoll_ctl", err)
}

// run is the worker's goroutine; it ends after do(stop).
func (w *worker) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	events := make([]unix.EpollEvent, 512)
	for !w.stopped {
		n, err := unix.EpollWait(w.epfd, events, w.dial())
		if err != nil && err != unix.EINTR {
			panic(os.NewSyscallError("epoll_wait", err)) // our own descriptor: cannot happen
		}
		for i := range max(n, 0) {
			ev := &events[i]
			if ev.Fd == wakeEvent {
				w.readMail()
				continue
			}
			w.onEvents(&w.clients[ev.Fd], ev.Events)
		}
		w.tell()
	}
}

// tell lets others know what this turn brought.
func (w *worker) tell() {
	if w.heard > 0 {
		w.live.received.Add(int64(w.heard))
		w.heard = 0
	}
	if w.completed > 0 {
		w.board.complete(w.completed)
		w.completed = 0
	}
	if w.progressed {
		w.progressed = false
		notify(w.progress)
		notify(w.board.wake) // when nobody is left, there is nothing to wait for
	}
}

// dial starts as many connections as may be under way, and returns how long to wait for events, in milliseconds.
func (w *worker) dial() (timeoutMs int) {
	const forever = -1
	if !w.dialing {
		return forever
	}
	allowed := len(w.todo)
	if w.rampRate > 0 {
		allowed = min(allowed, 1+int(time.Duration(w.clock.now()-w.rampStart).Seconds()*w.rampRate))
	}
	for w.dialed < allowed && w.opening < maxOpening {
		w.start(int(w.todo[w.dialed]))
		w.dialed++
	}
	switch {
	case w.progressed:
		return 0 // a connection failed at once: tell before waiting
	case w.dialed == len(w.todo):
		w.dialing = false
		return forever
	case w.dialed == allowed:
		return 1 // the ramp's rate holds us back
	default:
		return forever
	}
}

func (w *worker) start(i int) {
	c := &w.clients[i]
	c.since = w.clock.now()
	fd, err := w.dialer.open(int(c.number))
	if err != nil {
		w.fail(err)
		c.state = clientClosed
		return
	}
	c.fd, c.state = int32(fd), clientConnecting
	w.opening++
	// Edge-triggered and watched for both once, so that a connection costs one call; see read for what that asks.
	const events = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET
	if err := w.watch(fd, int32(i), events); err != nil {
		w.drop(c, err)
	}
}

// connect starts clients, at this many a second; 0 is no limit.
func (w *worker) connect(todo []int32, now int64, perSecond float64) {
	w.todo, w.dialed, w.dialing = todo, 0, true
	w.rampStart, w.rampRate = now, perSecond
}

// drop ends a connection that went wrong.
func (w *worker) drop(c *client, err error) {
	if c.slow != slowNever {
		w.cut(c, err)
		return
	}
	switch c.state {
	case clientReady:
		w.live.ready.Add(-1)
	case clientConnecting, clientUpgrading, clientSubscribing:
		w.opening--
	case clientNew, clientClosed:
	}
	w.fail(err)
	w.hangUp(c)
}

func (w *worker) fail(err error) {
	w.live.closed.Add(1)
	w.progressed = true
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failure == nil {
		w.failure = err
	}
}

func (w *worker) hangUp(c *client) {
	_ = unix.Close(int(c.fd)) // nothing is written that could be lost
	c.state, c.rest = clientClosed, nil
}

// everyone lists all clients of this worker.
func (w *worker) everyone() []int32 {
	all := make([]int32, len(w.clients))
	for i := range all {
		all[i] = int32(i)
	}
	return all
}

// published is how many of the first publications of a run were for a client's channel: they are dealt in turn.
func (w *worker) published(c *client, opened int) uint32 {
	return uint32(subscribersOf(w.channelOf(c), opened, w.channels))
}

// channelOf is the channel that a client subscribes to.
func (w *worker) channelOf(c *client) int { return int(c.number) % w.channels }

// do runs f on the worker and waits for it. Safe to call from any goroutine but the worker's.
func (w *worker) do(f func()) {
	done := make(chan struct{})
	w.mu.Lock()
	w.mailbox = append(w.mailbox, func() { f(); close(done) })
	w.mu.Unlock()
	one := [8]byte{1}
	_, _ = unix.Write(w.wakefd, one[:]) // can only fail when a wake-up is already pending
	<-done
}

func (w *worker) readMail() {
	var count [8]byte
	_, _ = unix.Read(w.wakefd, count[:]) // what matters is in the mailbox
	w.mu.Lock()
	mail := w.mailbox
	w.mailbox = nil
	w.mu.Unlock()
	for _, f := range mail {
		f()
	}
}
