package client

import (
	"bytes"
	"fmt"

	"github.com/carillon-ws/carillon/bench/wire"
)

// The beginnings of the gateway's messages, as it writes them. A server that orders its fields otherwise is still
// understood, only slower.
const (
	notificationHead = `{"type":"notification","channel":"`
	dataHead         = `","data":"`
)

var (
	typeNotification = []byte(`"type":"notification"`)
	typeGap          = []byte(`"type":"gap"`)
	typeError        = []byte(`"type":"error"`)
)

// onText takes one message.
func (p *poller) onText(c *client, msg []byte, now int64) error {
	if c.state != stateReady {
		return p.onOpeningText(c, msg, now)
	}
	// The hot path: the mark lies where our own envelope puts it, no JSON is decoded and nothing is allocated.
	if at := p.markAt(c); len(msg) > at+wire.StampLen && string(msg[at:at+wire.MarkLen]) == p.mark {
		return p.onNotification(c, msg[at+wire.MarkLen:], now)
	}
	return p.onOtherText(c, msg, now)
}

// markAt is where the mark lies in a notification of the client's channel.
func (p *poller) markAt(c *client) int {
	if p.speech.SingleNamed {
		return p.nameAt
	}
	return p.nameAt + decimals(p.channelOf(c))
}

func decimals(n int) int {
	d := 1
	for ; n >= 10; n /= 10 {
		d++
	}
	return d
}

func (p *poller) onOpeningText(c *client, msg []byte, now int64) error {
	switch {
	case bytes.Contains(msg, p.ack):
		p.subscribed(c, now)
	case bytes.Contains(msg, typeError):
		return fmt.Errorf("subscribe refused: %s", msg)
	}
	return nil // `connected`, and what else a server sends to new connections
}

// subscribed notes that a client is up. What is published from here on it must hear.
func (p *poller) subscribed(c *client, now int64) {
	c.state = stateReady
	p.opening--
	p.tally.Connect.Record(now - c.since)
	p.ready++
	p.progressed = true
	next := p.published(c, now)
	if c.fresh {
		c.seq, c.fresh = sequence{next: next}, false
		return
	}
	c.seq.rejoin(next)
}

// onOtherText takes what is not a notification of this run in the usual envelope.
func (p *poller) onOtherText(c *client, msg []byte, now int64) error {
	if at := bytes.Index(msg, []byte(p.mark)); at >= 0 {
		return p.onNotification(c, msg[at+wire.MarkLen:], now)
	}
	switch {
	case bytes.Contains(msg, typeNotification):
		p.tally.Foreign++
	case bytes.Contains(msg, typeGap):
		p.tally.GapsTold++
		c.told = true
	case bytes.Contains(msg, typeError):
		p.tally.ErrorsTold++
	}
	return nil
}

// onNotification accounts for one delivery; stamp is what follows the mark.
func (p *poller) onNotification(c *client, stamp []byte, now int64) error {
	number, intended, ok := wire.ParseStamp(stamp)
	if !ok {
		return fmt.Errorf("a notification was damaged on its way: %q", stamp[:min(len(stamp), wire.StampLen)])
	}
	t, ch, channels := &p.tally, p.channelOf(c), uint32(p.load.Channels)
	if number%channels != uint32(ch) {
		t.Misdelivered++
		return nil
	}
	p.received++
	if c.slow != slowNever {
		c.seq.take(number / channels) // it is late because it did not read: only what is missing matters
		return nil
	}
	t.Received++
	t.Until = now
	switch c.seq.take(number / channels) {
	case inOrder:
	case reordered:
		t.Reordered++
	case duplicate:
		t.Duplicated++
		return nil // it was counted the first time
	}
	late := now - p.lag.since
	t.Delivery.Record(now - intended)
	t.OnTime.Record(now - intended - late)
	p.second.Record(now - intended)
	if first, all := p.heardBy.add(number, p.audience[ch], now); all {
		p.done = append(p.done, Completed{Number: number, First: first, Last: now, Late: late})
	}
	return nil
}
