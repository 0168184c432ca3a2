package client

import (
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/bench/wire"
	"github.com/carillon-ws/carillon/protocol"
)

const testMark = "cb01234567"

// idlePoller is a poller without sockets, with clients that have subscribed.
func idlePoller(channels int) (*poller, *client) {
	load := Workload{Connections: channels, Channels: channels}
	p := &poller{
		clock: wire.NewClock(), mark: testMark, load: load, heardBy: new(heardBy), audience: load.Audience(0, channels, nil),
		tally: NewTally(), second: NewHistogram(), clients: make([]client, channels), nameAt: len(notificationHead) + len("bench:") + len(dataHead),
	}
	for i := range p.clients {
		p.clients[i] = client{number: int32(i), state: stateReady}
	}
	return p, &p.clients[0]
}

// notificationFrame is a publication of a run as the gateway sends it.
func notificationFrame(t testing.TB, channel int, number uint32, size int) []byte {
	t.Helper()
	data := string(wire.AppendPayload(nil, testMark, number, 1, size))
	f, replaced := protocol.NewNotification(channelName(channel), data, 1795000000000)
	if replaced != 0 {
		t.Fatalf("payload %q is not plain", data)
	}
	return f.Bytes()
}

func channelName(ch int) string { return new(Speech).ChannelName(ch) }

func TestMarkLiesWhereTheGatewayPutsIt(t *testing.T) {
	t.Parallel()
	for _, channel := range []int{0, 9, 10, 99, 100, 12345} {
		w, _ := idlePoller(channel + 1)
		c := &w.clients[channel]
		_, msg, _, err := wire.NextFrame(notificationFrame(t, channel, uint32(channel), 64))
		if err != nil {
			t.Fatal(err)
		}
		if at := w.markAt(c); !strings.HasPrefix(string(msg[at:]), testMark) {
			t.Errorf("channel %d: at %d there is %q, want the mark: deliveries take the slow path", channel, at, msg[at:])
		}
	}
}

func TestOtherEnvelopesAreUnderstood(t *testing.T) {
	t.Parallel()
	w, c := idlePoller(1)
	stamp := wire.AppendPayload(nil, testMark, 0, 1, wire.StampLen)
	msg := fmt.Sprintf(`{"timestamp":5,"data":"%s","channel":"bench:0","type":"notification"}`, stamp)
	if _, err := w.consume(c, serverFrame(t, ws.OpText, []byte(msg)), 1); err != nil {
		t.Fatal(err)
	}
	if w.tally.Received != 1 {
		t.Errorf("received %d of a server that orders its fields otherwise, want 1", w.tally.Received)
	}
}

func TestWrongChannelIsNotADelivery(t *testing.T) {
	t.Parallel()
	w, c := idlePoller(2)
	if _, err := w.consume(c, notificationFrame(t, 1, 1, 64), 1); err != nil {
		t.Fatal(err)
	}
	if w.tally.Misdelivered != 1 || w.tally.Received != 0 || len(w.done) != 0 {
		t.Errorf("misdelivered %d, received %d, completed %d, want 1, 0, 0", w.tally.Misdelivered, w.tally.Received, len(w.done))
	}
}

func TestDeliveryAllocatesNothing(t *testing.T) {
	w, c := idlePoller(1)
	frames := make([][]byte, 200)
	for i := range frames {
		frames[i] = notificationFrame(t, 0, uint32(i), 128)
	}
	next := 0
	allocs := testing.AllocsPerRun(100, func() {
		if _, err := w.consume(c, frames[next], 1000); err != nil {
			t.Fatal(err)
		}
		next++
	})
	if allocs != 0 {
		t.Errorf("a delivery allocates %v times, want 0", allocs)
	}
}

// A million clients over a few processes must leave the machine to the gateway.
func TestClientIsSmall(t *testing.T) {
	t.Parallel()
	if size := unsafe.Sizeof(client{}); size > 64 {
		t.Errorf("a client takes %d bytes, want at most a cache line", size)
	}
}

func BenchmarkDelivery(b *testing.B) {
	w, c := idlePoller(1)
	const n = 1024
	var stream []byte
	for i := range uint32(n) {
		stream = append(stream, notificationFrame(b, 0, i, 128)...)
	}
	b.ReportAllocs()
	for b.Loop() {
		c.seq = sequence{}
		if _, err := w.consume(c, stream, 1_000_000); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/delivery")
}
