package main

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// histogram records durations from 1 us to 10 minutes with three significant digits (HdrHistogram). Not safe for
// concurrent use: each worker has its own, merged at the end.
type histogram struct{ hdr *hdrhistogram.Histogram }

const longestLatency = int64(10 * time.Minute / time.Microsecond)

func newHistogram() histogram {
	return histogram{hdrhistogram.New(1, longestLatency, 3)}
}

// record notes d nanoseconds. What is out of range counts as the nearest that is in it.
func (h histogram) record(d int64) {
	us := min(max(d/1000, 1), longestLatency)
	_ = h.hdr.RecordValue(us) // cannot fail: the value was clamped
}

func (h histogram) merge(from histogram) { h.hdr.Merge(from.hdr) }

// latency is a histogram's summary, in microseconds.
type latency struct {
	Count int64 `json:"count"`
	P50   int64 `json:"p50Us"`
	P99   int64 `json:"p99Us"`
	P999  int64 `json:"p999Us"`
	Max   int64 `json:"maxUs"`
}

func (h histogram) summary() latency {
	return latency{
		Count: h.hdr.TotalCount(),
		P50:   h.hdr.ValueAtQuantile(50),
		P99:   h.hdr.ValueAtQuantile(99),
		P999:  h.hdr.ValueAtQuantile(99.9),
		Max:   h.hdr.Max(),
	}
}
