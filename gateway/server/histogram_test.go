package server

import (
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// The buckets are those that Prometheus's own library puts the same values in.
func TestHistogramAgreesWithPrometheus(t *testing.T) {
	t.Parallel()
	for name, scale := range map[string]*Scale{"time": &TimeScale, "width": &WidthScale} {
		bounds := make([]float64, 0, classicBounds)
		for _, b := range scale.Bounds {
			bounds = append(bounds, float64(b)/scale.Unit)
		}
		theirs := prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "x", Buckets: bounds,
			NativeHistogramBucketFactor: 1.1, NativeHistogramZeroThreshold: max(scale.ZeroThreshold, prometheus.DefNativeHistogramZeroThreshold),
		})
		ours := &histogram{scale: scale}
		observe := func(v int64) {
			ours.observe(v)
			theirs.Observe(float64(v) / scale.Unit)
		}
		for v := range int64(70) {
			observe(v)
		}
		for _, b := range scale.Bounds {
			observe(b)
			observe(b + 1)
		}
		rng := rand.New(rand.NewPCG(1, 2))
		for range 2000 {
			observe(rng.Int64N(int64(1) << rng.IntN(27)))
		}
		var want dto.Metric
		if err := theirs.Write(&want); err != nil {
			t.Fatal(err)
		}
		h := want.GetHistogram()
		if h.GetSchema() != NativeSchema {
			t.Fatalf("the library's schema is %d", h.GetSchema())
		}
		got := ours.snapshot()
		cumulative := uint64(0)
		for i, b := range h.GetBucket() {
			if cumulative += got.Classic[i]; cumulative != b.GetCumulativeCount() {
				t.Errorf("%s: %d values up to %v, want %d", name, cumulative, b.GetUpperBound(), b.GetCumulativeCount())
			}
		}
		if cumulative += got.Classic[classicBounds]; cumulative != h.GetSampleCount() {
			t.Errorf("%s: %d values in all, want %d", name, cumulative, h.GetSampleCount())
		}
		if got.Zero != h.GetZeroCount() {
			t.Errorf("%s: %d in the zero bucket, want %d", name, got.Zero, h.GetZeroCount())
		}
		if want := nativeOf(h); !maps.Equal(got.Native, want) {
			t.Errorf("%s: native buckets %v, want %v", name, got.Native, want)
		}
	}
}

// nativeOf undoes the packing of native buckets: spans of neighbours, counts as differences.
func nativeOf(h *dto.Histogram) map[int]int64 {
	out := make(map[int]int64)
	key, count, deltas := 0, int64(0), h.GetPositiveDelta()
	for _, span := range h.GetPositiveSpan() {
		key += int(span.GetOffset())
		for range span.GetLength() {
			if count, deltas = count+deltas[0], deltas[1:]; count != 0 {
				out[key] = count
			}
			key++
		}
	}
	return out
}

func TestHistogramKeepsWhatIsOffTheScale(t *testing.T) {
	t.Parallel()
	h := &histogram{scale: &TimeScale}
	h.observe(-5) // a clock that is read twice may give the same time twice, and never goes back; nothing may break
	h.observe(int64(time.Hour))
	got := h.snapshot()
	if got.Zero != 1 || got.Native[TimeScale.first+nativeBuckets-1] != 1 || got.Sum != uint64(time.Hour) {
		t.Errorf("snapshot = %+v", got)
	}
	sum := Histogram{}
	sum.Add(&got)
	sum.Add(&got)
	if sum.Zero != 2 || sum.Classic[classicBounds] != 2 || sum.Native[TimeScale.first+nativeBuckets-1] != 2 {
		t.Errorf("twice the snapshot = %+v", sum)
	}
}
