package client

import (
	"errors"
	"net/rpc"
	"sync/atomic"

	"github.com/carillon-ws/carillon/bench/wire"
)

// Hand is a worker seen from the process that conducts a run: here (Worker) or in another process (Remote).
type Hand interface {
	Connect(Selection) (int, error)
	Leave(Selection) (int, error)
	Behave(Manner) error
	Expect(Outlook) error
	Stall(share float64) (int, error)
	Resume() error
	Attend() error
	Judge(onlySlow bool) (Judgement, error)
	Tally() (Tally, error)
	Sample() (Histogram, error)
	Missing() (Missing, error)
	Usage() (Usage, error)
	Watch() (Progress, error)
	Close() error
}

// None is nothing said, or nothing answered.
type None struct{}

// Service is what a worker process offers over net/rpc: a worker that is not there before Begin.
type Service struct {
	worker atomic.Pointer[Worker]
	clock  wire.Clock
}

// NewService returns one without a worker.
func NewService() *Service { return &Service{clock: wire.NewClock()} }

// Register makes a service callable.
func (s *Service) Register() (*rpc.Server, error) {
	server := rpc.NewServer()
	return server, server.RegisterName("Worker", s)
}

var errNotBegun = errors.New("this worker has no plan yet")

// Begin makes the worker.
func (s *Service) Begin(plan Plan, _ *None) error {
	if s.worker.Load() != nil {
		return errors.New("this worker has begun already")
	}
	w, err := NewWorker(plan)
	if err == nil {
		s.worker.Store(w)
	}
	return err
}

// Time is this machine's clock.
func (s *Service) Time(_ None, now *int64) error {
	*now = s.clock.Now()
	return nil
}

// The other methods are the worker's, in the form that net/rpc wants.

// Connect is Worker.Connect.
func (s *Service) Connect(of Selection, n *int) error {
	return ask(s, n, func(w *Worker) (int, error) { return w.Connect(of) })
}

// Leave is Worker.Leave.
func (s *Service) Leave(of Selection, n *int) error {
	return ask(s, n, func(w *Worker) (int, error) { return w.Leave(of) })
}

// Stall is Worker.Stall.
func (s *Service) Stall(share float64, n *int) error {
	return ask(s, n, func(w *Worker) (int, error) { return w.Stall(share) })
}

// Judge is Worker.Judge.
func (s *Service) Judge(only bool, j *Judgement) error {
	return ask(s, j, func(w *Worker) (Judgement, error) { return w.Judge(only) })
}

// Tally is Worker.Tally.
func (s *Service) Tally(_ None, r *Tally) error {
	return ask(s, r, (*Worker).Tally)
}

// Sample is Worker.Sample.
func (s *Service) Sample(_ None, r *Histogram) error {
	return ask(s, r, (*Worker).Sample)
}

// Missing is Worker.Missing.
func (s *Service) Missing(_ None, r *Missing) error {
	return ask(s, r, (*Worker).Missing)
}

// Usage is Worker.Usage.
func (s *Service) Usage(_ None, r *Usage) error {
	return ask(s, r, (*Worker).Usage)
}

// Watch is Worker.Watch.
func (s *Service) Watch(_ None, r *Progress) error {
	return ask(s, r, (*Worker).Watch)
}

// Behave is Worker.Behave.
func (s *Service) Behave(m Manner, _ *None) error {
	return tell(s, func(w *Worker) error { return w.Behave(m) })
}

// Expect is Worker.Expect.
func (s *Service) Expect(o Outlook, _ *None) error {
	return tell(s, func(w *Worker) error { return w.Expect(o) })
}

// Resume is Worker.Resume.
func (s *Service) Resume(_ None, _ *None) error {
	return tell(s, (*Worker).Resume)
}

// Attend is Worker.Attend.
func (s *Service) Attend(_ None, _ *None) error {
	return tell(s, (*Worker).Attend)
}

// Stop ends the worker. There may be none.
func (s *Service) Stop(_ None, _ *None) error {
	if w := s.worker.Swap(nil); w != nil {
		return w.Close()
	}
	return nil
}

func ask[R any](s *Service, reply *R, method func(*Worker) (R, error)) (err error) {
	w := s.worker.Load()
	if w == nil {
		return errNotBegun
	}
	*reply, err = method(w)
	return err
}

func tell(s *Service, method func(*Worker) error) error {
	w := s.worker.Load()
	if w == nil {
		return errNotBegun
	}
	return method(w)
}
