package client

import (
	"fmt"
	"io"
	"net/rpc"
	"slices"
	"sync"
	"time"

	"github.com/carillon-ws/carillon/bench/wire"
)

// Remote is a worker in another process.
type Remote struct {
	name string
	rpc  *rpc.Client
	once sync.Once // closes rpc

	// Offset is what to add to its clock to get ours, and Bound how wrong that can be: half of the fastest of many
	// round trips. Both are 0 for a process of this machine, which reads the same clock.
	Offset, Bound time.Duration
}

// NewRemote speaks with a service over a connection.
func NewRemote(name string, conn io.ReadWriteCloser) *Remote {
	return &Remote{name: name, rpc: rpc.NewClient(conn)}
}

// Synchronize estimates the difference of the clocks.
func (r *Remote) Synchronize(clock wire.Clock) error {
	const trips = 100
	type trip struct{ took, offset int64 }
	seen := make([]trip, trips)
	for i := range seen {
		sent := clock.Now()
		there, err := callWithin[int64](r, firstTime, "Time", None{})
		if err != nil {
			return fmt.Errorf("%w (does it serve another bench?)", err)
		}
		took := clock.Now() - sent
		seen[i] = trip{took, sent + took/2 - there}
	}
	best := slices.MinFunc(seen, func(a, b trip) int { return int(a.took - b.took) })
	r.Offset, r.Bound = time.Duration(best.offset), time.Duration(best.took/2)
	return nil
}

// Begin gives it its plan.
func (r *Remote) Begin(plan Plan) error {
	plan.Ahead = int64(r.Offset)
	return r.tell("Begin", plan)
}

// How long a worker may take to answer. One that was stopped, or whose machine is gone, must not keep a run for ever; a
// process among fifty others with 20,000 sockets each needs some. The first question has an answer at once, unless the
// worker serves another bench.
const (
	answerTime = time.Minute
	firstTime  = 10 * time.Second
)

func call[R, A any](r *Remote, method string, args A) (reply R, err error) {
	return callWithin[R](r, answerTime, method, args)
}

func callWithin[R, A any](r *Remote, limit time.Duration, method string, args A) (R, error) {
	var reply R // not a result: an answer that comes too late may still be written to it
	asked := r.rpc.Go("Worker."+method, args, &reply, make(chan *rpc.Call, 1))
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-asked.Done:
		if asked.Error != nil {
			return reply, fmt.Errorf("worker %s: %w", r.name, asked.Error)
		}
		return reply, nil
	case <-timer.C:
		r.Abandon() // nothing that it says later counts
		var none R
		return none, fmt.Errorf("worker %s has not answered for %s", r.name, limit)
	}
}

// Abandon hangs up on the worker: whoever waits for an answer gets an error, and the worker ends when it notices.
func (r *Remote) Abandon() {
	r.once.Do(func() { _ = r.rpc.Close() }) // nothing depends on how it ends
}

func (r *Remote) tell(method string, args any) error {
	_, err := call[None](r, method, args)
	return err
}

// Connect is Worker.Connect, there.
func (r *Remote) Connect(s Selection) (int, error) { return call[int](r, "Connect", s) }

// Leave is Worker.Leave, there.
func (r *Remote) Leave(s Selection) (int, error) { return call[int](r, "Leave", s) }

// Behave is Worker.Behave, there.
func (r *Remote) Behave(m Manner) error { return r.tell("Behave", m) }

// Expect is Worker.Expect, there.
func (r *Remote) Expect(o Outlook) error { return r.tell("Expect", o) }

// Stall is Worker.Stall, there.
func (r *Remote) Stall(share float64) (int, error) { return call[int](r, "Stall", share) }

// Resume is Worker.Resume, there.
func (r *Remote) Resume() error { return r.tell("Resume", None{}) }

// Attend is Worker.Attend, there.
func (r *Remote) Attend() error { return r.tell("Attend", None{}) }

// Judge is Worker.Judge, there.
func (r *Remote) Judge(only bool) (Judgement, error) { return call[Judgement](r, "Judge", only) }

// Tally is Worker.Tally, there.
func (r *Remote) Tally() (Tally, error) { return call[Tally](r, "Tally", None{}) }

// Sample is Worker.Sample, there.
func (r *Remote) Sample() (Histogram, error) { return call[Histogram](r, "Sample", None{}) }

// Missing is Worker.Missing, there.
func (r *Remote) Missing() (Missing, error) { return call[Missing](r, "Missing", None{}) }

// Usage is Worker.Usage, there.
func (r *Remote) Usage() (Usage, error) { return call[Usage](r, "Usage", None{}) }

// Watch is Worker.Watch, there.
func (r *Remote) Watch() (Progress, error) { return call[Progress](r, "Watch", None{}) }

// Close ends the worker and the connection to it.
func (r *Remote) Close() error {
	defer r.Abandon()
	return r.tell("Stop", None{})
}
