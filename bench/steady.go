package main

import (
	"context"
	"time"
)

// steadyResult is what one phase of publishing brought.
type steadyResult struct {
	Publications int     `json:"publications"`
	Seconds      float64 `json:"seconds"` // first intended time to last delivery
	Expected     uint64  `json:"expected"`
	Received     uint64  `json:"received"` // each delivery once
	Lost         uint64  `json:"lost"`
	Duplicated   uint64  `json:"duplicated"`
	Reordered    uint64  `json:"reordered"`
	Misdelivered uint64  `json:"misdelivered"`
	Foreign      uint64  `json:"foreign"`
	GapsTold     uint64  `json:"gapsTold"`
	ErrorsTold   uint64  `json:"errorsTold"`
	Closed       int     `json:"closed"` // connections that ended before the phase did
	ClosedWhy    string  `json:"closedWhy,omitempty"`

	PerSecond    float64 `json:"deliveriesPerSecond"`
	Delivery     latency `json:"delivery"`
	Last         latency `json:"lastSubscriber"`
	PublisherLag latency `json:"publisherLag"`
}

// clean reports whether everything was delivered, once, in order, to connections that stayed.
func (r *steadyResult) clean() bool {
	return r.Lost == 0 && r.Duplicated == 0 && r.Reordered == 0 && r.Misdelivered == 0 && r.Closed == 0
}

// steady publishes a load and waits until it is delivered.
func (e *engine) steady(ctx context.Context, pub publisher, l load) (*steadyResult, error) {
	e.newPhase()
	p := newPresser(e, pub, l)
	missingBefore := e.missing()
	if err := p.run(ctx); err != nil {
		return nil, err
	}
	t := e.newPhase()
	took := time.Duration(max(t.until-p.start, 1)).Seconds()
	if l.inflight == 0 {
		took = max(took, float64(p.sent)/l.rate) // the last interval of a schedule belongs to it
	}
	r := &steadyResult{
		Publications: p.sent, Seconds: took,
		Received: t.distinct(), Duplicated: t.duplicated, Reordered: t.reordered, Misdelivered: t.misdelivered,
		Foreign: t.foreign, GapsTold: t.gapsTold, ErrorsTold: t.errorsTold, Closed: e.closed(),
		Delivery: t.delivery.summary(), Last: t.last.summary(), PublisherLag: p.lag.summary(),
	}
	for n := int(p.first); n < int(p.first)+p.sent; n++ {
		r.Expected += uint64(e.audience[n%e.channels])
	}
	if missing := e.missing(); missing > missingBefore {
		r.Lost = missing - missingBefore
	}
	r.PerSecond = float64(r.Received) / took
	if err := e.failure(); err != nil {
		r.ClosedWhy = err.Error()
	}
	return r, nil
}
