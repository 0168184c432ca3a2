package client

// Tally is what clients saw in one phase. Each poller has its own; they are merged when the phase is over.
type Tally struct {
	Received     uint64 // notifications of this run on the right channel, duplicates included
	Duplicated   uint64
	Reordered    uint64 // came after a later one of the same channel
	Misdelivered uint64 // of a channel that the connection did not subscribe to
	Foreign      uint64 // of somebody else's publisher
	GapsTold     uint64
	ErrorsTold   uint64
	Lost         uint64 // by subscriptions that ended in this phase
	Missed       uint64 // by clients that were away meanwhile
	Left         uint64 // clients that we made leave
	Cut          uint64 // connections that the server ended while that was to be expected
	CutWhy       string
	Until        int64 // when the last delivery came

	Connect  Histogram // from the first SYN to `subscribed`
	Delivery Histogram // from the intended time of sending, one each delivery
	OnTime   Histogram // the same without what a delivery may have waited for us to read it: at least so much is the server's
}

// NewTally returns an empty one.
func NewTally() Tally {
	return Tally{Connect: NewHistogram(), Delivery: NewHistogram(), OnTime: NewHistogram()}
}

// Merge adds what another poller or worker saw.
func (t *Tally) Merge(from *Tally) {
	t.Received += from.Received
	t.Duplicated += from.Duplicated
	t.Reordered += from.Reordered
	t.Misdelivered += from.Misdelivered
	t.Foreign += from.Foreign
	t.GapsTold += from.GapsTold
	t.ErrorsTold += from.ErrorsTold
	t.Lost += from.Lost
	t.Missed += from.Missed
	t.Left += from.Left
	t.Cut += from.Cut
	if t.CutWhy == "" {
		t.CutWhy = from.CutWhy
	}
	t.Until = max(t.Until, from.Until)
	t.Connect.Merge(from.Connect)
	t.Delivery.Merge(from.Delivery)
	t.OnTime.Merge(from.OnTime)
}

// Distinct is what was received, each once.
func (t *Tally) Distinct() uint64 { return t.Received - t.Duplicated }
