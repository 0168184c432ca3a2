package admin

import (
	"net"
	"sync"
	"time"
)

// fresh is how long a socket is never closed for another one after it was accepted or answered: it has this time to send
// a request. With a thousand sockets before it, a probe waits about 30 times as long.
const fresh = 20 * time.Millisecond

// boundedListener keeps at most so many sockets open. It always takes the next one, because that may be a probe. When no
// place is left, it closes a socket on which no request is served: an idle keep-alive connection, one whose request is
// not complete, or one that does not read its answer.
type boundedListener struct {
	net.Listener
	most   int
	freed  chan struct{} // a signal: a place was given back
	closed chan struct{}
	close  sync.Once

	mu   sync.Mutex
	open map[*socket]struct{} // Guarded by mu.
}

// socket is one connection of the listener.
type socket struct {
	net.Conn
	listener *boundedListener
	from     string // address of the client, without its port

	serving bool      // Guarded by listener.mu. It has one of the counted requests, so it is not closed for another.
	since   time.Time // Guarded by listener.mu. When it was accepted, or when its last request began or ended.
}

func limitSockets(listener net.Listener, most int) *boundedListener {
	return &boundedListener{
		Listener: listener, most: most,
		freed: make(chan struct{}, 1), closed: make(chan struct{}), open: make(map[*socket]struct{}, most),
	}
}

// Accept returns the next connection. It waits while all places are taken by sockets that are fresh or serve a request.
func (l *boundedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	s := &socket{Conn: conn, listener: l, from: hostOnly(conn.RemoteAddr().String())}
	for {
		wait, victim := l.place(s)
		switch {
		case victim != nil:
			_ = victim.Conn.Close()
		case wait == 0:
			return s, nil
		default:
			select {
			case <-l.freed:
			case <-time.After(wait):
			case <-l.closed:
				_ = conn.Close()
				return nil, net.ErrClosed
			}
		}
	}
}

// place gives s a place if there is one. If not, it returns a socket to close for it, or how long to wait for one.
func (l *boundedListener) place(s *socket) (wait time.Duration, victim *socket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if len(l.open) < l.most {
		s.since = now
		l.open[s] = struct{}{}
		return 0, nil
	}
	victim = l.longestIdleLocked()
	if victim == nil {
		return fresh, nil
	}
	if left := fresh - now.Sub(victim.since); left > 0 {
		return left, nil
	}
	delete(l.open, victim)
	return 0, victim
}

// longestIdleLocked returns a socket without a request: of the address that has most of them, the one that has been so for
// longest. It returns nil if every socket serves a request.
func (l *boundedListener) longestIdleLocked() (victim *socket) {
	idle := make(map[string]int, len(l.open))
	for s := range l.open {
		if !s.serving {
			idle[s.from]++
		}
	}
	for s := range l.open {
		switch {
		case s.serving:
		case victim == nil, idle[s.from] > idle[victim.from],
			idle[s.from] == idle[victim.from] && s.since.Before(victim.since):
			victim = s
		}
	}
	return victim
}

// serve notes that a request on the socket begins or ends. While one is served, the socket keeps its place.
func (s *socket) serve(serving bool) {
	s.listener.mu.Lock()
	s.serving, s.since = serving, time.Now()
	s.listener.mu.Unlock()
}

// Close closes the connection and gives its place back. It may be called more than once.
func (s *socket) Close() error {
	err := s.Conn.Close()
	s.listener.mu.Lock()
	delete(s.listener.open, s)
	s.listener.mu.Unlock()
	select {
	case s.listener.freed <- struct{}{}:
	default:
	}
	return err
}

func (l *boundedListener) Close() error {
	l.close.Do(func() { close(l.closed) })
	return l.Listener.Close()
}
