package client

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Histogram records durations from 1 us to 10 minutes with three significant digits (HdrHistogram). Not safe for
// concurrent use: each poller has its own, merged at the end. It travels between processes in its library's own
// compressed form.
type Histogram struct{ *hdrhistogram.Histogram }

const longestLatency = int64(10 * time.Minute / time.Microsecond)

// NewHistogram returns an empty one.
func NewHistogram() Histogram {
	return Histogram{hdrhistogram.New(1, longestLatency, 3)}
}

// Record notes d nanoseconds. What is out of range counts as the nearest that is in it.
func (h Histogram) Record(d int64) {
	us := min(max(d/1000, 1), longestLatency)
	_ = h.RecordValue(us) // cannot fail: the value was clamped
}

// Merge adds another one's values.
func (h Histogram) Merge(from Histogram) { h.Histogram.Merge(from.Histogram) }

// GobEncode is the histogram on its way to another process.
func (h Histogram) GobEncode() ([]byte, error) {
	return h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
}

// GobDecode is its arrival.
func (h *Histogram) GobDecode(p []byte) (err error) {
	h.Histogram, err = hdrhistogram.Decode(p)
	return err
}
