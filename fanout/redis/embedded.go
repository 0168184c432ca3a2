package redis

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
)

// DefaultEmbeddedAddr is where an embedded Redis listens if the port is free: where redis-cli looks for one.
const DefaultEmbeddedAddr = "127.0.0.1:6379"

// Embedded is a Redis inside this process (miniredis), for a first run and for tests. It takes plain
// publishers, redis-cli for one, but keeps everything in memory, has no password, and serves one command at a time: a
// subscriber that stops reading stops it. Its methods are safe to call from any goroutine.
type Embedded struct {
	mini    *miniredis.Miniredis
	addr    string
	clients atomic.Int64 // connections now

	// Guarded by mu.
	mu       sync.Mutex
	listener net.Listener  // nil while paused
	accepted chan struct{} // closed when nothing is accepted from listener any more
	resume   *time.Timer   // nil unless paused
	closed   bool
}

const (
	// maxEmbeddedClients is how many connections an embedded Redis takes: those of this process, and as many again.
	maxEmbeddedClients = 2 * maxPublishConns
	// MaxEmbeddedFiles is how many descriptors it holds at most: its listener, its connections, and one that is being
	// refused. The other end of a connection that is this process' own is counted in [MaxFiles].
	MaxEmbeddedFiles = 1 + maxEmbeddedClients + 1
)

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
	e := &Embedded{mini: mini, addr: addr}
	err = e.startLocked()
	if errors.Is(err, syscall.EADDRINUSE) {
		e.addr = net.JoinHostPort(host, "0")
		err = e.startLocked()
	}
	if err != nil {
		return nil, fmt.Errorf("embedded redis on %s: %w", addr, err)
	}
	e.addr = e.listener.Addr().String()
	return e, nil
}

// startLocked listens on e.addr and serves. miniredis is not given the listener, because it takes any number of
// connections.
func (e *Embedded) startLocked() error {
	listener, err := net.Listen("tcp", e.addr)
	if err != nil {
		return err
	}
	first, err := e.mini.Dial() // this starts it
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	_ = first.Close() // a pipe
	e.listener, e.accepted = listener, make(chan struct{})
	go e.accept(listener, e.mini.Server(), e.accepted)
	return nil
}

// stopLocked ends the connections and returns when their goroutines are gone.
func (e *Embedded) stopLocked() {
	if e.listener != nil {
		_ = e.listener.Close()
		<-e.accepted
		e.listener = nil
	}
	e.mini.Close()
}

// accept serves what comes until the listener is closed. A connection too many is told so, in the words of Redis.
func (e *Embedded) accept(listener net.Listener, serve *server.Server, done chan<- struct{}) {
	defer close(done)
	for {
		conn, err := listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			<-time.After(resumeRetry) // no descriptor is left, perhaps
		case e.clients.Add(1) > maxEmbeddedClients:
			_, _ = conn.Write([]byte("-ERR max number of clients reached\r\n")) // a new socket takes it at once
			_ = conn.Close()
			e.clients.Add(-1)
		default:
			serve.ServeConn(&embeddedConn{Conn: conn, clients: &e.clients})
		}
	}
}

// embeddedConn counts itself out when it is closed, once.
type embeddedConn struct {
	net.Conn
	clients *atomic.Int64
	once    sync.Once
}

func (c *embeddedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { c.clients.Add(-1) })
	return err
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
	e.stopLocked()
	e.resume = time.AfterFunc(d, e.endPause)
	return nil
}

func (e *Embedded) endPause() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	if err := e.startLocked(); err != nil {
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
	e.stopLocked()
}
