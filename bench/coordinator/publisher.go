package coordinator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/carillon-ws/carillon/bench/client"
	"github.com/carillon-ws/carillon/bench/publish"
	"github.com/carillon-ws/carillon/bench/settings"
	"github.com/carillon-ws/carillon/bench/target"
	"github.com/carillon-ws/carillon/bench/wire"
)

// Load is what one phase asks of the gateway.
type Load struct {
	Rate     float64 // open loop: publications per second
	Inflight int     // closed loop, when not 0: publications on their way at most
	count    int     // closed loop: end after so many publications, when not 0
	Duration time.Duration
	Payload  int
}

// maxBatch bounds how many publications share one round trip to Redis, so that a publisher that is behind does not
// send a burst that no schedule asked for.
const maxBatch = 256

// publisher publishes the load of one phase on its own goroutine. Its numbers continue those of the phase before.
type publisher struct {
	workers *Workers
	pub     wire.Publisher
	load    Load
	batch   []wire.Publication
	bytes   []byte
	names   []string         // of the channels, as Redis carries them
	lag     client.Histogram // how long after its intended time a publication was handed over
	waited  client.Histogram // of that, waiting for the answer to those before
	free    int64            // when that answer came
	sent    int
	calls   int    // of Publish
	first   uint32 // number of the first publication
	start   int64  // when it was meant to be sent
	expect  uint64 // deliveries
	idle    int64  // closed loop: for how long places of publications were empty, in all
}

func newPublisher(c *Workers, pub wire.Publisher, l Load) *publisher {
	p := &publisher{workers: c, pub: pub, load: l, lag: client.NewHistogram(), waited: client.NewHistogram(), first: c.tracker.opened()}
	for ch := range c.load.Channels {
		p.names = append(p.names, publish.ChannelName(&c.plan.Speech, ch))
	}
	return p
}

// run publishes until the duration is over.
func (p *publisher) run(ctx context.Context) error {
	if p.load.Inflight > 0 {
		return p.closed(ctx)
	}
	s := client.NewSchedule(p.workers.clock.Now()+int64(20*time.Millisecond), p.load.Rate, p.load.Duration)
	p.workers.expect(s, true)
	return p.open(ctx, s)
}

// straggle waits for what is still on its way: until everything is delivered, or nothing has come for the workers'
// patience.
func (p *publisher) straggle(ctx context.Context) error {
	if err := p.await(ctx, 0); err != nil && !errors.Is(err, errStalled) {
		return err
	}
	p.workers.tracker.giveUp() // what is missing now is told by the clients' sequences
	return nil
}

// open follows the schedule, whatever the gateway does.
func (p *publisher) open(ctx context.Context, s client.Schedule) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for p.sent < s.Total {
		if n := min(s.Due(p.workers.clock.Now())-p.sent, maxBatch); n > 0 {
			if err := p.emit(ctx, n, s.At); err != nil {
				return err
			}
			continue
		}
		timer.Reset(time.Duration(s.At(p.sent) - p.workers.clock.Now()))
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
func (p *publisher) closed(ctx context.Context) error {
	end := p.workers.clock.Now() + int64(p.load.Duration)
	for {
		switch err := p.await(ctx, p.load.Inflight-1); {
		case errors.Is(err, errStalled):
			return nil // the report says what is missing
		case err != nil:
			return err
		}
		now := p.workers.clock.Now()
		if (p.load.count > 0 && p.sent >= p.load.count) || (p.load.count == 0 && now >= end) {
			return nil
		}
		n := min(p.load.Inflight-p.workers.tracker.outstanding(), maxBatch)
		if p.load.count > 0 {
			n = min(n, p.load.count-p.sent)
		}
		p.idle += p.workers.tracker.takePlaces(n, now)
		if err := p.emit(ctx, n, func(int) int64 { return now }); err != nil {
			return err
		}
	}
}

// emit publishes the next n publications; at says when each of this phase was meant to be sent.
func (p *publisher) emit(ctx context.Context, n int, at func(int) int64) error {
	p.batch = p.batch[:0]
	if cap(p.bytes) < n*p.load.Payload {
		p.bytes = make([]byte, 0, n*p.load.Payload) // never grows below, so that the payloads stay where they are
	}
	p.bytes = p.bytes[:0]
	next := p.workers.tracker.opened()
	if int(next)+n > client.MaxPublications {
		return errors.New("more publications than bench can count: shorten -duration")
	}
	now := p.workers.clock.Now()
	for i := range n {
		ch := int(next) % p.workers.load.Channels
		intended := at(p.sent + i)
		if next == p.first {
			p.start = intended
		}
		p.workers.tracker.open(intended, now, p.workers.pending[ch])
		from := len(p.bytes)
		p.bytes = wire.AppendPayload(p.bytes, p.workers.plan.Mark, next, intended, p.load.Payload)
		p.batch = append(p.batch, wire.Publication{Channel: p.names[ch], Payload: p.bytes[from:]})
		p.expect += uint64(p.workers.audience[ch])
		p.lag.Record(now - intended)
		p.waited.Record(p.free - intended)
		next++
	}
	p.sent += n
	p.calls++
	err := p.pub.Publish(ctx, p.batch)
	p.free = p.workers.clock.Now()
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}

// await returns when at most this many publications are on their way. errStalled tells that it was not worth waiting.
func (p *publisher) await(ctx context.Context, outstanding int) error {
	c := p.workers
	return c.await(ctx, c.tracker.wake, c.received, func() (bool, error) {
		switch {
		case c.tracker.outstanding() <= outstanding:
			return true, nil
		case c.ready() == 0:
			return false, errStalled // nobody is left who could hear
		default:
			return false, c.broken()
		}
	})
}

// openPublisher connects to what the gateways hear publications from.
func openPublisher(ctx context.Context, cfg *settings.Config, f *target.Fleet, stderr io.Writer) (wire.Publisher, error) {
	switch {
	case strings.HasPrefix(cfg.Publish, settings.PublishExec):
		return publish.StartCommand(strings.TrimPrefix(cfg.Publish, settings.PublishExec), stderr)
	case cfg.Publish == settings.PublishHTTP:
		var bases []string
		for _, g := range f.All() {
			if g.Admin == nil {
				return nil, fmt.Errorf("-publish http needs the gateway's admin listener (-admin)")
			}
			bases = append(bases, g.Admin.Base+"/publish/{channel}")
		}
		return publish.NewHTTP(bases), nil
	case strings.Contains(cfg.Publish, "://"):
		return publish.NewHTTP([]string{cfg.Publish}), nil
	}
	return publish.Dial(ctx, f.Redis)
}
