package client

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carillon-ws/carillon/bench/host"
	"github.com/carillon-ws/carillon/bench/wire"
)

// Worker is the clients of one process. Its methods are safe to call from any goroutine; Watch by one at a time. What a
// coordinator asks has the form of net/rpc, so that it asks a worker here and one in another process alike; see [Ask].
type Worker struct {
	plan    Plan
	pollers []*poller
	wg      sync.WaitGroup
	news    chan struct{} // pollers -> Watch: there is something to tell; one slot

	// Guarded by mu.
	mu       sync.Mutex
	progress Progress
	byPoller map[*poller]standing
}

// standing is how many clients of a poller are up, and how many were lost.
type standing struct{ ready, closed int }

// Progress is what has happened so far; Done and Received since it was last told.
type Progress struct {
	Ready    int
	Closed   int
	Received int
	Done     []Completed
	Failure  string // of the first connection that failed
	Epoch    int    // calls of Leave and Behave whose effect is in Ready
}

// NewWorker starts the pollers, with nothing to do yet. Close ends them.
func NewWorker(plan Plan) (*Worker, error) {
	if len(plan.Targets) == 0 || plan.Count < 1 || plan.Threads < 1 {
		return nil, errors.New("a plan needs a target, a connection and a thread")
	}
	plan.Load.Prepare()
	w := &Worker{plan: plan, news: make(chan struct{}, 1), byPoller: map[*poller]standing{}}
	audience, shared := plan.Load.Audience(plan.First, plan.Count, nil), new(heardBy)
	first := plan.First
	for i := range plan.Threads {
		n := ShareOf(i, plan.Count, plan.Threads)
		p, err := w.newPoller(first, n, shared, audience)
		if err != nil {
			w.closeDescriptors()
			return nil, err
		}
		w.pollers = append(w.pollers, p)
		first += n
	}
	for _, p := range w.pollers {
		w.wg.Go(p.run)
	}
	return w, nil
}

// ShareOf is how many of n things the i-th of so many gets if they are dealt in turn.
func ShareOf(i, n, among int) int {
	share := n / among
	if i < n%among {
		share++
	}
	return share
}

func (w *Worker) newPoller(first, n int, shared *heardBy, audience []int32) (*poller, error) {
	plan := &w.plan
	p := &poller{
		worker: w, clock: wire.NewClock(), ahead: plan.Ahead, speech: plan.Speech, ack: plan.Speech.ack(), mark: plan.Mark,
		load: plan.Load, heardBy: shared, audience: audience, share: float64(n) / float64(plan.Load.Connections),
		most: max(plan.Opening, 1), clients: make([]client, n), buf: make([]byte, readBuffer), tally: NewTally(), second: NewHistogram(),
		epfd: -1, wakefd: -1, tickfd: -1, lag: lag{every: int64(cmp.Or(plan.Tick, TickEvery)), left: n},
	}
	var err error
	if p.dialer, err = newDialer(plan.Targets, plan.Sources); err != nil {
		return nil, err
	}
	for _, t := range plan.Targets {
		p.shakes = append(p.shakes, wire.NewHandshake(t.Host, t.Path, plan.Seed))
	}
	p.nameAt = len(notificationHead) + len(plan.Speech.ChannelName(0)) + len(dataHead)
	if !plan.Speech.SingleNamed {
		p.nameAt -= decimals(0)
	}
	for i := range p.clients {
		c := &p.clients[i]
		c.number = int32(first + i)
		c.target = uint16(plan.target(int(c.number)))
	}
	return p, p.open()
}

// Close hangs up on the server and ends the pollers.
func (w *Worker) Close(_ None, _ *None) error {
	w.eachClient((*poller).hangUp)
	w.each(func(p *poller) { p.stopped = true })
	w.wg.Wait()
	w.closeDescriptors()
	return nil
}

func (w *Worker) closeDescriptors() {
	for _, p := range w.pollers {
		_ = unix.Close(p.epfd) // nothing depends on the end of a descriptor without data
		_ = unix.Close(p.wakefd)
		_ = unix.Close(p.tickfd)
	}
}

// each runs f on every poller, one after the other.
func (w *Worker) each(f func(*poller)) {
	for _, p := range w.pollers {
		p.do(func() { f(p) })
	}
}

// eachClient runs f for every client, on its poller. What Watch tells afterwards has its effect in it.
func (w *Worker) eachClient(f func(*poller, *client)) {
	w.each(func(p *poller) {
		for i := range p.clients {
			f(p, &p.clients[i])
		}
		p.tell()
	})
}

// note takes what a poller's turn brought. Runs on the poller.
func (w *Worker) note(p *poller) {
	w.mu.Lock()
	was, is := w.byPoller[p], standing{p.ready, p.closed}
	w.byPoller[p] = is
	w.progress.Ready += is.ready - was.ready
	w.progress.Closed += is.closed - was.closed
	w.progress.Received += p.received
	w.progress.Done = append(w.progress.Done, p.done...)
	worthIt := p.progressed || len(p.done) > 0
	w.mu.Unlock()
	if worthIt {
		notify(w.news)
	}
}

func (w *Worker) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.progress.Failure == "" {
		w.progress.Failure = err.Error()
	}
}

// notify fills the one slot of a wake-up channel; when it is full, the news is already under way.
func notify(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// watchFor is how long Watch waits for something to tell. Numbers that merely count on are told this often.
const watchFor = 500 * time.Millisecond

// Watch waits until a connection came up or went, or a publication was heard by all clients here, and tells.
func (w *Worker) Watch(_ None, told *Progress) error {
	timer := time.NewTimer(watchFor)
	defer timer.Stop()
	select {
	case <-w.news:
	case <-timer.C:
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	*told = w.progress
	w.progress.Received, w.progress.Done = 0, nil
	return nil
}

// Selection names clients: a share of them.
type Selection struct {
	Share     float64 // 1 is all
	PerSecond float64 // of all workers; 0 is no limit
	Reset     bool    // with Leave: by RST; else by FIN
	Fresh     bool    // with Leave: what was published before a client is back is not expected of it
}

// Connect starts the selected clients that are not connected. It returns at once; Watch tells how it goes.
func (w *Worker) Connect(s Selection, _ *None) error {
	w.each(func(p *poller) {
		var who []int32
		for i := range p.clients {
			c := &p.clients[i]
			if (c.state == stateNew || c.state == stateClosed) && InShare(int(c.number), s.Share) {
				who = append(who, int32(i))
			}
		}
		p.connect(who, s.PerSecond*p.share)
	})
	return nil
}

// Leave ends the connections of the selected clients, as they are, and returns how many those were.
func (w *Worker) Leave(s Selection, n *int) error {
	w.eachClient(func(p *poller, c *client) {
		if c.state == stateNew || !InShare(int(c.number), s.Share) {
			return
		}
		if s.Reset {
			p.reset(c)
		} else {
			p.hangUp(c)
		}
		p.leave(c)
		c.fresh = c.fresh || s.Fresh
		c.slow, c.told = slowNever, false
		p.tally.Left++
		*n++
	})
	w.newEpoch()
	return nil
}

// newEpoch lets Watch tell that what it tells is later than a call.
func (w *Worker) newEpoch() {
	w.mu.Lock()
	w.progress.Epoch++
	w.mu.Unlock()
	notify(w.news)
}

// Manner is how clients behave from now on.
type Manner struct {
	Return bool    // a client whose connection fails or ends connects again, until it is up
	Churn  float64 // clients of all workers per second that leave and come back
	Avoid  int     // index of a target to stay away from, when there are others; -1: none
}

// Behave changes the clients' manner.
func (w *Worker) Behave(m Manner, _ *None) error {
	targets := len(w.plan.Targets)
	if m.Avoid >= targets {
		return fmt.Errorf("there is no target %d", m.Avoid)
	}
	w.each(func(p *poller) {
		p.returning = m.Return
		p.churnRate, p.churnStart, p.churned = m.Churn*p.share, p.clock.Now(), 0
	})
	w.eachClient(func(_ *poller, c *client) {
		if int(c.target) == m.Avoid && targets > 1 {
			c.target = uint16((m.Avoid + 1 + int(c.number)/targets%(targets-1)) % targets)
		}
	})
	w.newEpoch()
	return nil
}

// Expect tells which publications there will be.
func (w *Worker) Expect(o Outlook, _ *None) error {
	w.each(func(p *poller) {
		p.outlook = o
		p.tick(o.Watch)
	})
	return nil
}

// Tally ends a phase: it returns what was seen, and what never came, since the last one ended.
func (w *Worker) Tally(_ None, sum *Tally) error {
	*sum = NewTally()
	w.each(func(p *poller) {
		p.countMissing()
		sum.Merge(&p.tally)
		p.tally = NewTally()
	})
	return nil
}

// Sample returns the latencies of the deliveries since the last one.
func (w *Worker) Sample(_ None, sum *Histogram) error {
	*sum = NewHistogram()
	w.each(func(p *poller) {
		sum.Merge(p.second)
		p.second.Reset()
	})
	return nil
}

// Busy tells how much of the time since it was last asked this worker's threads were reading.
func (w *Worker) Busy(_ None, b *Busy) error {
	b.CPUs = runtime.NumCPU()
	w.each(func(p *poller) {
		now := host.ThreadUsage()
		b.Add((now.CPU - p.used.CPU).Seconds() / now.At.Sub(p.used.At).Seconds())
		p.used = now
	})
	return nil
}
