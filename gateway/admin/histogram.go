package admin

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/carillon-ws/carillon/gateway/server"
)

// metric returns the sum of the loops' histograms.
func (m *histogramMetric) metric(s *snapshot) prometheus.Metric {
	var total server.Histogram
	for i := range s.server.Loops {
		total.Add(m.value(&s.server.Loops[i]))
	}
	count := uint64(0)
	buckets := make(map[float64]uint64, len(m.scale.Bounds)) // cumulative, by upper bound
	for i, bound := range m.scale.Bounds {
		count += total.Classic[i]
		buckets[float64(bound)/m.unit] = count
	}
	count += total.Classic[len(m.scale.Bounds)]
	sum := float64(total.Sum) / m.unit
	classic := prometheus.MustNewConstHistogram(m.desc, count, sum, buckets)
	if !m.native {
		return classic
	}
	// Both forms must have the same count. The loops go on counting while the buckets are read, so it is summed here.
	nativeCount := total.Zero
	for _, n := range total.Native {
		nativeCount += uint64(n)
	}
	native := prometheus.MustNewConstNativeHistogram(m.desc, nativeCount, sum, total.Native, nil, total.Zero,
		server.NativeSchema, m.scale.ZeroThreshold, time.Time{})
	return bothForms{classic, native}
}

// bothForms is a histogram with classic and native buckets. The text format shows the classic ones; a Prometheus that
// scrapes by protobuf can take the native ones. The library makes constant histograms with one kind of buckets only.
type bothForms struct {
	prometheus.Metric
	native prometheus.Metric
}

// Write implements [prometheus.Metric].
func (m bothForms) Write(out *dto.Metric) error {
	var native dto.Metric
	if err := m.native.Write(&native); err != nil {
		return err
	}
	if err := m.Metric.Write(out); err != nil {
		return err
	}
	h, n := out.GetHistogram(), native.GetHistogram()
	h.SampleCount = n.SampleCount
	h.Schema, h.ZeroThreshold, h.ZeroCount = n.Schema, n.ZeroThreshold, n.ZeroCount
	h.PositiveSpan, h.PositiveDelta = n.PositiveSpan, n.PositiveDelta
	return nil
}
