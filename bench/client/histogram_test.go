package client

import (
	"bytes"
	"encoding/gob"
	"testing"
)

// A tally must be the same at the other end of the wire between processes.
func TestTallyTravels(t *testing.T) {
	t.Parallel()
	sent := NewTally()
	sent.Received, sent.Lost, sent.CutWhy = 7, 2, "closed"
	for i := range int64(1000) {
		sent.Delivery.Record((i + 1) * 1_000_000)
	}
	var wire bytes.Buffer
	if err := gob.NewEncoder(&wire).Encode(&sent); err != nil {
		t.Fatal(err)
	}
	var got Tally
	if err := gob.NewDecoder(&wire).Decode(&got); err != nil {
		t.Fatal(err)
	}
	if got.Received != 7 || got.Lost != 2 || got.CutWhy != "closed" || got.Connect.TotalCount() != 0 {
		t.Errorf("%+v arrived, want what was sent", got)
	}
	for _, p := range []float64{0, 50, 99, 99.9, 100} {
		if got.Delivery.ValueAtQuantile(p) != sent.Delivery.ValueAtQuantile(p) {
			t.Errorf("percentile %g is %d, want %d", p, got.Delivery.ValueAtQuantile(p), sent.Delivery.ValueAtQuantile(p))
		}
	}
	sum := NewTally()
	sum.Merge(&got)
	sum.Merge(&sent)
	if sum.Received != 14 || sum.Delivery.TotalCount() != 2000 || sum.Delivery.Max() != sent.Delivery.Max() {
		t.Errorf("the sum has %d, %d values up to %d", sum.Received, sum.Delivery.TotalCount(), sum.Delivery.Max())
	}
}
