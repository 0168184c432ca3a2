package admin

import (
	"net"
	"sync"
)

// boundedListener accepts while fewer than cap(slots) of its connections are open. The others wait in the kernel's
// queue, where they cost the gateway no file.
type boundedListener struct {
	net.Listener
	slots  chan struct{}
	closed chan struct{}
	close  sync.Once
}

func limitConnections(listener net.Listener, n int) *boundedListener {
	return &boundedListener{Listener: listener, slots: make(chan struct{}, n), closed: make(chan struct{})}
}

func (l *boundedListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &countedConn{Conn: conn, slots: l.slots}, nil
}

func (l *boundedListener) Close() error {
	l.close.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// countedConn gives its slot back when it is closed, once.
type countedConn struct {
	net.Conn
	slots chan struct{}
	close sync.Once
}

func (c *countedConn) Close() error {
	err := c.Conn.Close()
	c.close.Do(func() { <-c.slots })
	return err
}
