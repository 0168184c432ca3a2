package client

// Counts are what clients heard.
type Counts struct {
	Received     uint64 `json:"received"` // notifications of this run on the right channel
	Lost         uint64 `json:"lost"`
	Duplicated   uint64 `json:"duplicated"`
	Reordered    uint64 `json:"reordered"`    // came after a later one of the same channel
	Misdelivered uint64 `json:"misdelivered"` // of a channel that the connection did not subscribe to
	Foreign      uint64 `json:"foreign"`      // of somebody else's publisher
	GapsTold     uint64 `json:"gapsTold"`
	ErrorsTold   uint64 `json:"errorsTold"`
	Missed       uint64 `json:"missedAway"` // published while the client was not subscribed
}

func (c *Counts) add(from *Counts) {
	c.Received += from.Received
	c.Lost += from.Lost
	c.Duplicated += from.Duplicated
	c.Reordered += from.Reordered
	c.Misdelivered += from.Misdelivered
	c.Foreign += from.Foreign
	c.GapsTold += from.GapsTold
	c.ErrorsTold += from.ErrorsTold
	c.Missed += from.Missed
}

// Tally is what clients saw in one phase. Each poller has its own; they are merged when the phase is over.
type Tally struct {
	Counts // Received with duplicates; Lost and Missed of subscriptions that ended in this phase

	Left   uint64 // clients that we made leave
	Cut    uint64 // connections that the server ended while that was to be expected
	CutWhy string
	Until  int64 // when the last delivery came

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
	t.add(&from.Counts)
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
