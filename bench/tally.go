package main

// tally is what clients saw in one phase. Each worker has its own; they are merged when the phase is over.
type tally struct {
	received     uint64 // notifications of this run on the right channel, duplicates included
	duplicated   uint64
	reordered    uint64 // came after a later one of the same channel
	misdelivered uint64 // of a channel that the connection did not subscribe to
	foreign      uint64 // of somebody else's publisher
	gapsTold     uint64
	errorsTold   uint64
	cut          int // connections that had not read and were closed for it
	cutWhy       string
	until        int64 // when the last delivery came, Unix nanoseconds

	connect  histogram // from the first SYN to `subscribed`
	delivery histogram // from the intended time of sending, one each delivery
	last     histogram // the same, of the last subscriber of a publication only
}

func newTally() tally {
	return tally{connect: newHistogram(), delivery: newHistogram(), last: newHistogram()}
}

func (t *tally) merge(from *tally) {
	t.received += from.received
	t.duplicated += from.duplicated
	t.reordered += from.reordered
	t.misdelivered += from.misdelivered
	t.foreign += from.foreign
	t.gapsTold += from.gapsTold
	t.errorsTold += from.errorsTold
	t.cut += from.cut
	if t.cutWhy == "" {
		t.cutWhy = from.cutWhy
	}
	t.until = max(t.until, from.until)
	t.connect.merge(from.connect)
	t.delivery.merge(from.delivery)
	t.last.merge(from.last)
}

// distinct is what was received, each once.
func (t *tally) distinct() uint64 { return t.received - t.duplicated }
