package main

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/carillon-ws/carillon/bench/client"
	"github.com/carillon-ws/carillon/bench/wire"
	"github.com/carillon-ws/carillon/protocol"
)

// double is a gateway made for being wrong: what it writes for a delivery is up to the test. It is also the publisher.
type double struct {
	url string
	// deliver returns what to write for the n-th delivery on a connection; nil loses it.
	deliver func(c *doubleConn, n int, frame []byte) []byte

	mu    sync.Mutex
	conns []*doubleConn
}

type doubleConn struct {
	net.Conn
	channel   string // guarded by mu of the double
	delivered int
	held      []byte // for deliver to use
}

func startDouble(t *testing.T, deliver func(*doubleConn, int, []byte) []byte) *double {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &double{url: "ws://" + l.Addr().String() + "/ws", deliver: deliver}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { d.serve(&doubleConn{Conn: c}) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		d.hangUp()
		wg.Wait()
	})
	return d
}

func (d *double) hangUp() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.conns {
		_ = c.Close()
	}
}

// serve upgrades a connection and takes its subscription, asking with a ping now and then.
func (d *double) serve(c *doubleConn) {
	defer c.Close() //nolint:errcheck // the test's end
	if _, err := ws.Upgrade(c); err != nil {
		return
	}
	_ = wsutil.WriteServerText(c, []byte(`{"type":"connected","clientId":"1","timestamp":1}`))
	var decoder protocol.Decoder
	for {
		msg, op, err := wsutil.ReadClientData(c)
		if err != nil || op != ws.OpText {
			return
		}
		cmd, err := decoder.Decode(msg)
		if err != nil || cmd.Type != protocol.CommandSubscribe {
			return
		}
		channel := string(cmd.Channels[0])
		d.mu.Lock()
		c.channel = channel
		d.conns = append(d.conns, c)
		d.mu.Unlock()
		_ = wsutil.WriteServerMessage(c, ws.OpPing, []byte("are you there"))
		_ = wsutil.WriteServerText(c, []byte(`{"type":"subscribed","channel":"`+channel+`","timestamp":1}`))
	}
}

func (d *double) Publish(_ context.Context, batch []wire.Publication) error {
	for _, p := range batch {
		if err := d.send(strings.TrimPrefix(p.Channel, protocol.RedisPrefix), string(p.Payload)); err != nil {
			return err
		}
	}
	return nil
}

// send delivers a payload to the subscribers of a channel.
func (d *double) send(channel, payload string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, _ := protocol.NewNotification(channel, payload, 1)
	for _, c := range d.conns {
		if c.channel != channel {
			continue
		}
		out := d.deliver(c, c.delivered, f.Bytes())
		c.delivered++
		if _, err := c.Write(out); err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
	}
	return nil
}

func (d *double) Close() error { return nil }

func asItShould(_ *doubleConn, _ int, frame []byte) []byte { return frame }

// crewFor is the clients of a double, not connected yet.
func crewFor(t *testing.T, d *double, connections, channels, threads int) *crew {
	t.Helper()
	to, err := client.Resolve(t.Context(), d.url)
	if err != nil {
		t.Fatal(err)
	}
	plan := newPlan([]client.Target{to}, client.Workload{Connections: connections, Channels: channels})
	plan.Threads = threads
	c, err := localCrew(plan)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.close(); err != nil {
			t.Error(err)
		}
	})
	c.patience = 300 * time.Millisecond
	return c
}

// connect brings a crew up against a double.
func connect(t *testing.T, d *double, connections, channels, threads int) *crew {
	t.Helper()
	c := crewFor(t, d, connections, channels, threads)
	tally, took, err := c.ramp(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if r := rampOf(c, tally, took); r.Connections != connections || r.Latency.Count != int64(connections) {
		t.Fatalf("ramp: %+v, want %d connections", r, connections)
	}
	return c
}
