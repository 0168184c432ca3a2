package wire

import (
	"encoding/json"
	"math"
	"testing"
)

func TestPayloadRoundTrip(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		number   uint32
		intended int64
		size     int
	}{
		{0, 0, StampLen},
		{1, 1795000000123456789, 128},
		{math.MaxUint32, math.MaxInt64, 4096},
	} {
		p := AppendPayload(nil, "cb01234567", tt.number, tt.intended, tt.size)
		if len(p) != tt.size {
			t.Errorf("payload of %d bytes, want %d", len(p), tt.size)
		}
		if quoted, err := json.Marshal(string(p)); err != nil || len(quoted) != len(p)+2 {
			t.Errorf("payload %q needs escaping: %s, %v", p, quoted, err)
		}
		number, intended, ok := ParseStamp(p[MarkLen:])
		if number != tt.number || intended != tt.intended || !ok {
			t.Errorf("parseStamp(%q) = %d, %d, %v, want %d, %d, true", p[MarkLen:], number, intended, ok, tt.number, tt.intended)
		}
	}
}

func TestParseStampRefuses(t *testing.T) {
	t.Parallel()
	good := string(AppendPayload(nil, "cb01234567", 42, 4711, StampLen)[MarkLen:])
	for _, in := range []string{"", good[:len(good)-1], "G" + good[1:], good[:numberLen] + " " + good[numberLen+1:], good[:len(good)-1] + `"`} {
		if _, _, ok := ParseStamp([]byte(in)); ok {
			t.Errorf("parseStamp(%q) is ok, want not", in)
		}
	}
}

func TestMarksDiffer(t *testing.T) {
	t.Parallel()
	if a, b := NewMark(), NewMark(); a == b || len(a) != MarkLen {
		t.Errorf("marks %q and %q, want two of %d bytes", a, b, MarkLen)
	}
}
