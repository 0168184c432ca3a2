package benchtest

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/carillon-ws/carillon/bench/floor"
	"github.com/carillon-ws/carillon/bench/host"
	"github.com/carillon-ws/carillon/bench/wire"
	"github.com/carillon-ws/carillon/protocol"
)

// Double is a gateway made for being wrong: what it writes for a delivery is up to the test. It is also the publisher.
type Double struct {
	URL string
	// deliver returns what to write for the n-th delivery on a connection; nil loses it.
	deliver func(c *Conn, n int, frame []byte) []byte

	Mu    sync.Mutex
	Conns []*Conn
}

// Conn is a connection of a double.
type Conn struct {
	net.Conn
	Channel   string // guarded by mu of the double
	delivered int
	Held      []byte // for deliver to use
}

// Start starts a double that writes what deliver returns.
func Start(t *testing.T, deliver func(*Conn, int, []byte) []byte) *Double {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &Double{URL: "ws://" + l.Addr().String() + "/ws", deliver: deliver}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { d.serve(&Conn{Conn: c}) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		d.HangUp()
		wg.Wait()
	})
	return d
}

// HangUp ends all connections.
func (d *Double) HangUp() {
	d.Mu.Lock()
	defer d.Mu.Unlock()
	for _, c := range d.Conns {
		_ = c.Close()
	}
}

// serve upgrades a connection and takes its subscription, asking with a ping now and then.
func (d *Double) serve(c *Conn) {
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
		d.Mu.Lock()
		c.Channel = channel
		d.Conns = append(d.Conns, c)
		d.Mu.Unlock()
		_ = wsutil.WriteServerMessage(c, ws.OpPing, []byte("are you there"))
		_ = wsutil.WriteServerText(c, []byte(`{"type":"subscribed","channel":"`+channel+`","timestamp":1}`))
	}
}

// Publish delivers a batch.
func (d *Double) Publish(_ context.Context, batch []wire.Publication) error {
	for _, p := range batch {
		if err := d.Send(strings.TrimPrefix(p.Channel, protocol.RedisPrefix), string(p.Payload)); err != nil {
			return err
		}
	}
	return nil
}

// Send delivers a payload to the subscribers of a channel.
func (d *Double) Send(channel, payload string) error {
	d.Mu.Lock()
	defer d.Mu.Unlock()
	f, _ := protocol.NewNotification(channel, payload, 1)
	for _, c := range d.Conns {
		if c.Channel != channel {
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

// Close does nothing: the test's end does.
func (d *Double) Close() error { return nil }

// AsItShould loses nothing.
func AsItShould(_ *Conn, _ int, frame []byte) []byte { return frame }

// StartFloor is a floor server in a process of its own.
func StartFloor(t *testing.T, mode floor.Mode) *floor.Child {
	t.Helper()
	f, err := floor.Start(t.Context(), mode, host.AnyCPU)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Stop(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// Until is a writer that closes seen when what is written contains text.
type Until struct {
	Text string
	once sync.Once
	Seen chan struct{}
}

func (u *Until) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(u.Text)) {
		u.once.Do(func() { close(u.Seen) })
	}
	return len(p), nil
}
