package coordinator

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/carillon-ws/carillon/bench/client"
	"github.com/carillon-ws/carillon/bench/host"
	"github.com/carillon-ws/carillon/bench/wire"
)

// patience is how long a run waits without any progress before it says what is missing.
const patience = 10 * time.Second

// patienceEach makes it longer for very many connections: a million sockets keep two CPUs from everything else.
const patienceEach = 60 * time.Microsecond

// Workers is all clients of a run: workers, here or in other processes, each with its share of the connections.
type Workers struct {
	plan     client.Plan // of all; each worker has its part of it
	load     *client.Workload
	clock    wire.Clock
	tracker  *tracker
	all      []*worker
	changed  chan struct{} // connections came up or went; one slot
	patience time.Duration

	audience []int32 // subscribers of each channel that read
	pending  []int32 // workers that have one

	stop chan struct{}
	wg   sync.WaitGroup
}

// worker is one worker, as the coordinator knows it.
type worker struct {
	*client.Handle

	first, count int
	own          *host.Child // the process, when it is one of ours
	where        string

	// Guarded by mu.
	mu     sync.Mutex
	told   client.Progress // Received in all; Failure of its first connection that failed, or its own
	broken bool            // the worker itself is gone
	asked  int             // of Epoch: what is told is later than what was asked when they are equal
}

// state is what a worker last said of its clients. If it was asked to change who is connected and has not said anything
// since, none of them counts as connected.
func (w *worker) state() (p client.Progress, broken bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p = w.told; p.Epoch < w.asked {
		p.Ready = 0
	}
	return p, w.broken
}

// machine is where a worker runs; the name is empty for this one.
func (w *worker) machine() string {
	if w.There == nil || w.own != nil {
		return ""
	}
	host, _, _ := strings.Cut(w.where, ":")
	return host
}

// NewPlan is what all workers of a run have in common.
func NewPlan(targets []client.Target, load client.Workload) client.Plan {
	mark := wire.NewMark()
	seed, _ := hex.DecodeString(mark[2:]) // we made it
	return client.Plan{
		Targets: targets, Load: load, Mark: mark, Seed: uint64(binary.BigEndian.Uint32(seed)),
		Count: load.Connections, Threads: 1, Opening: maxOpening,
	}
}

// newWorkers takes over workers that have begun.
func newWorkers(plan client.Plan, workers []*worker) *Workers {
	plan.Load.Prepare()
	c := &Workers{
		plan: plan, load: &plan.Load, clock: wire.NewClock(), tracker: newTracker(), all: workers,
		changed: make(chan struct{}, 1), patience: max(patience, time.Duration(plan.Load.Connections)*patienceEach), stop: make(chan struct{}),
	}
	c.count(nil)
	for _, w := range workers {
		c.wg.Go(func() { c.watch(w) })
	}
	return c
}

// Local is one worker, in this process.
func Local(plan client.Plan) (*Workers, error) {
	w, err := client.NewWorker(plan)
	if err != nil {
		return nil, err
	}
	return newWorkers(plan, []*worker{{Handle: &client.Handle{Here: w}, count: plan.Count, where: "here"}}), nil
}

// Close hangs up on the server and ends the workers.
func (c *Workers) Close() error {
	close(c.stop)
	c.wg.Wait()
	return dismiss(c.all)
}

// end ends a worker, and its process if that is ours.
func (w *worker) end() error {
	err := w.Close()
	if w.own != nil {
		err = errors.Join(err, w.own.Stop())
	}
	return err
}

// abandon closes the connections to all workers in other processes, so that nothing waits for one that does not answer.
func (c *Workers) abandon() {
	for _, w := range c.all {
		if w.There != nil {
			w.There.Abandon()
		}
	}
}

// watch keeps up with one worker.
func (c *Workers) watch(w *worker) {
	for {
		p, err := client.Ask(w.Handle, (*client.Worker).Watch, client.None{})
		if err != nil {
			c.gone(w, err)
			return
		}
		w.mu.Lock()
		p.Received += w.told.Received
		p.Failure = cmp.Or(w.told.Failure, p.Failure)
		w.told = p
		w.mu.Unlock()
		c.tracker.complete(p.Done)
		notify(c.changed)
		notify(c.tracker.wake) // when nobody is left, there is nothing to wait for
		select {
		case <-c.stop:
			return
		default:
		}
	}
}

// gone notes that a worker does not answer any more.
func (c *Workers) gone(w *worker, err error) {
	w.mu.Lock()
	w.told.Failure, w.broken = cmp.Or(w.told.Failure, err.Error()), true
	w.mu.Unlock()
	notify(c.changed)
	notify(c.tracker.wake)
}

// count works out who hears what; those left out do not.
func (c *Workers) count(leftOut func(connection int) bool) {
	c.audience, c.pending = make([]int32, c.load.Channels), make([]int32, c.load.Channels)
	for _, w := range c.all {
		for ch, n := range c.load.Audience(w.first, w.count, leftOut) {
			if n > 0 {
				c.audience[ch] += n
				c.pending[ch]++
			}
		}
	}
}

// gather asks all workers the same at the same time, and adds their answers up, one after the other. A worker that does
// not answer is gone, which ends the run: broken tells so wherever the run waits, and at the end of each phase.
func gather[A, R any](c *Workers, method func(*client.Worker, A, *R) error, args A, add func(*worker, R)) {
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, w := range c.all {
		all.Go(func() {
			answer, err := client.Ask(w.Handle, method, args)
			if err != nil {
				c.gone(w, err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			add(w, answer)
		})
	}
	all.Wait()
}

// tell has all workers do something.
func tell[A any](c *Workers, method func(*client.Worker, A, *client.None) error, args A) {
	gather(c, method, args, func(*worker, client.None) {})
}

// connect lets a share of the clients connect, those that are not. Without a rate, only a few workers do so at a time
// when there are many: together they would only take the CPUs from each other and from the gateways.
func (c *Workers) connect(share, perSecond float64) {
	s := client.Selection{Share: share, PerSecond: perSecond}
	turns := make(chan struct{}, len(c.all))
	if perSecond == 0 {
		turns = make(chan struct{}, 2*runtime.NumCPU())
	}
	for _, w := range c.all {
		c.wg.Go(func() {
			select {
			case turns <- struct{}{}:
				c.connectWorker(w, s)
				<-turns
			case <-c.stop:
			}
		})
	}
}

// connectWorker lets one worker's clients connect, and returns when they are up, or when that will not be.
func (c *Workers) connectWorker(w *worker, s client.Selection) {
	_, err := client.Ask(w.Handle, (*client.Worker).Connect, s)
	if err != nil {
		c.gone(w, err)
		return
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if p, broken := w.state(); p.Ready >= w.count || p.Closed > 0 || broken {
			return
		}
		select {
		case <-tick.C:
		case <-c.stop:
			return
		}
	}
}

// expect tells everybody what will be published; with an empty schedule only what was. With watch, readers look whether
// they are late.
func (c *Workers) expect(s client.Schedule, watch bool) {
	tell(c, (*client.Worker).Expect, client.Outlook{Schedule: s, First: c.tracker.opened(), Watch: watch})
}

// tally ends a phase on all workers.
func (c *Workers) tally() *client.Tally {
	sum := client.NewTally()
	gather(c, (*client.Worker).Tally, client.None{}, func(_ *worker, t client.Tally) { sum.Merge(&t) })
	return &sum
}

// sample is the deliveries of all workers since the last sample.
func (c *Workers) sample() client.Histogram {
	sum := client.NewHistogram()
	gather(c, (*client.Worker).Sample, client.None{}, func(_ *worker, h client.Histogram) { sum.Merge(h) })
	return sum
}

// judge is what became of the clients that a fault has hit, on all workers.
func (c *Workers) judge(onlySlow bool) (sum client.Judgement) {
	gather(c, (*client.Worker).Judge, onlySlow, func(_ *worker, j client.Judgement) {
		sum.Up += j.Up
		sum.Told += j.Told
		sum.Signaled += j.Signaled
		sum.Unsignaled += j.Unsignaled
	})
	return sum
}

// leave ends the connections of the selected clients, and returns how many there were.
func (c *Workers) leave(s client.Selection) (sum int) {
	c.ask()
	gather(c, (*client.Worker).Leave, s, func(_ *worker, n int) { sum += n })
	return sum
}

// behave changes the manner of all clients.
func (c *Workers) behave(m client.Manner) {
	c.ask()
	tell(c, (*client.Worker).Behave, m)
}

// ask notes that all workers are asked to change who is connected; see state.
func (c *Workers) ask() {
	for _, w := range c.all {
		w.mu.Lock()
		w.asked++
		w.mu.Unlock()
	}
}

// Busy is the share of the time since it was last asked that reading took, on the machine where that was most.
func (c *Workers) Busy() (share float64) {
	machines := map[string]*client.Busy{}
	gather(c, (*client.Worker).Busy, client.None{}, func(w *worker, b client.Busy) {
		sum := cmp.Or(machines[w.machine()], new(client.Busy))
		sum.Merge(b)
		machines[w.machine()], share = sum, max(share, sum.Share())
	})
	return share
}

// usage is what all worker processes on this machine use, and this one.
func (c *Workers) usage() host.Usage {
	sum := host.SelfUsage()
	if self, err := host.ReadUsage(selfPID, 0); err == nil {
		sum.RSS = self.RSS
	}
	for _, w := range c.all {
		if w.own != nil {
			if u, err := host.ReadUsage(w.own.PID(), 0); err == nil {
				sum.Add(u)
			}
		}
	}
	return sum
}

func (c *Workers) connections() int { return c.load.Connections }

func (c *Workers) ready() int    { return c.sum().Ready }
func (c *Workers) closed() int   { return c.sum().Closed }
func (c *Workers) received() int { return c.sum().Received }

// sum is what all workers have told; Failure is why a connection failed or was closed.
func (c *Workers) sum() (sum client.Progress) {
	for _, w := range c.all {
		p, _ := w.state()
		sum.Ready += p.Ready
		sum.Closed += p.Closed
		sum.Received += p.Received
		sum.Failure = cmp.Or(sum.Failure, p.Failure)
	}
	return sum
}

// broken is an error if a worker is gone.
func (c *Workers) broken() error {
	for _, w := range c.all {
		if p, broken := w.state(); broken {
			return fmt.Errorf("worker %s is gone: %s", w.where, p.Failure)
		}
	}
	return nil
}

var errStalled = errors.New("nothing has happened for a while")

// await waits until something is done: it looks after every wake-up. If there was no progress for the workers' patience,
// the error is errStalled.
func (c *Workers) await(ctx context.Context, wake <-chan struct{}, progress func() int, done func() (bool, error)) error {
	stalled := time.NewTimer(c.patience)
	defer stalled.Stop()
	for before := progress(); ; {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-wake:
		case <-stalled.C:
			now := progress()
			if now == before {
				return errStalled
			}
			before = now
			stalled.Reset(c.patience)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// awaitReady waits until so many connections are up. With returning, those that fail come back by themselves.
func (c *Workers) awaitReady(ctx context.Context, want int, returning bool) error {
	err := c.await(ctx, c.changed, c.ready, func() (bool, error) {
		now := c.sum()
		if now.Closed > 0 && !returning {
			return false, fmt.Errorf("%d of %d connections failed, the first with: %s", now.Closed, c.connections(), now.Failure)
		}
		return now.Ready >= want, c.broken()
	})
	if errors.Is(err, errStalled) {
		return fmt.Errorf("%d of %d connections are up and nothing has happened for %s", c.ready(), c.connections(), c.patience)
	}
	return err
}
