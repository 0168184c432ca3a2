package server

import (
	"context"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/protocol"
)

// startServer runs a server on a free port until the test ends.
func startServer(t *testing.T, change func(*Config)) (*Server, *fanout.Feeder) {
	t.Helper()
	interest := fanout.NewInterest()
	cfg := Config{Addr: "127.0.0.1:0", Loops: 2, Interest: interest, Upgrade: protocol.UpgradeConfig{Loopback: true}}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run = %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Run did not return")
		}
	})
	select {
	case <-s.Ready():
	case err := <-done:
		t.Fatalf("Run = %v before it was ready", err)
	}
	return s, fanout.NewFeeder(interest, s.Loops())
}

func TestSmoke(t *testing.T) {
	s, feeder := startServer(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws://"+s.Addr()+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	read := func() string {
		_, b, err := c.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		t.Log(string(b))
		return string(b)
	}
	read()
	if err := c.Write(ctx, websocket.MessageText, []byte(`{"type":"subscribe","channel":"user:1"}`)); err != nil {
		t.Fatal(err)
	}
	read()
	feeder.Publish("notifications:user:1", "hello")
	read()
	if err := c.Ping(ctx); err != nil && ctx.Err() != nil {
		t.Log(err)
	}
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Fatal(err)
	}
}
