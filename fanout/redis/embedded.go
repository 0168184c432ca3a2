package redis

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// DefaultEmbeddedAddr is where an embedded Redis listens if the port is free: where redis-cli looks for one.
const DefaultEmbeddedAddr = "127.0.0.1:6379"

// Embedded is a Redis inside this process (miniredis), for a first run and for tests. It takes plain
// publishers, redis-cli for one, but keeps everything in memory, has no password, and serves one command at a time: a
// subscriber that stops reading stops it. Its methods are safe to call from any goroutine.
type Embedded struct {
	mini *miniredis.Miniredis
	addr string

	// Guarded by mu.
	mu     sync.Mutex
	resume *time.Timer // nil unless paused
	closed bool
}

// ErrPaused says that an embedded Redis is paused already, or closed.
var ErrPaused = errors.New("the embedded redis is paused already")

// resumeRetry is how soon a port is tried again that somebody took during a pause.
const resumeRetry = 100 * time.Millisecond

// StartEmbedded starts one on addr, host:port with a loopback address; empty means [DefaultEmbeddedAddr]. If the
// port is taken it listens on a free one instead: see Addr. Its goroutines end with Close.
func StartEmbedded(addr string) (*Embedded, error) {
	if addr == "" {
		addr = DefaultEmbeddedAddr
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("embedded redis on %s: %w", addr, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("embedded redis on %s: it has no password and listens on loopback only", addr)
	}
	mini := miniredis.NewMiniRedis()
	mini.ClockTTL(true) // keys expire by the clock, as in a real one
	err = mini.StartAddr(addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		err = mini.StartAddr(net.JoinHostPort(host, "0"))
	}
	if err != nil {
		return nil, fmt.Errorf("embedded redis on %s: %w", addr, err)
	}
	return &Embedded{mini: mini, addr: mini.Addr()}, nil
}

// Addr is the address it listens on, host:port.
func (e *Embedded) Addr() string { return e.addr }

// URL is the address as [Config] takes it.
func (e *Embedded) URL() string { return "redis://" + e.addr }

// Pause cuts its connections and refuses new ones for d, to show what an outage does. Then it is back at the same
// address, with its keys; subscribers have to come back by themselves.
func (e *Embedded) Pause(d time.Duration) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed || e.resume != nil {
		return ErrPaused
	}
	e.mini.Close()
	e.resume = time.AfterFunc(d, e.endPause)
	return nil
}

func (e *Embedded) endPause() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	if err := e.mini.StartAddr(e.addr); err != nil {
		e.resume.Reset(resumeRetry)
		return
	}
	e.resume = nil
}

// Close closes its connections and returns when its goroutines are gone.
func (e *Embedded) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	if e.resume != nil {
		e.resume.Stop()
	}
	e.mini.Close()
}
