package client

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"github.com/carillon-ws/carillon/bench/wire"
)

// client is one connection to the gateway. There may be a million of them over a few processes, so it has no
// goroutine, no buffer and no timer: a partial frame's bytes are all it ever keeps.
//
// Owned by the poller.
type client struct {
	seq    sequence
	rest   []byte // what a read left behind: less than one frame, exactly as long as it is
	since  int64  // when connecting began
	number int32  // of all connections of the run; channel and source address follow from it
	fd     int32
	target uint16 // index of
	state  state
	slow   slowness
	fresh  bool // what was published before it subscribes is not expected of it
	told   bool // a gap was told since the last judgement
}

type state uint8

const (
	stateNew         state = iota
	stateConnecting        // until the socket is writable
	stateUpgrading         // until the 101
	stateSubscribing       // until `subscribed`
	stateReady
	stateClosed
)

// slowness is whether Stall keeps a client from reading.
type slowness uint8

const (
	slowNever   slowness = iota
	slowStalled          // it does not read
	slowResumed          // it reads again
)

// onEvents reacts to what epoll said about the socket.
func (p *poller) onEvents(c *client, events uint32) {
	const gone = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
	switch c.state {
	case stateNew, stateClosed:
		return // an event of the same turn, from before it was closed
	case stateConnecting:
		if err := p.onConnected(c); err != nil {
			p.drop(c, err)
			return
		}
		// The socket is edge-triggered: an answer cannot be there before the request, so its event is still to come.
	default:
		if c.slow == slowStalled {
			return // it reads nothing, not even the end of the stream
		}
		if events&(unix.EPOLLIN|gone) != 0 {
			p.read(c, events&gone != 0)
		}
	}
}

func (p *poller) onConnected(c *client) error {
	errno, err := unix.GetsockoptInt(int(c.fd), unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = unix.Errno(errno)
	}
	if err != nil {
		return os.NewSyscallError("connect", err)
	}
	c.state = stateUpgrading
	return p.write(c, p.shakes[c.target].RequestFor(int(c.number)))
}

// write sends a few bytes. They are so few that a socket which does not take all of them is broken.
func (p *poller) write(c *client, b []byte) error {
	n, err := wire.Send(int(c.fd), b)
	if err != nil {
		return os.NewSyscallError("send", err)
	}
	if n < len(b) {
		return errors.New("the socket takes no more bytes: the server does not read")
	}
	return nil
}

var errServerClosed = errors.New("closed by the server")

// read reads until the socket is empty. hangup says that the stream has ended.
func (p *poller) read(c *client, hangup bool) {
	for c.state != stateClosed {
		p.makeRoom(len(c.rest))
		have := copy(p.buf, c.rest)
		n, err := wire.Receive(int(c.fd), p.buf[have:])
		switch {
		case err == unix.EAGAIN: //nolint:errorlint // a bare errno
			return
		case err == unix.EINTR: //nolint:errorlint // a bare errno
			continue
		case err != nil:
			p.drop(c, os.NewSyscallError("recv", err))
			return
		case n == 0:
			p.drop(c, errServerClosed)
			return
		}
		data := p.buf[:have+n]
		used, err := p.consume(c, data, p.now())
		if err != nil {
			p.drop(c, err)
			return
		}
		if c.rest = nil; used < len(data) {
			c.rest = bytes.Clone(data[used:])
		}
		// A short read emptied the socket (epoll(7)): the next byte is a new event. The end of the stream is not.
		if have+n < len(p.buf) && !hangup {
			return
		}
	}
}

// makeRoom keeps space for a decent read behind what a client kept; only frames larger than the buffer make it grow.
func (p *poller) makeRoom(kept int) {
	if kept+minRead > len(p.buf) {
		p.buf = make([]byte, 2*(kept+minRead))
	}
}

// consume reads whole frames and returns how many bytes of data they were.
func (p *poller) consume(c *client, data []byte, now int64) (used int, err error) {
	if c.state == stateUpgrading {
		if used, err = p.shakes[c.target].Check(data, int(c.number)); used == 0 || err != nil {
			return 0, err
		}
		c.state = stateSubscribing
		if err := p.write(c, wire.ClientFrame(ws.OpText, p.speech.subscribe(p.channelOf(c)))); err != nil {
			return 0, err
		}
		if p.speech.NoAck {
			p.subscribed(c, now)
		}
	}
	for {
		op, payload, size, err := wire.NextFrame(data[used:])
		if size == 0 || err != nil {
			return used, err
		}
		used += size
		switch op {
		case ws.OpText:
			err = p.onText(c, payload, now)
		case ws.OpPing:
			err = p.write(c, wire.ClientFrame(ws.OpPong, payload))
		case ws.OpClose:
			err = closeError(payload)
		case ws.OpPong:
		default:
			err = fmt.Errorf("the server sent a frame with opcode %d", op)
		}
		if err != nil {
			return used, err
		}
	}
}

func closeError(payload []byte) error {
	if len(payload) < 2 {
		return errServerClosed
	}
	code, reason := ws.ParseCloseFrameData(payload)
	return fmt.Errorf("closed by the server: %d %s", code, reason)
}
