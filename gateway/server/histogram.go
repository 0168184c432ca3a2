package server

import (
	"math"
	"sort"
	"sync/atomic"
)

// classicBounds is how many bounds a classic histogram has; one more bucket holds the rest.
const classicBounds = 16

// Native histograms of schema 3 have eight buckets to a doubling, so that any quantile is known to within 4.5 %. Bucket
// number k holds what is at most 2^(k/8) and more than the one before.
const (
	NativeSchema  = 3
	perDoubling   = 1 << NativeSchema
	nativeBuckets = 27 * perDoubling // doublings from a microsecond to two minutes, or from 1 to 100 million
)

// Scale is the buckets of a histogram. Values are counted in a raw unit, nanoseconds or pieces, and shown in a base
// unit, seconds or pieces.
type Scale struct {
	Bounds        [classicBounds]int64 // of the classic buckets, in raw units
	Unit          float64              // raw units in one base unit
	ZeroThreshold float64              // in base units: what is at most this is in the native histogram's zero bucket
	first         int                  // number of the lowest native bucket
}

// The scales in use.
var (
	TimeScale = Scale{
		Bounds: [...]int64{
			100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000, 25_000_000, 50_000_000,
			100_000_000, 250_000_000, 500_000_000, 1_000_000_000, 2_500_000_000, 5_000_000_000, 10_000_000_000,
		},
		Unit: 1e9, ZeroThreshold: math.Ldexp(1, -20), first: -20*perDoubling + 1,
	}
	WidthScale = Scale{
		Bounds: [...]int64{1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000},
		Unit:   1,
	}
)

// fractions are the bounds of the native buckets within one doubling, as math.Frexp tells values.
var fractions = func() (out [perDoubling]float64) {
	for i := range out {
		out[i] = math.Exp2(float64(i)/perDoubling) / 2
	}
	return out
}()

// native returns the number of the native bucket that a value belongs to; zero is true for the zero bucket. What is
// beyond the last bucket is counted there: two minutes in one turn, or a fan-out to 100 million on one loop.
func (s *Scale) native(v int64) (key int, zero bool) {
	base := float64(v) / s.Unit
	if base <= s.ZeroThreshold {
		return 0, true
	}
	frac, exp := math.Frexp(base)
	key = sort.SearchFloat64s(fractions[:], frac) + (exp-1)*perDoubling
	return min(max(key, s.first), s.first+nativeBuckets-1), false
}

// Histogram is a snapshot of a histogram, in both forms.
type Histogram struct {
	Classic [classicBounds + 1]uint64 // by bucket, not cumulative: at most its bound and more than the one before
	Native  map[int]int64             // by number of the bucket
	Zero    uint64                    // in the native histogram's zero bucket
	Sum     uint64                    // in raw units
}

// Add adds other to h.
func (h *Histogram) Add(other *Histogram) {
	for i, n := range other.Classic {
		h.Classic[i] += n
	}
	if h.Native == nil {
		h.Native = make(map[int]int64, len(other.Native))
	}
	for key, n := range other.Native {
		h.Native[key] += n
	}
	h.Zero += other.Zero
	h.Sum += other.Sum
}

// histogram counts values in a classic and in a native histogram: neither's bounds are the other's, so that neither
// could be worked out from the other without guessing. One goroutine observes; anyone takes snapshots.
type histogram struct {
	scale *Scale // Fixed at creation.

	// Atomic.
	classic   [classicBounds + 1]atomic.Uint64
	native    [nativeBuckets]atomic.Uint64
	zero, sum atomic.Uint64
}

func (h *histogram) observe(v int64) {
	v = max(0, v)
	i := 0
	for i < classicBounds && v > h.scale.Bounds[i] {
		i++
	}
	h.classic[i].Add(1)
	h.sum.Add(uint64(v))
	if key, zero := h.scale.native(v); zero {
		h.zero.Add(1)
	} else {
		h.native[key-h.scale.first].Add(1)
	}
}

func (h *histogram) snapshot() Histogram {
	out := Histogram{Native: make(map[int]int64)}
	for i := range h.classic {
		out.Classic[i] = h.classic[i].Load()
	}
	for i := range h.native {
		if n := h.native[i].Load(); n > 0 {
			out.Native[i+h.scale.first] = int64(n)
		}
	}
	out.Zero, out.Sum = h.zero.Load(), h.sum.Load()
	return out
}
