package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// publication is one message for everyone who subscribed to a channel.
type publication struct {
	channel string // as Redis carries it
	payload []byte // valid until publish returns
}

// publisher hands publications to whatever the gateway hears them from.
type publisher interface {
	// publish sends a batch, in order, in one go. It returns when they are accepted.
	publish(ctx context.Context, batch []publication) error
	Close() error
}

// load is what one steady phase asks of the gateway.
type load struct {
	rate     float64 // open loop: publications per second
	inflight int     // closed loop, when not 0: publications on their way at most
	duration time.Duration
	payload  int
}

// maxBatch bounds how many publications share one round trip to Redis, so that a publisher that is behind does not
// send a burst that no schedule asked for.
const maxBatch = 256

// presser publishes the load of one phase on its own goroutine. Its numbers continue those of the phase before.
type presser struct {
	eng   *engine
	pub   publisher
	load  load
	batch []publication
	bytes []byte
	names []string  // of the channels, as Redis carries them
	lag   histogram // how long after its intended time a publication was handed over
	sent  int
	first uint32 // number of the first publication
	start int64  // when it was meant to be sent
}

func newPresser(e *engine, pub publisher, l load) *presser {
	p := &presser{eng: e, pub: pub, load: l, lag: newHistogram(), first: uint32(e.board.opened.Load())}
	for ch := range e.channels {
		p.names = append(p.names, redisChannelName(ch))
	}
	return p
}

// run publishes until the duration is over, then waits for stragglers: until everything is delivered, or nothing has
// come for the engine's patience.
func (p *presser) run(ctx context.Context) error {
	publish := p.open
	if p.load.inflight > 0 {
		publish = p.closed
	}
	err := publish(ctx)
	if errors.Is(err, errStalled) {
		return nil // the report says what is missing
	}
	if err != nil {
		return err
	}
	if err := p.await(ctx, 0); err != nil && !errors.Is(err, errStalled) {
		return err
	}
	return nil
}

// open follows the schedule, whatever the gateway does.
func (p *presser) open(ctx context.Context) error {
	s := newSchedule(p.eng.clock.now()+int64(10*time.Millisecond), p.load.rate, p.load.duration)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for p.sent < s.total {
		if n := min(s.due(p.eng.clock.now())-p.sent, maxBatch); n > 0 {
			if err := p.emit(ctx, n, s.at); err != nil {
				return err
			}
			continue
		}
		timer.Reset(time.Duration(s.at(p.sent) - p.eng.clock.now()))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// closed keeps as many publications on their way as the load says. Here nothing is late: a publication is intended
// when it is sent.
func (p *presser) closed(ctx context.Context) error {
	end := p.eng.clock.now() + int64(p.load.duration)
	for {
		if err := p.await(ctx, p.load.inflight-1); err != nil {
			return err
		}
		now := p.eng.clock.now()
		if now >= end {
			return nil
		}
		n := min(p.load.inflight-p.eng.board.outstanding(), maxBatch)
		if err := p.emit(ctx, n, func(int) int64 { return now }); err != nil {
			return err
		}
	}
}

// emit publishes the next n publications; at says when each of this phase was meant to be sent.
func (p *presser) emit(ctx context.Context, n int, at func(int) int64) error {
	p.batch = p.batch[:0]
	if cap(p.bytes) < n*p.load.payload {
		p.bytes = make([]byte, 0, n*p.load.payload) // never grows below, so that the payloads stay where they are
	}
	p.bytes = p.bytes[:0]
	now := p.eng.clock.now()
	for i := range n {
		number := uint32(p.eng.board.opened.Load())
		ch := int(number) % p.eng.channels
		intended := at(p.sent + i)
		if number == p.first {
			p.start = intended
		}
		from := len(p.bytes)
		p.bytes = appendPayload(p.bytes, p.eng.mark, number, intended, p.load.payload)
		p.batch = append(p.batch, publication{p.names[ch], p.bytes[from:]})
		if !p.eng.board.open(number, int(p.eng.audience[ch])) {
			return errors.New("more publications than bench can count: shorten -duration")
		}
		p.lag.record(now - intended)
	}
	p.sent += n
	if err := p.pub.publish(ctx, p.batch); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}

var errStalled = errors.New("nothing has been delivered for a while")

// await returns when at most this many publications are on their way. errStalled tells that it was not worth waiting.
func (p *presser) await(ctx context.Context, outstanding int) error {
	if p.eng.board.outstanding() <= outstanding {
		return nil
	}
	stalled := time.NewTimer(p.eng.patience)
	defer stalled.Stop()
	heard := p.eng.received()
	for p.eng.board.outstanding() > outstanding {
		if p.eng.ready() == 0 {
			return errStalled // nobody is left who could hear
		}
		select {
		case <-p.eng.board.wake:
		case <-stalled.C:
			now := p.eng.received()
			if now == heard {
				return errStalled
			}
			heard = now
			stalled.Reset(p.eng.patience)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
