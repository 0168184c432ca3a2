package client

import (
	"fmt"
	"io"
	"net/rpc"
	"reflect"
	"runtime"
	"slices"
	"strings"
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
		there, err := callWithin[int64](r, firstTime, "Service.Time", None{})
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
	_, err := callWithin[None](r, answerTime, "Service.Begin", plan)
	return err
}

// How long a worker may take to answer. One that was stopped, or whose machine is gone, must not keep a run for ever; a
// process among fifty others with 20,000 sockets each needs some. The first question has an answer at once, unless the
// worker serves another bench.
const (
	answerTime = time.Minute
	firstTime  = 10 * time.Second
)

func callWithin[R, A any](r *Remote, limit time.Duration, method string, args A) (R, error) {
	var reply R // not a result: an answer that comes too late may still be written to it
	asked := r.rpc.Go(method, args, &reply, make(chan *rpc.Call, 1))
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

// Close ends the worker and the connection to it.
func (r *Remote) Close() error {
	defer r.Abandon()
	_, err := callWithin[None](r, answerTime, "Service.Stop", None{})
	return err
}

// Handle is a worker as the coordinator has it: Here, or in another process.
type Handle struct {
	Here  *Worker
	There *Remote // nil when it is here
}

// Ask has a worker do something, wherever it is.
func Ask[A, R any](h *Handle, method func(*Worker, A, *R) error, args A) (reply R, err error) {
	if h.There == nil {
		err = method(h.Here, args, &reply)
		return reply, err
	}
	name := runtime.FuncForPC(reflect.ValueOf(method).Pointer()).Name() // path/client.(*Worker).Name
	return callWithin[R](h.There, answerTime, "Worker"+name[strings.LastIndexByte(name, '.'):], args)
}

// Tell is Ask without an answer.
func Tell[A any](h *Handle, method func(*Worker, A, *None) error, args A) error {
	_, err := Ask(h, method, args)
	return err
}

// Close ends the worker.
func (h *Handle) Close() error {
	if h.There == nil {
		return h.Here.Close(None{}, nil)
	}
	return h.There.Close()
}
