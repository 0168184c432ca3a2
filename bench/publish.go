package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/carillon-ws/carillon/bench/client"
	"github.com/carillon-ws/carillon/bench/wire"
)

// load is what one phase asks of the gateway.
type load struct {
	rate     float64 // open loop: publications per second
	inflight int     // closed loop, when not 0: publications on their way at most
	count    int     // closed loop: end after so many publications, when not 0
	duration time.Duration
	payload  int
}

// maxBatch bounds how many publications share one round trip to Redis, so that a publisher that is behind does not
// send a burst that no schedule asked for.
const maxBatch = 256

// presser publishes the load of one phase on its own goroutine. Its numbers continue those of the phase before.
type presser struct {
	crew   *crew
	pub    wire.Publisher
	load   load
	batch  []wire.Publication
	bytes  []byte
	names  []string         // of the channels, as Redis carries them
	lag    client.Histogram // how long after its intended time a publication was handed over
	waited client.Histogram // of that, waiting for the answer to those before
	free   int64            // when that answer came
	sent   int
	calls  int    // of Publish
	first  uint32 // number of the first publication
	start  int64  // when it was meant to be sent
	expect uint64 // deliveries
	idle   int64  // closed loop: for how long places of publications were empty, in all
}

func newPresser(c *crew, pub wire.Publisher, l load) *presser {
	p := &presser{crew: c, pub: pub, load: l, lag: client.NewHistogram(), waited: client.NewHistogram(), first: c.board.opened()}
	for ch := range c.load.Channels {
		p.names = append(p.names, redisChannelName(&c.plan.Speech, ch))
	}
	return p
}

// redisChannelName is a channel's name as Redis carries it.
func redisChannelName(s *client.Speech, ch int) string { return "notifications:" + s.ChannelName(ch) }

// run publishes until the duration is over.
func (p *presser) run(ctx context.Context) error {
	if p.load.inflight > 0 {
		return p.closed(ctx)
	}
	s := client.NewSchedule(p.crew.clock.Now()+int64(20*time.Millisecond), p.load.rate, p.load.duration)
	if err := p.crew.expect(&s, true); err != nil {
		return err
	}
	return p.open(ctx, s)
}

// straggle waits for what is still on its way: until everything is delivered, or nothing has come for the crew's
// patience.
func (p *presser) straggle(ctx context.Context) error {
	if err := p.await(ctx, 0); err != nil && !errors.Is(err, errStalled) {
		return err
	}
	p.crew.board.giveUp() // what is missing now is told by the clients' sequences
	return nil
}

// open follows the schedule, whatever the gateway does.
func (p *presser) open(ctx context.Context, s client.Schedule) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for p.sent < s.Total {
		if n := min(s.Due(p.crew.clock.Now())-p.sent, maxBatch); n > 0 {
			if err := p.emit(ctx, n, s.At); err != nil {
				return err
			}
			continue
		}
		timer.Reset(time.Duration(s.At(p.sent) - p.crew.clock.Now()))
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
	end := p.crew.clock.Now() + int64(p.load.duration)
	for {
		switch err := p.await(ctx, p.load.inflight-1); {
		case errors.Is(err, errStalled):
			return nil // the report says what is missing
		case err != nil:
			return err
		}
		now := p.crew.clock.Now()
		if (p.load.count > 0 && p.sent >= p.load.count) || (p.load.count == 0 && now >= end) {
			return nil
		}
		n := min(p.load.inflight-p.crew.board.outstanding(), maxBatch)
		if p.load.count > 0 {
			n = min(n, p.load.count-p.sent)
		}
		p.idle += p.crew.board.takePlaces(n, now)
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
	next := p.crew.board.opened()
	if int(next)+n > client.MaxPublications {
		return errors.New("more publications than bench can count: shorten -duration")
	}
	now := p.crew.clock.Now()
	for i := range n {
		ch := int(next) % p.crew.load.Channels
		intended := at(p.sent + i)
		if next == p.first {
			p.start = intended
		}
		p.crew.board.open(intended, now, p.crew.pending[ch])
		from := len(p.bytes)
		p.bytes = wire.AppendPayload(p.bytes, p.crew.plan.Mark, next, intended, p.load.payload)
		p.batch = append(p.batch, wire.Publication{Channel: p.names[ch], Payload: p.bytes[from:]})
		p.expect += uint64(p.crew.audience[ch])
		p.lag.Record(now - intended)
		p.waited.Record(p.free - intended)
		next++
	}
	p.sent += n
	p.calls++
	err := p.pub.Publish(ctx, p.batch)
	p.free = p.crew.clock.Now()
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}

var errStalled = errors.New("nothing has been delivered for a while")

// await returns when at most this many publications are on their way. errStalled tells that it was not worth waiting.
func (p *presser) await(ctx context.Context, outstanding int) error {
	if p.crew.board.outstanding() <= outstanding {
		return nil
	}
	stalled := time.NewTimer(p.crew.patience)
	defer stalled.Stop()
	heard := p.crew.received()
	for p.crew.board.outstanding() > outstanding {
		if p.crew.ready() == 0 {
			return errStalled // nobody is left who could hear
		}
		if err := p.crew.broken(); err != nil {
			return err
		}
		select {
		case <-p.crew.board.wake:
		case <-stalled.C:
			now := p.crew.received()
			if now == heard {
				return errStalled
			}
			heard = now
			stalled.Reset(p.crew.patience)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
