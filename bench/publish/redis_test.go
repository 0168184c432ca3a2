package publish

import (
	"errors"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"github.com/carillon-ws/carillon/bench/client"
	"github.com/carillon-ws/carillon/bench/wire"
)

func TestRedisPublisher(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	p, err := Dial(t.Context(), "redis://"+server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close() //nolint:errcheck // the test's end
	batch := twoPublications()
	if err := p.Publish(t.Context(), batch); !errors.Is(err, errNobodyListens) {
		t.Errorf("publish to nobody = %v, want %v", err, errNobodyListens)
	}
	sub := server.NewSubscriber()
	defer sub.Close()
	sub.Psubscribe("notifications:*")
	done := make(chan error, 1)
	go func() { done <- p.Publish(t.Context(), batch) }()
	for _, want := range batch {
		if got := <-sub.Pmessages(); got.Channel != want.Channel || got.Message != string(want.Payload) {
			t.Errorf("heard %q on %q, want %q on %q", got.Message, got.Channel, want.Payload, want.Channel)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func twoPublications() []wire.Publication {
	return []wire.Publication{
		{Channel: ChannelName(new(client.Speech), 0), Payload: []byte("one")},
		{Channel: ChannelName(new(client.Speech), 1), Payload: []byte("two")},
	}
}
