package admin

import (
	"net"
	"sync"
	"time"
)

// fresh is how long a new socket, or one that was answered, is left alone whoever else comes: time to send a request. A
// probe behind a thousand others waits for about 30 times as long.
const fresh = 20 * time.Millisecond

// boundedListener keeps at most so many sockets open. It always takes the next one, because that may be a probe: when
// no place is left, a socket on which no request is served is closed. That is an idle keep-alive connection, a
// request that is not whole, or an answer that is not read.
type boundedListener struct {
	net.Listener
	most   int
	freed  chan struct{} // holds a token after a place was given back
	closed chan struct{}
	close  sync.Once

	mu   sync.Mutex
	open map[*socket]struct{} // Guarded by mu.
}

// socket is one connection of the listener.
type socket struct {
	net.Conn
	listener *boundedListener
	from     string // the other end, without its port

	serving bool      // Guarded by listener.mu. A request is bounded and under way: the socket stays.
	since   time.Time // Guarded by listener.mu. When it was accepted, or its last request began or ended.
}

func limitSockets(listener net.Listener, most int) *boundedListener {
	return &boundedListener{
		Listener: listener, most: most,
		freed: make(chan struct{}, 1), closed: make(chan struct{}), open: make(map[*socket]struct{}, most),
	}
}

// Accept takes the next connection. While every place is taken by a fresh socket, it waits.
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

// place opens s if there is room. If not, it returns a socket to be closed for it, or for how long to wait for one.
func (l *boundedListener) place(s *socket) (wait time.Duration, victim *socket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if len(l.open) < l.most {
		s.since = now
		l.open[s] = struct{}{}
		return 0, nil
	}
	victim = l.longestWaiting()
	if victim == nil {
		return fresh, nil
	}
	if left := fresh - now.Sub(victim.since); left > 0 {
		return left, nil
	}
	delete(l.open, victim)
	return 0, victim
}

// longestWaiting returns the socket that has been without a request for longest, of the address that has most such
// sockets; nil if every socket is serving one. Called with mu held.
func (l *boundedListener) longestWaiting() (victim *socket) {
	waiting := make(map[string]int, len(l.open))
	for s := range l.open {
		if !s.serving {
			waiting[s.from]++
		}
	}
	for s := range l.open {
		switch {
		case s.serving:
		case victim == nil, waiting[s.from] > waiting[victim.from],
			waiting[s.from] == waiting[victim.from] && s.since.Before(victim.since):
			victim = s
		}
	}
	return victim
}

// serve notes that a request of the socket begins or ends. While serving is set, the socket keeps its place.
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
