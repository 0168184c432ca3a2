package coordinator

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

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

	// Atomic.
	ready, closed, received atomic.Int64
	failure                 atomic.Pointer[string] // of its first connection that failed, or its own
	broken                  atomic.Bool            // the worker itself is gone
	epoch, asked            atomic.Int64           // of its Progress, and of what it was asked: ready is later than that when they are equal
}

// machine is where a worker runs; the name is empty for this one.
func (h *worker) machine() string {
	if h.There == nil || h.own != nil {
		return ""
	}
	host, _, _ := strings.Cut(h.where, ":")
	return host
}

// up is how many clients of a worker are connected: none, as far as is known, before it has told so since it was asked
// to change that.
func (h *worker) up() int64 {
	if h.epoch.Load() < h.asked.Load() {
		return 0
	}
	return h.ready.Load()
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
	for _, h := range workers {
		c.wg.Go(func() { c.watch(h) })
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
	return c.each(func(h *worker) error {
		err := h.Close()
		if h.own != nil {
			err = errors.Join(err, h.own.Stop())
		}
		return err
	})
}

// abandon hangs up on all workers in other processes, so that nobody waits for one that does not answer.
func (c *Workers) abandon() {
	for _, h := range c.all {
		if h.There != nil {
			h.There.Abandon()
		}
	}
}

// watch keeps up with one worker.
func (c *Workers) watch(h *worker) {
	for {
		p, err := client.Ask(h.Handle, (*client.Worker).Watch, client.None{})
		if err != nil {
			text := err.Error()
			h.failure.CompareAndSwap(nil, &text)
			h.broken.Store(true)
			notify(c.changed)
			return
		}
		h.ready.Store(int64(p.Ready))
		h.epoch.Store(int64(p.Epoch))
		h.closed.Store(int64(p.Closed))
		h.received.Add(int64(p.Received))
		if p.Failure != "" {
			h.failure.CompareAndSwap(nil, &p.Failure)
		}
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

// count works out who hears what; those left out do not.
func (c *Workers) count(leftOut func(connection int) bool) {
	c.audience, c.pending = make([]int32, c.load.Channels), make([]int32, c.load.Channels)
	for _, h := range c.all {
		for ch, n := range c.load.Audience(h.first, h.count, leftOut) {
			if n > 0 {
				c.audience[ch] += n
				c.pending[ch]++
			}
		}
	}
}

// each does something on all workers at once.
func (c *Workers) each(f func(*worker) error) error {
	var all errgroup.Group
	for _, h := range c.all {
		all.Go(func() error { return f(h) })
	}
	return all.Wait()
}

// gather asks all workers the same at the same time, and adds their answers up, one after the other.
func gather[A, R any](c *Workers, method func(*client.Worker, A, *R) error, args A, add func(R)) error {
	var mu sync.Mutex
	return c.each(func(h *worker) error {
		answer, err := client.Ask(h.Handle, method, args)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		add(answer)
		return nil
	})
}

// tell has all workers do something.
func tell[A any](c *Workers, method func(*client.Worker, A, *client.None) error, args A) error {
	return gather(c, method, args, func(client.None) {})
}

// connect lets a share of the clients connect, those that are not. Without a rate, only a few workers do so at a time
// when there are many: together they would only take the CPUs from each other and from the gateways.
func (c *Workers) connect(share, perSecond float64) {
	s := client.Selection{Share: share, PerSecond: perSecond}
	turns := make(chan struct{}, len(c.all))
	if perSecond == 0 {
		turns = make(chan struct{}, 2*runtime.NumCPU())
	}
	for _, h := range c.all {
		c.wg.Go(func() {
			select {
			case turns <- struct{}{}:
				c.connectWorker(h, s)
				<-turns
			case <-c.stop:
			}
		})
	}
}

// connectWorker lets one worker's clients connect, and returns when they are up, or when that will not be.
func (c *Workers) connectWorker(h *worker, s client.Selection) {
	_, err := client.Ask(h.Handle, (*client.Worker).Connect, s)
	if err != nil {
		text := err.Error()
		h.failure.CompareAndSwap(nil, &text)
		h.broken.Store(true)
		notify(c.changed)
		return
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for want := int64(h.count); h.up() < want && h.closed.Load() == 0 && !h.broken.Load(); {
		select {
		case <-tick.C:
		case <-c.stop:
			return
		}
	}
}

// expect tells everybody what will be published; without a schedule only what was. With watch, readers look whether they
// are late.
func (c *Workers) expect(s *client.Schedule, watch bool) error {
	o := client.Outlook{First: c.tracker.opened(), Watch: watch}
	if s != nil {
		o.Start, o.Rate, o.Total = s.Start, s.Rate, s.Total
	}
	return tell(c, (*client.Worker).Expect, o)
}

// tally ends a phase on all workers.
func (c *Workers) tally() (*client.Tally, error) {
	sum := client.NewTally()
	err := gather(c, (*client.Worker).Tally, client.None{}, func(t client.Tally) { sum.Merge(&t) })
	return &sum, err
}

// sample is the deliveries of all workers since the last sample.
func (c *Workers) sample() (client.Histogram, error) {
	sum := client.NewHistogram()
	err := gather(c, (*client.Worker).Sample, client.None{}, sum.Merge)
	return sum, err
}

// missing is what never came, on all workers.
func (c *Workers) missing() (sum client.Missing, err error) {
	err = gather(c, (*client.Worker).Missing, client.None{}, func(m client.Missing) {
		sum.Lost += m.Lost
		sum.Missed += m.Missed
	})
	return sum, err
}

// judge is what became of the clients that a fault has hit, on all workers.
func (c *Workers) judge(onlySlow bool) (sum client.Judgement, err error) {
	err = gather(c, (*client.Worker).Judge, onlySlow, func(j client.Judgement) {
		sum.Up += j.Up
		sum.Told += j.Told
		sum.Signaled += j.Signaled
		sum.Unsignaled += j.Unsignaled
	})
	return sum, err
}

// leave ends the connections of the selected clients, and returns how many there were.
func (c *Workers) leave(s client.Selection) (sum int, err error) {
	c.ask()
	err = gather(c, (*client.Worker).Leave, s, func(n int) { sum += n })
	return sum, err
}

// behave changes the manner of all clients.
func (c *Workers) behave(m client.Manner) error {
	c.ask()
	return tell(c, (*client.Worker).Behave, m)
}

// ask notes that all workers are asked to change who is connected; see up.
func (c *Workers) ask() {
	for _, h := range c.all {
		h.asked.Add(1)
	}
}

// Threads is the CPU time of all threads that read sockets, at one moment.
type Threads struct {
	at  time.Time
	cpu []thread
}

type thread struct {
	machine string
	cpus    int // of the machine
	used    time.Duration
}

// Threads looks at the threads of all workers.
func (c *Workers) Threads() (all Threads, err error) {
	all.at = time.Now()
	each := make([][]thread, len(c.all))
	var group errgroup.Group
	for i, h := range c.all {
		group.Go(func() error {
			u, err := client.Ask(h.Handle, (*client.Worker).Usage, client.None{})
			for _, ns := range u.Threads {
				each[i] = append(each[i], thread{h.machine(), u.CPUs, time.Duration(ns)})
			}
			return err
		})
	}
	err = group.Wait()
	all.cpu = slices.Concat(each...)
	return all, err
}

// Busy is the share of the time since then that reading took.
func (c *Workers) Busy(before Threads) (float64, error) {
	now, err := c.Threads()
	return now.busySince(before), err
}

// busySince is the share of the busiest thread, or, since many threads may share few CPUs, the share of a machine's CPUs
// that its threads could have had.
func (now Threads) busySince(before Threads) (busiest float64) {
	seconds := now.at.Sub(before.at).Seconds()
	type machine struct {
		used    float64
		threads int
	}
	machines := map[string]machine{}
	for i, t := range now.cpu[:min(len(now.cpu), len(before.cpu))] {
		used := (t.used - before.cpu[i].used).Seconds()
		m := machines[t.machine]
		m.used, m.threads = m.used+used, m.threads+1
		machines[t.machine] = m
		busiest = max(busiest, used/seconds, m.used/float64(min(m.threads, t.cpus))/seconds)
	}
	return busiest
}

// usage is what all worker processes on this machine use, and this one.
func (c *Workers) usage() host.Usage {
	sum := host.SelfUsage()
	if self, err := host.ReadUsage(selfPID, 0); err == nil {
		sum.RSS = self.RSS
	}
	for _, h := range c.all {
		if h.own != nil {
			if u, err := host.ReadUsage(h.own.PID(), 0); err == nil {
				sum.CPU += u.CPU
				sum.User += u.User
				sum.RSS += u.RSS
			}
		}
	}
	return sum
}

func (c *Workers) connections() int { return c.load.Connections }

func (c *Workers) ready() int    { return c.sum((*worker).up) }
func (c *Workers) closed() int   { return c.sum(func(h *worker) int64 { return h.closed.Load() }) }
func (c *Workers) received() int { return c.sum(func(h *worker) int64 { return h.received.Load() }) }

func (c *Workers) sum(f func(*worker) int64) int {
	n := int64(0)
	for _, h := range c.all {
		n += f(h)
	}
	return int(n)
}

// failure is why a connection failed or was closed, nil when none was.
func (c *Workers) failure() error {
	for _, h := range c.all {
		if text := h.failure.Load(); text != nil {
			return errors.New(*text)
		}
	}
	return nil
}

func (c *Workers) broken() error {
	for _, h := range c.all {
		if h.broken.Load() {
			return fmt.Errorf("worker %s is gone: %s", h.where, *h.failure.Load())
		}
	}
	return nil
}

// awaitReady waits until so many connections are up. With returning, those that fail come back by themselves.
func (c *Workers) awaitReady(ctx context.Context, want int, returning bool) error {
	stalled := time.NewTimer(c.patience)
	defer stalled.Stop()
	before := -1
	for {
		ready, closed := c.ready(), c.closed()
		switch {
		case c.broken() != nil:
			return c.broken()
		case closed > 0 && !returning:
			return fmt.Errorf("%d of %d connections failed, the first with: %w", closed, c.connections(), c.failure())
		case ready >= want:
			return nil
		case ready != before:
			before = ready
			stalled.Reset(c.patience)
		}
		select {
		case <-c.changed:
		case <-stalled.C:
			return fmt.Errorf("%d of %d connections are up and nothing has happened for %s", ready, c.connections(), c.patience)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
