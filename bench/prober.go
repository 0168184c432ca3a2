package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/gobwas/ws"
)

// prober is one connection more, which pings on a schedule while the others are published to: how long the answers
// take is how long a loop keeps somebody waiting who has nothing to do with the fan-out.
type prober struct {
	conn    net.Conn
	clock   clock
	cancel  context.CancelFunc
	written chan error
	read    chan error
	answers histogram // owned by the reading goroutine until it has ended
}

// startProber connects and begins to ping. The latency of an answer counts from when the schedule wanted the ping
// sent.
func startProber(ctx context.Context, url string, every time.Duration) (*prober, error) {
	conn, br, _, err := ws.Dial(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("ping probe: connect: %w", err)
	}
	if br != nil {
		ws.PutReader(br) // the server's first message, which is no answer
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &prober{conn: conn, clock: newClock(), cancel: cancel, written: make(chan error, 1), read: make(chan error, 1), answers: newHistogram()}
	go func() { p.written <- p.ping(ctx, every) }()
	go func() { p.read <- p.listen() }()
	return p, nil
}

// ping writes pings until ctx ends. Each carries the time at which it was due.
func (p *prober) ping(ctx context.Context, every time.Duration) error {
	tick := time.NewTimer(0)
	defer tick.Stop()
	due := p.clock.now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		payload := binary.BigEndian.AppendUint64(nil, uint64(due))
		if err := ws.WriteFrame(p.conn, ws.MaskFrameInPlace(ws.NewPingFrame(payload))); err != nil {
			return err
		}
		due += int64(every)
		tick.Reset(time.Duration(due - p.clock.now()))
	}
}

// listen reads answers until the connection is closed.
func (p *prober) listen() error {
	buf := make([]byte, 64<<10)
	kept := 0
	for {
		n, err := p.conn.Read(buf[kept:])
		if err != nil {
			return err
		}
		rest := buf[:kept+n]
		for {
			op, payload, size, err := nextFrame(rest)
			if err != nil {
				return err
			}
			if size == 0 {
				break
			}
			if op == ws.OpPong && len(payload) == 8 {
				p.answers.record(p.clock.now() - int64(binary.BigEndian.Uint64(payload)))
			}
			rest = rest[size:]
		}
		kept = copy(buf, rest)
	}
}

// stop ends the probe and returns what it found.
func (p *prober) stop() (*latency, error) {
	p.cancel()
	writeErr := <-p.written
	_ = p.conn.Close() // ends listen
	if err := <-p.read; err != nil && !errors.Is(err, net.ErrClosed) {
		writeErr = errors.Join(writeErr, err)
	}
	if writeErr != nil {
		return nil, fmt.Errorf("ping probe: %w", writeErr)
	}
	answers := p.answers.summary()
	return &answers, nil
}
