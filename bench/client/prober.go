package client

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/bench/wire"
)

// Prober is one connection more, which pings on a schedule while the others are published to: how long the answers
// take is how long a loop keeps somebody waiting who has nothing to do with the fan-out.
type Prober struct {
	conn    net.Conn
	clock   wire.Clock
	cancel  context.CancelFunc
	written chan error
	read    chan error
	answers Histogram // owned by the reading goroutine until it has ended
}

// StartProber connects and begins to ping. The latency of an answer counts from when the schedule wanted the ping
// sent.
func StartProber(ctx context.Context, url string, every time.Duration) (*Prober, error) {
	conn, br, _, err := ws.Dial(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("ping probe: connect: %w", err)
	}
	var r io.Reader = conn
	if br != nil {
		r = br // it holds the server's first message
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &Prober{conn: conn, clock: wire.NewClock(), cancel: cancel, written: make(chan error, 1), read: make(chan error, 1), answers: NewHistogram()}
	go func() { p.written <- p.ping(ctx, every) }()
	go func() { p.read <- p.listen(r) }()
	return p, nil
}

// ping writes pings until ctx ends. Each carries the time at which it was due.
func (p *Prober) ping(ctx context.Context, every time.Duration) error {
	tick := time.NewTimer(0)
	defer tick.Stop()
	due := p.clock.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if _, err := p.conn.Write(wire.ClientFrame(ws.OpPing, binary.BigEndian.AppendUint64(nil, uint64(due)))); err != nil {
			return err
		}
		due += int64(every)
		tick.Reset(time.Duration(due - p.clock.Now()))
	}
}

// listen reads answers until the connection is closed.
func (p *Prober) listen(r io.Reader) error {
	for {
		h, err := ws.ReadHeader(r)
		var due int64
		switch {
		case err != nil:
		case h.OpCode == ws.OpPong && h.Length == 8:
			if err = binary.Read(r, binary.BigEndian, &due); err == nil {
				p.answers.Record(p.clock.Now() - due)
			}
		default:
			_, err = io.CopyN(io.Discard, r, h.Length)
		}
		if err != nil {
			return err
		}
	}
}

// Stop ends the probe and returns what it found.
func (p *Prober) Stop() (answers *Histogram, err error) {
	p.cancel()
	writeErr := <-p.written
	_ = p.conn.Close() // ends listen
	if err := <-p.read; err != nil && !errors.Is(err, net.ErrClosed) {
		writeErr = errors.Join(writeErr, err)
	}
	if writeErr != nil {
		return nil, fmt.Errorf("ping probe: %w", writeErr)
	}
	return &p.answers, nil
}
