package client

import (
	"slices"
	"testing"
)

func TestWorkloadIsEveryone(t *testing.T) {
	t.Parallel()
	for _, load := range []Workload{
		{Connections: 10, Channels: 1},
		{Connections: 10, Channels: 3},
		{Connections: 10, Channels: 10},
		{Connections: 1000, Channels: 50, Zipf: 1},
	} {
		load.Prepare()
		whole := load.Audience(0, load.Connections, nil)
		parts := make([]int32, load.Channels)
		for first := 0; first < load.Connections; first += 3 {
			for ch, n := range load.Audience(first, min(3, load.Connections-first), nil) {
				parts[ch] += n
			}
		}
		sum := int32(0)
		for _, n := range whole {
			sum += n
		}
		if int(sum) != load.Connections || !slices.Equal(whole, parts) {
			t.Errorf("%+v: audiences %v sum up to %d; those of its parts to %v", load, whole, sum, parts)
		}
	}
}

func TestZipfPrefersTheFirst(t *testing.T) {
	t.Parallel()
	load := Workload{Connections: 100_000, Channels: 100, Zipf: 1}
	load.Prepare()
	audience := load.Audience(0, load.Connections, nil)
	// The harmonic sum of 100 is 5.19: the first has a share of 1 in it, the second half of that.
	if audience[0] < 19_000 || audience[0] > 19_600 || audience[1] < 9_400 || audience[1] > 9_900 {
		t.Errorf("the first channels have %v subscribers, want about 19,277 and 9,638", audience[:2])
	}
	if audience[99] < 150 || audience[99] > 240 {
		t.Errorf("the last channel has %d subscribers, want about 193", audience[99])
	}
}

func TestShareIsEven(t *testing.T) {
	t.Parallel()
	for _, share := range []float64{0.01, 0.3, 1} {
		n := 0
		for i := range 1000 {
			if InShare(i, share) {
				n++
			}
		}
		if want := int(share * 1000); n != want {
			t.Errorf("%g of 1,000 are %d, want %d", share, n, want)
		}
	}
}

func TestPublishedIsDealtInTurn(t *testing.T) {
	t.Parallel()
	load := Workload{Connections: 9, Channels: 3}
	for numbers := range uint32(12) {
		sum := uint32(0)
		for ch := range 3 {
			sum += load.published(ch, numbers)
		}
		if sum != numbers {
			t.Errorf("of %d publications %d went to a channel", numbers, sum)
		}
	}
	if got := load.published(1, 5); got != 2 { // 1 and 4
		t.Errorf("channel 1 had %d of the first 5, want 2", got)
	}
}

func TestOutlook(t *testing.T) {
	t.Parallel()
	o := Outlook{Schedule: Schedule{Start: 1_000_000_000, Rate: 10, Total: 5}, First: 7}
	for now, want := range map[int64]uint32{0: 7, 1_000_000_000: 8, 1_250_000_000: 10, 9_000_000_000: 12} {
		if got := o.numbers(now); got != want {
			t.Errorf("numbers(%d) = %d, want %d", now, got, want)
		}
	}
	if got := (&Outlook{First: 3}).numbers(5); got != 3 {
		t.Errorf("without a schedule there are %d numbers, want 3", got)
	}
}

func TestSpeechOfOtherServers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		s     Speech
		want  string
		inAck string
	}{
		{"ours", Speech{}, `{"type":"subscribe","channel":"bench:4"}`, `"type":"subscribed"`},
		{"another", Speech{Channel: "room", Subscribe: `SUB {channel}!`, Ack: "OK"}, `SUB room:4!`, "OK"},
		{"one name", Speech{Channel: "user:123", SingleNamed: true}, `{"type":"subscribe","channel":"user:123"}`, `"type":"subscribed"`},
	} {
		if got := string(tt.s.subscribe(4)); got != tt.want {
			t.Errorf("%s: subscribe = %s, want %s", tt.name, got, tt.want)
		}
		if got := string(tt.s.ack()); got != tt.inAck {
			t.Errorf("%s: ack = %s, want %s", tt.name, got, tt.inAck)
		}
	}
}
