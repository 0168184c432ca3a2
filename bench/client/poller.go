package client

import (
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carillon-ws/carillon/bench/host"
	"github.com/carillon-ws/carillon/bench/wire"
)

const (
	// readBuffer takes the backlog of a socket in one read: one buffer a poller, not one a connection.
	readBuffer = 256 << 10
	minRead    = 16 << 10
	// Events of other descriptors than clients', which have the index they are stored at.
	wakeEvent = -1
	tickEvent = -2
	// retryAfter is how long a client that must come back waits after a failed attempt, as a browser's would.
	retryAfter = 200 * time.Millisecond
	// churnTurn is how often a poller looks whether it is time for the next client to leave.
	churnTurnMs = 5
)

// poller is one thread that connects and reads some of a worker's clients.
type poller struct {
	// Fixed at creation.
	worker  *Worker
	clock   wire.Clock
	ahead   int64
	dialer  *dialer
	shakes  []*wire.Handshake // by target
	speech  Speech
	ack     []byte
	mark    string
	nameAt  int // where the mark would lie behind a channel's name without its number
	load    Workload
	heardBy *heardBy
	epfd    int
	wakefd  int
	tickfd  int
	share   float64 // of the connections of the run, and so of its rates
	most    int     // connections under way

	// Owned by the poller.
	clients      []client
	audience     []int32 // of the worker, by channel; replaced, never changed
	outlook      Outlook
	buf          []byte // read buffer
	tally        Tally
	second       Histogram // deliveries since the last sample
	done         []Completed
	queue        []int32 // clients that are to connect; queue[:dialed] have been started
	dialed       int
	retries      []retry // in the order in which they are due
	returning    bool    // clients whose connection fails or ends come back
	opening      int     // connections under way
	ready        int
	lost, missed uint64 // what was missing when the last phase ended
	closed       int    // connections that ended, or never came up, and were not meant to
	received     int    // deliveries since the worker was told
	progressed   bool
	rampStart    int64
	rampRate     float64 // connections per second; 0: no limit
	churnStart   int64
	churnRate    float64 // clients per second that leave and come back; 0: none
	churned      int
	churnNext    int
	lag          lag
	used         host.Usage // of the thread, when it was last asked
	stopped      bool

	// Guarded by mu.
	mu      sync.Mutex
	mailbox []func()
}

// retry is a client that will connect again.
type retry struct {
	client int32
	due    int64
}

func (p *poller) open() (err error) {
	if p.epfd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if p.wakefd, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	if err := p.watch(p.wakefd, wakeEvent, unix.EPOLLIN); err != nil {
		return err
	}
	if p.tickfd, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC); err != nil {
		return os.NewSyscallError("timerfd_create", err)
	}
	return p.watch(p.tickfd, tickEvent, unix.EPOLLIN)
}

// tick wakes the thread at fixed times, or no more; see lag.
func (p *poller) tick(on bool) {
	var timer unix.ItimerSpec
	if p.lag.next = 0; on {
		every := unix.NsecToTimespec(p.lag.every)
		timer.Interval, timer.Value = every, every
		p.lag.next = p.now() + p.lag.every
	}
	if err := unix.TimerfdSettime(p.tickfd, 0, &timer, nil); err != nil {
		panic(os.NewSyscallError("timerfd_settime", err)) // our own descriptor: cannot happen
	}
}

func (p *poller) watch(fd int, id int32, events uint32) error {
	err := unix.EpollCtl(p.epfd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: id})
	return os.NewSyscallError("epoll_ctl", err)
}

// now is the publisher's time.
func (p *poller) now() int64 { return p.clock.Now() + p.ahead }

// run is the poller's goroutine; it ends after do(stop).
func (p *poller) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	events := make([]unix.EpollEvent, 512)
	for !p.stopped {
		n, err := unix.EpollWait(p.epfd, events, p.dial())
		if err != nil && err != unix.EINTR {
			panic(os.NewSyscallError("epoll_wait", err)) // our own descriptor: cannot happen
		}
		p.lag.begin(p.now())
		for i := range max(n, 0) {
			ev := &events[i]
			switch ev.Fd {
			case wakeEvent:
				p.readMail()
			case tickEvent:
				p.drain(p.tickfd)
			default:
				p.onEvents(&p.clients[ev.Fd], ev.Events)
			}
		}
		p.lag.end(n, n == len(events), len(p.clients))
		p.tell()
	}
}

// tell lets the worker know what this turn brought.
func (p *poller) tell() {
	if p.received == 0 && !p.progressed && len(p.done) == 0 {
		return
	}
	p.worker.note(p)
	p.received, p.progressed, p.done = 0, false, p.done[:0]
}

// dial starts as many connections as may be under way, and returns how long to wait for events, in milliseconds.
func (p *poller) dial() (timeoutMs int) {
	const forever = -1
	timeoutMs = forever
	now := p.clock.Now()
	if p.churnRate > 0 {
		p.churn(now)
		timeoutMs = churnTurnMs
	}
	for len(p.retries) > 0 && p.retries[0].due <= now {
		p.queue = append(p.queue, p.retries[0].client)
		p.retries = p.retries[1:]
	}
	if len(p.retries) > 0 {
		timeoutMs = churnTurnMs
	}
	if p.dialed == len(p.queue) {
		return timeoutMs
	}
	allowed := len(p.queue)
	if p.rampRate > 0 {
		allowed = min(allowed, 1+int(time.Duration(now-p.rampStart).Seconds()*p.rampRate))
	}
	for p.dialed < allowed && p.opening < p.most {
		p.start(p.queue[p.dialed])
		p.dialed++
	}
	switch {
	case p.progressed:
		return 0 // a connection failed at once: tell before waiting
	case p.dialed == len(p.queue):
		p.queue, p.dialed = nil, 0
	case p.dialed == allowed:
		return 1 // the ramp's rate holds us back
	}
	return timeoutMs
}

// connect starts clients, at this many a second; 0 is no limit.
func (p *poller) connect(who []int32, perSecond float64) {
	p.queue, p.dialed = append(p.queue[p.dialed:], who...), 0
	p.rampStart, p.rampRate = p.clock.Now(), perSecond
}

func (p *poller) start(i int32) {
	c := &p.clients[i]
	c.since = p.now()
	fd, err := p.dialer.open(int(c.number), int(c.target))
	if err != nil {
		c.state = stateClosed
		p.failed(c, err)
		return
	}
	c.fd, c.state = int32(fd), stateConnecting
	p.opening++
	// Edge-triggered and watched for both once, so that a connection costs one call; see read for what that asks.
	const events = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET
	if err := p.watch(fd, i, events); err != nil {
		p.drop(c, err)
	}
}

// drop ends a connection that went wrong.
func (p *poller) drop(c *client, err error) {
	p.hangUp(c)
	p.failed(c, err)
}

// failed notes a connection that is not there although it was meant to be.
func (p *poller) failed(c *client, err error) {
	p.progressed = true
	switch {
	case p.returning:
		p.tally.Cut++
		p.leave(c)
		p.retries = append(p.retries, retry{p.indexOf(c), p.clock.Now() + int64(retryAfter)})
	case c.slow != slowNever:
		p.tally.Cut++ // being closed is what a slow client must expect
	default:
		p.closed++
		p.worker.fail(err)
		return
	}
	if p.tally.CutWhy == "" {
		p.tally.CutWhy = err.Error()
	}
}

// indexOf is where a client is stored.
func (p *poller) indexOf(c *client) int32 { return c.number - p.clients[0].number }

// hangUp closes a connection.
func (p *poller) hangUp(c *client) {
	switch c.state {
	case stateReady:
		p.ready--
	case stateConnecting, stateUpgrading, stateSubscribing:
		p.opening--
	case stateNew, stateClosed:
		return
	}
	_ = unix.Close(int(c.fd)) // nothing is written that could be lost
	c.state, c.rest = stateClosed, nil
	p.progressed = true
}

// reset closes a connection as a peer does that is gone: the kernel sends RST, nothing is said.
func (p *poller) reset(c *client) {
	if c.state != stateNew && c.state != stateClosed {
		_ = unix.SetsockoptLinger(int(c.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	p.hangUp(c)
}

// leave settles what a client missed in the subscription that ended.
func (p *poller) leave(c *client) {
	lost, missed := c.seq.leave()
	p.tally.Lost += lost
	p.tally.Missed += missed
}

// churn lets the next clients leave and come back, as many as the rate asks for by now.
func (p *poller) churn(now int64) {
	due := int(time.Duration(now-p.churnStart).Seconds() * p.churnRate)
	for seen := 0; p.churned < due && seen < len(p.clients); seen++ {
		i := p.churnNext
		p.churnNext = (i + 1) % len(p.clients)
		if c := &p.clients[i]; c.state == stateReady {
			p.reset(c)
			p.leave(c)
			p.tally.Left++
			p.churned++
			p.queue = append(p.queue, int32(i))
		}
	}
	if p.churned < due {
		p.churned = due // nobody is up who could leave
	}
}

// channelOf is the channel that a client subscribes to.
func (p *poller) channelOf(c *client) int { return p.load.ChannelOf(int(c.number)) }

// do runs f on the poller and waits for it. Safe to call from any goroutine but the poller's.
func (p *poller) do(f func()) {
	done := make(chan struct{})
	p.mu.Lock()
	p.mailbox = append(p.mailbox, func() { f(); close(done) })
	p.mu.Unlock()
	one := [8]byte{1}
	_, _ = unix.Write(p.wakefd, one[:]) // can only fail when a wake-up is already pending
	<-done
}

// drain makes an eventfd or a timerfd quiet. What it counted does not matter.
func (p *poller) drain(fd int) {
	var count [8]byte
	_, _ = unix.Read(fd, count[:])
}

func (p *poller) readMail() {
	p.drain(p.wakefd)
	p.mu.Lock()
	mail := p.mailbox
	p.mailbox = nil
	p.mu.Unlock()
	for _, f := range mail {
		f()
	}
}

// published is how many publications there may have been on a client's channel.
func (p *poller) published(c *client, now int64) uint32 {
	return p.load.published(p.channelOf(c), p.outlook.numbers(now))
}

// countMissing adds to the tally what has become missing since the last call, on subscriptions that are there. What a
// client that left had missed is in the tally already, and no longer in what is missing.
func (p *poller) countMissing() {
	var lost, missed uint64
	now := p.now()
	for i := range p.clients {
		if c := &p.clients[i]; c.slow == slowNever && !c.fresh {
			l, m := c.seq.missing(p.published(c, now))
			lost, missed = lost+l, missed+m
		}
	}
	t := &p.tally
	t.Lost += lost - min(t.Lost+lost, p.lost)
	t.Missed += missed - min(t.Missed+missed, p.missed)
	p.lost, p.missed = lost, missed
}
