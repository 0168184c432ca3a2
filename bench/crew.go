package main

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

// crew is all clients of a run: workers, here or in other processes, each with its share of the connections.
type crew struct {
	plan     client.Plan // of all; each worker has its part of it
	load     *client.Workload
	clock    wire.Clock
	board    *scoreboard
	hands    []*hand
	changed  chan struct{} // connections came up or went; one slot
	patience time.Duration

	audience []int32 // subscribers of each channel that read
	pending  []int32 // workers that have one

	stop chan struct{}
	wg   sync.WaitGroup
}

// hand is one worker, as far as the process that conducts the run knows it.
type hand struct {
	*client.Hand

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
func (h *hand) machine() string {
	if h.There == nil || h.own != nil {
		return ""
	}
	host, _, _ := strings.Cut(h.where, ":")
	return host
}

// up is how many clients of a worker are connected: none, as far as is known, before it has told so since it was asked
// to change that.
func (h *hand) up() int64 {
	if h.epoch.Load() < h.asked.Load() {
		return 0
	}
	return h.ready.Load()
}

// newPlan is what all workers of a run have in common.
func newPlan(targets []client.Target, load client.Workload) client.Plan {
	mark := wire.NewMark()
	seed, _ := hex.DecodeString(mark[2:]) // we made it
	return client.Plan{
		Targets: targets, Load: load, Mark: mark, Seed: uint64(binary.BigEndian.Uint32(seed)),
		Count: load.Connections, Threads: 1, Opening: maxOpening,
	}
}

// newCrew takes over workers that have begun.
func newCrew(plan client.Plan, hands []*hand) *crew {
	plan.Load.Prepare()
	c := &crew{
		plan: plan, load: &plan.Load, clock: wire.NewClock(), board: newScoreboard(), hands: hands,
		changed: make(chan struct{}, 1), patience: max(patience, time.Duration(plan.Load.Connections)*patienceEach), stop: make(chan struct{}),
	}
	c.count(nil)
	for _, h := range hands {
		c.wg.Go(func() { c.watch(h) })
	}
	return c
}

// localCrew is a crew of this process alone.
func localCrew(plan client.Plan) (*crew, error) {
	w, err := client.NewWorker(plan)
	if err != nil {
		return nil, err
	}
	return newCrew(plan, []*hand{{Hand: &client.Hand{Here: w}, count: plan.Count, where: "here"}}), nil
}

// close hangs up on the server and ends the workers.
func (c *crew) close() error {
	close(c.stop)
	c.wg.Wait()
	return c.each(func(h *hand) error {
		err := h.Close()
		if h.own != nil {
			err = errors.Join(err, h.own.Stop())
		}
		return err
	})
}

// abandon hangs up on all workers in other processes, so that nobody waits for one that does not answer.
func (c *crew) abandon() {
	for _, h := range c.hands {
		if h.There != nil {
			h.There.Abandon()
		}
	}
}

// watch keeps up with one worker.
func (c *crew) watch(h *hand) {
	for {
		p, err := client.Ask(h.Hand, (*client.Worker).Watch, client.None{})
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
		c.board.complete(p.Done)
		notify(c.changed)
		notify(c.board.wake) // when nobody is left, there is nothing to wait for
		select {
		case <-c.stop:
			return
		default:
		}
	}
}

// count works out who hears what; those left out do not.
func (c *crew) count(leftOut func(connection int) bool) {
	c.audience, c.pending = make([]int32, c.load.Channels), make([]int32, c.load.Channels)
	for _, h := range c.hands {
		for ch, n := range c.load.Audience(h.first, h.count, leftOut) {
			if n > 0 {
				c.audience[ch] += n
				c.pending[ch]++
			}
		}
	}
}

// each does something on all workers at once.
func (c *crew) each(f func(*hand) error) error {
	var all errgroup.Group
	for _, h := range c.hands {
		all.Go(func() error { return f(h) })
	}
	return all.Wait()
}

// gather asks all workers the same at the same time, and adds their answers up, one after the other.
func gather[A, R any](c *crew, method func(*client.Worker, A, *R) error, args A, add func(R)) error {
	var mu sync.Mutex
	return c.each(func(h *hand) error {
		answer, err := client.Ask(h.Hand, method, args)
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
func tell[A any](c *crew, method func(*client.Worker, A, *client.None) error, args A) error {
	return gather(c, method, args, func(client.None) {})
}

// connect lets a share of the clients connect, those that are not. Without a rate, only a few workers do so at a time
// when there are many: together they would only take the CPUs from each other and from the gateways.
func (c *crew) connect(share, perSecond float64) {
	s := client.Selection{Share: share, PerSecond: perSecond}
	turns := make(chan struct{}, len(c.hands))
	if perSecond == 0 {
		turns = make(chan struct{}, 2*runtime.NumCPU())
	}
	for _, h := range c.hands {
		c.wg.Go(func() {
			select {
			case turns <- struct{}{}:
				c.connectHand(h, s)
				<-turns
			case <-c.stop:
			}
		})
	}
}

// connectHand lets one worker's clients connect, and returns when they are up, or when that will not be.
func (c *crew) connectHand(h *hand, s client.Selection) {
	_, err := client.Ask(h.Hand, (*client.Worker).Connect, s)
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
func (c *crew) expect(s *client.Schedule, watch bool) error {
	o := client.Outlook{First: c.board.opened(), Watch: watch}
	if s != nil {
		o.Start, o.Rate, o.Total = s.Start, s.Rate, s.Total
	}
	return tell(c, (*client.Worker).Expect, o)
}

// tally ends a phase on all workers.
func (c *crew) tally() (*client.Tally, error) {
	sum := client.NewTally()
	err := gather(c, (*client.Worker).Tally, client.None{}, func(t client.Tally) { sum.Merge(&t) })
	return &sum, err
}

// sample is the deliveries of all workers since the last sample.
func (c *crew) sample() (client.Histogram, error) {
	sum := client.NewHistogram()
	err := gather(c, (*client.Worker).Sample, client.None{}, sum.Merge)
	return sum, err
}

// missing is what never came, on all workers.
func (c *crew) missing() (sum client.Missing, err error) {
	err = gather(c, (*client.Worker).Missing, client.None{}, func(m client.Missing) {
		sum.Lost += m.Lost
		sum.Missed += m.Missed
	})
	return sum, err
}

// judge is what became of the clients that a fault has hit, on all workers.
func (c *crew) judge(onlySlow bool) (sum client.Judgement, err error) {
	err = gather(c, (*client.Worker).Judge, onlySlow, func(j client.Judgement) {
		sum.Up += j.Up
		sum.Told += j.Told
		sum.Signaled += j.Signaled
		sum.Unsignaled += j.Unsignaled
	})
	return sum, err
}

// leave ends the connections of the selected clients, and returns how many there were.
func (c *crew) leave(s client.Selection) (sum int, err error) {
	c.ask()
	err = gather(c, (*client.Worker).Leave, s, func(n int) { sum += n })
	return sum, err
}

// behave changes the manner of all clients.
func (c *crew) behave(m client.Manner) error {
	c.ask()
	return tell(c, (*client.Worker).Behave, m)
}

// ask notes that all workers are asked to change who is connected; see up.
func (c *crew) ask() {
	for _, h := range c.hands {
		h.asked.Add(1)
	}
}

// threads is the CPU time of all threads that read sockets, at one moment.
type threads struct {
	at  time.Time
	cpu []thread
}

type thread struct {
	machine string
	cpus    int // of the machine
	used    time.Duration
}

func (c *crew) threads() (all threads, err error) {
	all.at = time.Now()
	each := make([][]thread, len(c.hands))
	var group errgroup.Group
	for i, h := range c.hands {
		group.Go(func() error {
			u, err := client.Ask(h.Hand, (*client.Worker).Usage, client.None{})
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

// busy is the share of the time since then that reading took.
func (c *crew) busy(before threads) (float64, error) {
	now, err := c.threads()
	return now.busySince(before), err
}

// busySince is the share of the busiest thread, or, since many threads may share few CPUs, the share of a machine's CPUs
// that its threads could have had.
func (now threads) busySince(before threads) (busiest float64) {
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
func (c *crew) usage() host.Usage {
	sum := host.SelfUsage()
	if self, err := host.ReadUsage(selfPID, 0); err == nil {
		sum.RSS = self.RSS
	}
	for _, h := range c.hands {
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

func (c *crew) connections() int { return c.load.Connections }

func (c *crew) ready() int    { return c.sum((*hand).up) }
func (c *crew) closed() int   { return c.sum(func(h *hand) int64 { return h.closed.Load() }) }
func (c *crew) received() int { return c.sum(func(h *hand) int64 { return h.received.Load() }) }

func (c *crew) sum(f func(*hand) int64) int {
	n := int64(0)
	for _, h := range c.hands {
		n += f(h)
	}
	return int(n)
}

// failure is why a connection failed or was closed, nil when none was.
func (c *crew) failure() error {
	for _, h := range c.hands {
		if text := h.failure.Load(); text != nil {
			return errors.New(*text)
		}
	}
	return nil
}

func (c *crew) broken() error {
	for _, h := range c.hands {
		if h.broken.Load() {
			return fmt.Errorf("worker %s is gone: %s", h.where, *h.failure.Load())
		}
	}
	return nil
}

// awaitReady waits until so many connections are up. With returning, those that fail come back by themselves.
func (c *crew) awaitReady(ctx context.Context, want int, returning bool) error {
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
