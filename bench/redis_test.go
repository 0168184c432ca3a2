package main

import (
	"errors"
	"testing"

	"github.com/alicebob/miniredis/v2"
)

func TestRedisPublisher(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	p, err := newPublisher(t.Context(), "redis://"+server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close() //nolint:errcheck // the test's end
	batch := []publication{{redisChannelName(0), []byte("one")}, {redisChannelName(1), []byte("two")}}
	if err := p.publish(t.Context(), batch); !errors.Is(err, errNobodyListens) {
		t.Errorf("publish to nobody = %v, want %v", err, errNobodyListens)
	}
	sub := server.NewSubscriber()
	defer sub.Close()
	sub.Psubscribe("notifications:*")
	done := make(chan error, 1)
	go func() { done <- p.publish(t.Context(), batch) }()
	for _, want := range batch {
		if got := <-sub.Pmessages(); got.Channel != want.channel || got.Message != string(want.payload) {
			t.Errorf("heard %q on %q, want %q on %q", got.Message, got.Channel, want.payload, want.channel)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
