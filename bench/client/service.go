package client

import (
	"errors"
	"net/rpc"
	"sync/atomic"

	"github.com/carillon-ws/carillon/bench/wire"
)

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
