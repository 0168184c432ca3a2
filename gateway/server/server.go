package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"

	"github.com/carillon-ws/carillon/fanout"
)

// Server is the listener and its loops. Make one with New, run it with Run.
type Server struct {
	// Fixed at creation.
	cfg        Config
	addr       string     // host:port, with the port that was found
	claim      *portClaim // until every loop listens
	loops      []*loop
	watcher    *watcher
	ids        clientIDs
	lingerRoom int
	addresses  *addresses // nil: no limit
	after      func(time.Duration) <-chan time.Time

	// Atomic.
	sockets    atomic.Int64 // accepted and not yet closed, on all loops
	refused    atomic.Int64 // of them, those that were refused and linger: they do not count as connections
	leaving    atomic.Bool  // Run's context has ended: the drain comes, or is under way
	draining   atomic.Bool
	stopping   atomic.Bool
	restarts   atomic.Uint64
	warned     atomic.Uint32 // second of the last line about refused newcomers
	acceptRate acceptRate

	inbound inbound

	ready chan struct{} // closed when every loop listens
}

// New checks cfg and claims the port; Run, which must follow, lets go of the claim when the loops listen.
func New(cfg Config) (*Server, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	limit, err := fileLimit()
	if err != nil {
		return nil, err
	}
	claim, err := claimPort(cfg.Addr)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, addr: claim.addr, claim: claim, ids: newClientIDs(), lingerRoom: lingerRoom(limit),
		inbound: inbound{limit: int64(cfg.MaxInboundTotal)},
		ready:   make(chan struct{}), addresses: newAddresses(cfg.MaxPerAddress), acceptRate: newAcceptRate(cfg.MaxAccepts), after: time.After,
	}
	for id := range cfg.Loops {
		s.loops = append(s.loops, newLoop(id, s))
	}
	if s.watcher, err = newWatcher(s.loops, cfg.Log); err != nil {
		claim.release()
		return nil, err
	}
	return s, nil
}

// Addr is the address that clients connect to, with the port that was found.
func (s *Server) Addr() string { return s.addr }

// MaxConnections is the limit in force.
func (s *Server) MaxConnections() int { return s.cfg.MaxConnections }

// Loops are where a feeder posts: interest bit i is loop i.
func (s *Server) Loops() []fanout.Loop {
	out := make([]fanout.Loop, len(s.loops))
	for i, lp := range s.loops {
		out[i] = lp
	}
	return out
}

// Ready is closed when every loop listens.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Run listens and serves until ctx ends, and for Config.DrainDelay more; then it tells every client to come back (1012),
// waits for them to read it, and returns nil. A loop that ends unasked is started again, and said. Must not run on the loop: it blocks.
func (s *Server) Run(ctx context.Context) error {
	defer s.claim.release()
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.watcher.run(); err != nil {
			s.cfg.Log.Error("watcher ended", "error", err)
		}
	})
	failed := make(chan error, len(s.loops))
	serving, beginDrain := context.WithCancel(context.WithoutCancel(ctx)) // until the drain begins
	defer beginDrain()
	for _, lp := range s.loops {
		running.Go(func() {
			if err := s.runLoop(serving, lp); err != nil {
				failed <- err
			}
		})
		// One after the other: gnet sets process-wide variables when an engine starts.
		select {
		case <-lp.up:
		case err := <-failed:
			s.stop(&running)
			return err
		}
	}
	s.claim.release()
	close(s.ready)
	select {
	case <-ctx.Done():
	case err := <-failed:
		s.stop(&running)
		return err
	}
	if err := s.delayDrain(failed); err != nil {
		s.stop(&running)
		return err
	}
	beginDrain()
	s.drain()
	s.stop(&running)
	return nil
}

// runLoop runs a loop's engine, again if it ends unasked: gnet ends one, and returns nil, when accept fails.
func (s *Server) runLoop(ctx context.Context, lp *loop) error {
	for {
		err := gnet.Run(lp, "tcp://"+s.addr,
			gnet.WithNumEventLoop(1), gnet.WithReusePort(true), gnet.WithReuseAddr(true), gnet.WithTicker(true),
			gnet.WithLogger(gnetLogger{s.cfg.Log}))
		lp.retire()
		if s.stopping.Load() {
			return nil
		}
		select {
		case <-lp.up:
		default: // it never ran
			return fmt.Errorf("loop %d on %s does not start: %w", lp.id, s.addr, errors.Join(errNoStart, err))
		}
		s.restarts.Add(1)
		s.cfg.Log.Error("loop ended unasked, starting it again; its connections were cut", "loop", lp.id, "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// stop ends the loops and the watcher and waits for them.
func (s *Server) stop(running *sync.WaitGroup) {
	s.stopping.Store(true)
	for _, lp := range s.loops {
		lp.call(func() {}) // to look at stopping
	}
	s.watcher.stop()
	running.Wait()
	s.watcher.close()
}

// Stats returns the counters. Safe to call from any goroutine.
func (s *Server) Stats() Stats {
	out := Stats{
		MaxConnections: s.cfg.MaxConnections,
		Leaving:        s.leaving.Load(),
		Draining:       s.draining.Load(),
		Restarts:       s.restarts.Load(),
		InboundBytes:   s.inbound.held.Load(),
	}
	for _, lp := range s.loops {
		stats := lp.n.snapshot()
		stats.MailboxBytes = lp.mailbox.waiting()
		out.Loops = append(out.Loops, stats)
	}
	return out
}

// maxSilence is how long a loop may do nothing at all before it counts as stuck.
const maxSilence = 10 * time.Second

// Live returns an error that names the loops that are stuck: that answer not even the ticker. Safe to call from any
// goroutine.
func (s *Server) Live() error {
	select {
	case <-s.ready:
	default:
		return nil // not stuck: not there yet
	}
	var stuck []error
	for _, lp := range s.loops {
		if silent := int64(nowSeconds()) - lp.n.lastWork.Load(); silent > int64(seconds(maxSilence)) {
			stuck = append(stuck, fmt.Errorf("loop %d has done nothing for %d s", lp.id, silent))
		}
	}
	return errors.Join(stuck...)
}

var errNoStart = errors.New("the engine ended before it was ready")

// gnetLogger carries gnet's own lines to ours.
type gnetLogger struct{ log *slog.Logger }

func (l gnetLogger) Debugf(format string, args ...any) {
	l.log.Debug("gnet", "text", fmt.Sprintf(format, args...))
}

func (l gnetLogger) Infof(format string, args ...any) {
	l.log.Debug("gnet", "text", fmt.Sprintf(format, args...))
}

// Warnf has one use in gnet on Linux: an event of a socket that we closed while gnet went through its batch of events.
// That is how many leave at once under load, a line for each, and nothing to mend.
func (l gnetLogger) Warnf(format string, args ...any) {
	l.log.Debug("gnet", "text", fmt.Sprintf(format, args...))
}

func (l gnetLogger) Errorf(format string, args ...any) {
	l.log.Error("gnet", "text", fmt.Sprintf(format, args...))
}

// Fatalf must end the process, as gnet expects.
func (l gnetLogger) Fatalf(format string, args ...any) {
	panic("gnet: " + fmt.Sprintf(format, args...))
}
