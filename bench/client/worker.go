package client

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

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
	audience, shared := plan.Load.Audience(plan.First, plan.Count, nil), new(board)
	first := plan.First
	for i := range plan.Threads {
		n := shareOf(i, plan.Count, plan.Threads)
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

// shareOf is how many of n things the i-th of so many gets, when they are dealt in turn.
func shareOf(i, n, among int) int {
	share := n / among
	if i < n%among {
		share++
	}
	return share
}

func (w *Worker) newPoller(first, n int, shared *board, audience []int32) (*poller, error) {
	plan := &w.plan
	p := &poller{
		worker: w, clock: wire.NewClock(), ahead: plan.Ahead, speech: plan.Speech, ack: plan.Speech.ack(), mark: plan.Mark,
		load: plan.Load, board: shared, audience: audience, share: float64(n) / float64(plan.Load.Connections),
		most: max(plan.Opening, 1), clients: make([]client, n), buf: make([]byte, readBuffer), tally: NewTally(), second: NewHistogram(),
		epfd: -1, wakefd: -1, tickfd: -1, lag: lag{every: int64(cmp.Or(plan.Tick, TickEvery)), left: n},
	}
	var err error
	if p.dialer, err = newDialer(plan.Targets, plan.Sources); err != nil {
		return nil, err
	}
	for i := range plan.Targets {
		p.shakes = append(p.shakes, plan.Targets[i].hello(plan.Seed))
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
	for _, p := range w.pollers {
		p.do(func() {
			for i := range p.clients {
				p.hangUp(&p.clients[i])
			}
			p.stopped = true
		})
	}
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

// note takes what a poller's turn brought. Runs on the poller.
func (w *Worker) note(p *poller) {
	w.mu.Lock()
	was, is := w.byPoller[p], standing{p.ready, p.closed}
	w.byPoller[p] = is
	w.progress.Ready += is.ready - was.ready
	w.progress.Closed += is.closed - was.closed
	w.progress.Received += p.heard
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
	Fresh     bool    // with Leave: whoever comes back is somebody else, and owes nothing to the past
}

// Connect starts the selected clients that are not connected. It returns at once with their number; Watch tells more.
func (w *Worker) Connect(s Selection, n *int) error {
	for _, p := range w.pollers {
		p.do(func() {
			var who []int32
			for i := range p.clients {
				c := &p.clients[i]
				if (c.state == stateNew || c.state == stateClosed) && InShare(int(c.number), s.Share) {
					who = append(who, int32(i))
				}
			}
			p.connect(who, s.PerSecond*p.share)
			*n += len(who)
		})
	}
	return nil
}

// Leave ends the connections of the selected clients and returns how many there were.
func (w *Worker) Leave(s Selection, n *int) error {
	for _, p := range w.pollers {
		p.do(func() {
			for i := range p.clients {
				c := &p.clients[i]
				if c.state == stateNew || !InShare(int(c.number), s.Share) {
					continue
				}
				if s.Reset {
					p.reset(c)
				} else {
					p.hangUp(c)
				}
				if p.leave(c); s.Fresh {
					c.fresh = true
				}
				c.slow, c.told = slowNever, false
				p.tally.Left++
				*n++
			}
			p.tell()
		})
	}
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
	Return bool    // whose connection fails or ends comes back, again and again
	Churn  float64 // clients of all workers per second that leave and come back
	Avoid  int     // index of a target to stay away from, when there are others; -1: none
}

// Behave changes the clients' manner.
func (w *Worker) Behave(m Manner, _ *None) error {
	targets := len(w.plan.Targets)
	if m.Avoid >= targets {
		return fmt.Errorf("there is no target %d", m.Avoid)
	}
	for _, p := range w.pollers {
		p.do(func() {
			p.returning = m.Return
			p.churnRate, p.churnStart, p.churned = m.Churn*p.share, p.clock.Now(), 0
			p.tell()
			if m.Avoid < 0 || targets == 1 {
				return
			}
			for i := range p.clients {
				if c := &p.clients[i]; int(c.target) == m.Avoid {
					c.target = uint16((m.Avoid + 1 + int(c.number)/targets%(targets-1)) % targets)
				}
			}
		})
	}
	w.newEpoch()
	return nil
}

// Expect tells which publications there will be.
func (w *Worker) Expect(o Outlook, _ *None) error {
	for _, p := range w.pollers {
		p.do(func() {
			p.outlook = o
			p.tick(o.Watch)
		})
	}
	return nil
}

// Tally ends a phase: it returns what was seen since the last one ended.
func (w *Worker) Tally(_ None, sum *Tally) error {
	*sum = NewTally()
	for _, p := range w.pollers {
		p.do(func() {
			sum.Merge(&p.tally)
			p.tally = NewTally()
		})
	}
	return nil
}

// Sample returns the latencies of the deliveries since the last one.
func (w *Worker) Sample(_ None, sum *Histogram) error {
	*sum = NewHistogram()
	for _, p := range w.pollers {
		p.do(func() {
			sum.Merge(p.second)
			p.second.Reset()
		})
	}
	return nil
}

// Missing is what never came, of the publications there were so far.
type Missing struct {
	Lost   uint64 // on subscriptions that were there
	Missed uint64 // while a client was away
}

// Missing counts, from the clients' own sequences. Unlike a tally it does not depend on when a phase began.
func (w *Worker) Missing(_ None, m *Missing) error {
	for _, p := range w.pollers {
		p.do(func() {
			now := p.now()
			for i := range p.clients {
				c := &p.clients[i]
				if c.slow == slowNever && !c.fresh {
					lost, missed := c.seq.missing(p.load.published(p.channelOf(c), p.outlook.numbers(now)))
					m.Lost += lost
					m.Missed += missed
				}
			}
		})
	}
	return nil
}

// Usage is what a worker's threads that read sockets have used, and what they share.
type Usage struct {
	Threads []int64 // CPU time of each, nanoseconds
	CPUs    int     // of the machine
}

// Usage looks at this worker's threads.
func (w *Worker) Usage(_ None, u *Usage) error {
	u.CPUs = runtime.NumCPU()
	for _, p := range w.pollers {
		u.Threads = append(u.Threads, p.usage().CPU.Nanoseconds())
	}
	return nil
}
