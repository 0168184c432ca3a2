package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"
)

// client is one connection to the gateway. There may be a million of them over a few processes, so it has no
// goroutine, no buffer and no timer: a partial frame's bytes are all it ever keeps.
//
// Owned by the worker.
type client struct {
	seq    sequence
	rest   []byte // what a read left behind: less than one frame, exactly as long as it is
	since  int64  // when connecting began, Unix nanoseconds
	number int32  // of all connections; channel and source address follow from it
	fd     int32
	state  clientState
	slow   slowness
}

type clientState uint8

const (
	clientNew         clientState = iota
	clientConnecting              // until the socket is writable
	clientUpgrading               // until the 101
	clientSubscribing             // until `subscribed`
	clientReady
	clientClosed
)

// onEvents reacts to what epoll said about the socket.
func (w *worker) onEvents(c *client, events uint32) {
	const gone = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
	switch c.state {
	case clientNew, clientClosed:
		return // an event of the same turn, from before it was closed
	case clientConnecting:
		if err := w.onConnected(c); err != nil {
			w.drop(c, err)
			return
		}
		// The socket is edge-triggered: an answer cannot be there before the request, so its event is still to come.
	default:
		if c.slow == slowStalled {
			return // it reads nothing, not even that it is over
		}
		if events&(unix.EPOLLIN|gone) != 0 {
			w.read(c, events&gone != 0)
		}
	}
}

func (w *worker) onConnected(c *client) error {
	errno, err := unix.GetsockoptInt(int(c.fd), unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = unix.Errno(errno)
	}
	if err != nil {
		return os.NewSyscallError("connect", err)
	}
	c.state = clientUpgrading
	return w.write(c, w.shake.requestFor(int(c.number)))
}

// write sends a few bytes. What we say is so little that a socket which does not take it whole is a broken one.
func (w *worker) write(c *client, p []byte) error {
	n, err := send(int(c.fd), p)
	if err != nil {
		return os.NewSyscallError("send", err)
	}
	if n < len(p) {
		return errors.New("the socket takes no more bytes: the server does not read")
	}
	return nil
}

var errServerClosed = errors.New("closed by the server")

// read takes everything the socket has. hangup tells that the end of the stream is in it.
func (w *worker) read(c *client, hangup bool) {
	for c.state != clientClosed {
		w.makeRoom(len(c.rest))
		have := copy(w.buf, c.rest)
		n, err := receive(int(c.fd), w.buf[have:])
		switch {
		case err == unix.EAGAIN: //nolint:errorlint // a bare errno
			return
		case err == unix.EINTR: //nolint:errorlint // a bare errno
			continue
		case err != nil:
			w.drop(c, os.NewSyscallError("recv", err))
			return
		case n == 0:
			w.drop(c, errServerClosed)
			return
		}
		data := w.buf[:have+n]
		used, err := w.consume(c, data, w.clock.now())
		if err != nil {
			w.drop(c, err)
			return
		}
		if c.rest = nil; used < len(data) {
			c.rest = bytes.Clone(data[used:])
		}
		// A short read emptied the socket (epoll(7)): the next byte is a new event. The end of the stream is not.
		if have+n < len(w.buf) && !hangup {
			return
		}
	}
}

// makeRoom keeps space for a decent read behind what a client kept; only frames larger than the buffer make it grow.
func (w *worker) makeRoom(kept int) {
	if kept+minRead > len(w.buf) {
		w.buf = make([]byte, 2*(kept+minRead))
	}
}

// consume reads whole frames and returns how many bytes of data they were.
func (w *worker) consume(c *client, data []byte, now int64) (used int, err error) {
	if c.state == clientUpgrading {
		if used, err = w.shake.check(data, int(c.number)); used == 0 || err != nil {
			return 0, err
		}
		c.state = clientSubscribing
		w.out = appendClientFrame(w.out[:0], ws.OpText, w.appendSubscribe(nil, c))
		if err := w.write(c, w.out); err != nil {
			return 0, err
		}
	}
	for {
		op, payload, size, err := nextFrame(data[used:])
		if size == 0 || err != nil {
			return used, err
		}
		used += size
		switch op {
		case ws.OpText:
			err = w.onText(c, payload, now)
		case ws.OpPing:
			w.out = appendClientFrame(w.out[:0], ws.OpPong, payload)
			err = w.write(c, w.out)
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
	code := int(payload[0])<<8 | int(payload[1])
	return fmt.Errorf("closed by the server: %d %s", code, payload[2:])
}

func (w *worker) appendSubscribe(dst []byte, c *client) []byte {
	return fmt.Appendf(dst, `{"type":"subscribe","channel":%q}`, channelName(w.channelOf(c)))
}

// Names of the channels of a run, in the two forms: as clients subscribe, and as Redis carries them.
func channelName(ch int) string      { return fmt.Sprintf("bench:%d", ch) }
func redisChannelName(ch int) string { return "notifications:" + channelName(ch) }
