package client

import (
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/carillon-ws/carillon/bench/wire"
)

// Remote is a worker in another process.
type Remote struct {
	name string
	rpc  *rpc.Client

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

// Abandon closes the connection to the worker. Calls that wait for an answer get an error, and the worker ends.
func (r *Remote) Abandon() {
	_ = r.rpc.Close() // nothing depends on how it ends, or whether it had ended
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

// Close ends the worker.
func (h *Handle) Close() error {
	if h.There == nil {
		return h.Here.Close(None{}, nil)
	}
	return h.There.Close()
}

// None is nothing said, or nothing answered.
type None struct{}

// Service is what a worker process offers over net/rpc: itself, and, from Begin on, its Worker.
type Service struct {
	server *rpc.Server
	worker atomic.Pointer[Worker]
	clock  wire.Clock
}

// NewService returns one without a worker, and what serves it.
func NewService() (*Service, *rpc.Server, error) {
	s := &Service{server: rpc.NewServer(), clock: wire.NewClock()}
	return s, s.server, s.server.Register(s)
}

// Begin makes the worker.
func (s *Service) Begin(plan Plan, _ *None) error {
	if s.worker.Load() != nil {
		return errors.New("this worker has begun already")
	}
	w, err := NewWorker(plan)
	if err != nil {
		return err
	}
	s.worker.Store(w)
	return s.server.Register(w)
}

// Time is this machine's clock.
func (s *Service) Time(_ None, now *int64) error {
	*now = s.clock.Now()
	return nil
}

// Stop ends the worker. There may be none.
func (s *Service) Stop(_ None, _ *None) error {
	if w := s.worker.Swap(nil); w != nil {
		return w.Close(None{}, nil)
	}
	return nil
}
