package main

import (
	"bytes"
	"fmt"
)

// The beginnings of the gateway's messages, as it writes them. A server that orders its fields otherwise is still
// understood, only slower.
const (
	notificationHead = `{"type":"notification","channel":"bench:`
	dataHead         = `","data":"`
)

var (
	typeSubscribed   = []byte(`"type":"subscribed"`)
	typeNotification = []byte(`"type":"notification"`)
	typeGap          = []byte(`"type":"gap"`)
	typeError        = []byte(`"type":"error"`)
)

// onText takes one message.
func (w *worker) onText(c *client, msg []byte, now int64) error {
	if c.state != clientReady {
		return w.onOpeningText(c, msg, now)
	}
	// The hot path: the mark lies where our own envelope puts it, no JSON is decoded and nothing is allocated.
	if at := w.markAt(c); len(msg) > at+stampLen && string(msg[at:at+markLen]) == w.mark {
		return w.onNotification(c, msg[at+markLen:], now)
	}
	return w.onOtherText(c, msg, now)
}

// markAt is where the mark lies in a notification of the client's channel.
func (w *worker) markAt(c *client) int {
	return len(notificationHead) + decimals(w.channelOf(c)) + len(dataHead)
}

func decimals(n int) int {
	d := 1
	for ; n >= 10; n /= 10 {
		d++
	}
	return d
}

func (w *worker) onOpeningText(c *client, msg []byte, now int64) error {
	switch {
	case bytes.Contains(msg, typeSubscribed):
		c.state = clientReady
		w.opening--
		w.tally.connect.record(now - c.since)
		w.live.ready.Add(1)
		w.progressed = true
	case bytes.Contains(msg, typeError):
		return fmt.Errorf("subscribe refused: %s", msg)
	}
	return nil // connected, and whatever else a server tells newcomers
}

// onOtherText takes what is not a notification of this run in the usual envelope.
func (w *worker) onOtherText(c *client, msg []byte, now int64) error {
	switch {
	case bytes.Contains(msg, typeNotification):
		if at := bytes.Index(msg, []byte(w.mark)); at >= 0 {
			return w.onNotification(c, msg[at+markLen:], now)
		}
		w.tally.foreign++
	case bytes.Contains(msg, typeGap):
		w.tally.gapsTold++
		if c.slow == slowResumed {
			c.slow = slowTold
		}
	case bytes.Contains(msg, typeError):
		w.tally.errorsTold++
	}
	return nil
}

// onNotification accounts for one delivery; stamp is what follows the mark.
func (w *worker) onNotification(c *client, stamp []byte, now int64) error {
	number, intended, ok := parseStamp(stamp)
	if !ok {
		return fmt.Errorf("a notification was damaged on its way: %q", stamp[:min(len(stamp), stampLen)])
	}
	t := &w.tally
	if number%uint32(w.channels) != uint32(w.channelOf(c)) {
		t.misdelivered++
		return nil
	}
	if c.slow != slowNever {
		c.seq.take(number / uint32(w.channels)) // it is late because it did not read: only what is missing matters
		w.heard++
		return nil
	}
	t.received++
	t.until = now
	w.heard++
	switch c.seq.take(number / uint32(w.channels)) {
	case inOrder:
	case reordered:
		t.reordered++
	case duplicate:
		t.duplicated++
		return nil // it was counted on the board the first time
	}
	t.delivery.record(now - intended)
	if w.board.arrive(number) {
		t.last.record(now - intended)
		w.completed++
	}
	return nil
}
