package coordinator

import (
	"bytes"
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/bench/benchtest"
	"github.com/carillon-ws/carillon/bench/client"
	"github.com/carillon-ws/carillon/bench/floor"
	"github.com/carillon-ws/carillon/bench/report"
	"github.com/carillon-ws/carillon/bench/wire"
)

// serverFrame is a frame as a server sends it.
func serverFrame(t testing.TB, op ws.OpCode, payload []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := ws.WriteFrame(&out, ws.NewFrame(op, true, payload)); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// quick is 20 publications in an open loop.
var quick = Load{Rate: 200, Duration: 100 * time.Millisecond, Payload: 64}

func TestBrokenTargetsAreCaught(t *testing.T) {
	t.Parallel()
	type outcome struct{ lost, duplicated, reordered, misdelivered, gaps uint64 }
	twice := func(b []byte) []byte { return slices.Concat(b, b) }
	for _, tt := range []struct {
		name    string
		deliver func(c *benchtest.Conn, n int, frame []byte) []byte
		want    outcome // per connection; each gets 20 deliveries
	}{
		{"as it should", benchtest.AsItShould, outcome{}},
		{"loses one in ten", func(_ *benchtest.Conn, n int, frame []byte) []byte {
			if n%10 == 5 {
				return nil
			}
			return frame
		}, outcome{lost: 2}},
		{"loses the last", func(_ *benchtest.Conn, n int, frame []byte) []byte {
			if n == 19 {
				return nil
			}
			return frame
		}, outcome{lost: 1}},
		{"doubles one in ten", func(_ *benchtest.Conn, n int, frame []byte) []byte {
			if n%10 == 5 {
				return twice(frame)
			}
			return frame
		}, outcome{duplicated: 2}},
		{"swaps two in ten", func(c *benchtest.Conn, n int, frame []byte) []byte {
			switch n % 10 {
			case 5:
				c.Held = frame
				return nil
			case 6:
				return slices.Concat(frame, c.Held)
			}
			return frame
		}, outcome{reordered: 2}},
		{"loses one and says so", func(_ *benchtest.Conn, n int, frame []byte) []byte {
			if n == 5 {
				return serverFrame(t, ws.OpText, []byte(`{"type":"gap","channel":"bench:0","reason":"slow","dropped":1,"timestamp":1}`))
			}
			return frame
		}, outcome{lost: 1, gaps: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			const connections = 5
			d := benchtest.Start(t, tt.deliver)
			e := connect(t, d, connections, 1, 2)
			r, err := e.deliver(t.Context(), d, quick, nil)
			if err != nil {
				t.Fatal(err)
			}
			want := outcome{tt.want.lost * connections, tt.want.duplicated * connections, tt.want.reordered * connections, 0, tt.want.gaps * connections}
			got := outcome{r.Lost, r.Duplicated, r.Reordered, r.Misdelivered, r.GapsTold}
			if got != want {
				t.Errorf("lost, duplicated, reordered, misdelivered, gaps = %v, want %v", got, want)
			}
			if r.Expected != 20*connections || r.Received != r.Expected-want.lost {
				t.Errorf("received %d of %d, want %d of %d", r.Received, r.Expected, 20*connections-want.lost, 20*connections)
			}
			if clean := want.lost+want.duplicated+want.reordered == 0; r.Clean() != clean {
				t.Errorf("clean = %v, want %v", r.Clean(), clean)
			}
		})
	}
}

func TestWrongConnectionIsCaught(t *testing.T) {
	t.Parallel()
	d := benchtest.Start(t, benchtest.AsItShould)
	e := connect(t, d, 4, 2, 1)
	d.Mu.Lock()
	d.Conns[0].Channel = new(client.Speech).ChannelName(1 - int(d.Conns[0].Channel[len("bench:")]-'0')) // the index is wrong about this one
	d.Mu.Unlock()
	r, err := e.deliver(t.Context(), d, quick, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.Misdelivered != 10 || r.Lost != 10 || r.Clean() {
		t.Errorf("misdelivered %d, lost %d, clean %v, want 10, 10, false", r.Misdelivered, r.Lost, r.Clean())
	}
}

func TestFramesMayComeInAnyPieces(t *testing.T) {
	t.Parallel()
	for name, piece := range map[string]int{"single bytes": 1, "sevens": 7} {
		d := benchtest.Start(t, func(c *benchtest.Conn, _ int, frame []byte) []byte {
			for len(frame) > piece {
				if _, err := c.Write(frame[:piece]); err != nil {
					return nil
				}
				frame = frame[piece:]
			}
			return frame
		})
		e := connect(t, d, 3, 1, 1)
		r, err := e.deliver(t.Context(), d, quick, nil)
		if err != nil || !r.Clean() || r.Received != 60 {
			t.Errorf("%s: %+v, %v, want 60 clean deliveries", name, r, err)
		}
	}
}

func TestLargePayload(t *testing.T) {
	t.Parallel()
	d := benchtest.Start(t, benchtest.AsItShould)
	e := connect(t, d, 2, 1, 1)
	r, err := e.deliver(t.Context(), d, Load{Inflight: 2, Duration: 50 * time.Millisecond, Payload: wire.MaxPayload}, nil)
	if err != nil || !r.Clean() || r.Received == 0 {
		t.Errorf("payloads of 1 MiB: %+v, %v, want clean", r, err)
	}
}

func TestClosedLoopKeepsItsLimit(t *testing.T) {
	t.Parallel()
	most := 0
	d := benchtest.Start(t, benchtest.AsItShould)
	e := connect(t, d, 20, 4, 2)
	count := publisherFunc(func(ctx context.Context, batch []wire.Publication) error {
		most = max(most, e.tracker.outstanding())
		return d.Publish(ctx, batch)
	})
	r, err := e.deliver(t.Context(), count, Load{Inflight: 3, Duration: 200 * time.Millisecond, Payload: 64}, nil)
	if err != nil || !r.Clean() {
		t.Fatalf("%+v, %v, want clean", r, err)
	}
	if most != 3 || r.Publications < 10 {
		t.Errorf("%d publications, at most %d on their way, want many and 3", r.Publications, most)
	}
	// A second phase goes on where the first ended.
	if r, err = e.deliver(t.Context(), d, quick, nil); err != nil || !r.Clean() || r.Received != 100 {
		t.Errorf("second phase: %+v, %v, want 100 clean deliveries", r, err)
	}
}

// publisherFunc is a publisher made of one function.
type publisherFunc func(context.Context, []wire.Publication) error

func (f publisherFunc) Publish(ctx context.Context, batch []wire.Publication) error {
	return f(ctx, batch)
}
func (publisherFunc) Close() error { return nil }

func TestServerThatGoesAway(t *testing.T) {
	t.Parallel()
	d := benchtest.Start(t, benchtest.AsItShould)
	e := connect(t, d, 4, 1, 1)
	gone := publisherFunc(func(context.Context, []wire.Publication) error {
		d.HangUp()
		return nil
	})
	r, err := e.deliver(t.Context(), gone, Load{Inflight: 1, Duration: time.Minute, Payload: 64}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.Closed != 4 || r.Lost != 4 || r.Clean() || !strings.Contains(r.ClosedWhy, "closed by the server") {
		t.Errorf("closed %d (%s), lost %d, clean %v, want 4 closed by the server, 4, false", r.Closed, r.ClosedWhy, r.Lost, r.Clean())
	}
}

func TestPublisherErrorEndsTheRun(t *testing.T) {
	t.Parallel()
	d := benchtest.Start(t, benchtest.AsItShould)
	e := connect(t, d, 1, 1, 1)
	broken := errors.New("no Redis here")
	_, err := e.deliver(t.Context(), publisherFunc(func(context.Context, []wire.Publication) error { return broken }), quick, nil)
	if !errors.Is(err, broken) {
		t.Errorf("steady = %v, want %v", err, broken)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.deliver(ctx, d, quick, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("steady after the end = %v, want %v", err, context.Canceled)
	}
}

func TestRampFailures(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, want string
		serve      func(net.Conn)
	}{
		{"refused upgrade", "503", func(c net.Conn) {
			readHead(c)
			_, _ = c.Write([]byte("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"))
		}},
		{"hangs up", "closed by the server", func(c net.Conn) { readHead(c); _ = c.Close() }},
		{"close frame", "1013 try later", func(c net.Conn) {
			if _, err := ws.Upgrade(c); err == nil {
				_ = ws.WriteFrame(c, ws.NewCloseFrame(ws.NewCloseFrameBody(1013, "try later")))
			}
		}},
		{"refused subscription", "subscribe refused", func(c net.Conn) {
			if _, err := ws.Upgrade(c); err == nil {
				_ = ws.WriteFrame(c, ws.NewTextFrame([]byte(`{"type":"error","code":"forbidden","message":"no","timestamp":1}`)))
			}
		}},
		{"says nothing", "nothing has happened", func(net.Conn) {}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					defer c.Close() //nolint:errcheck // the test's end
					tt.serve(c)
				}
			}()
			t.Cleanup(func() { _ = l.Close(); <-done })
			c := workersFor(t, &benchtest.Double{URL: "ws://" + l.Addr().String() + "/ws"}, 3, 1, 1)
			if _, _, err := c.Ramp(t.Context(), 0); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("ramp = %v, want it to say %q", err, tt.want)
			}
		})
	}
}

// readHead takes a request, because closing over unread bytes would be a reset.
func readHead(c net.Conn) {
	_, _ = c.Read(make([]byte, 4<<10))
}

func TestRampKeepsItsRate(t *testing.T) {
	t.Parallel()
	d := benchtest.Start(t, benchtest.AsItShould)
	c := workersFor(t, d, 20, 1, 2)
	_, took, err := c.Ramp(t.Context(), 100)
	if err != nil {
		t.Fatal(err)
	}
	// The last of 20 is due 180 ms after the first, per thread of 10 at 50/s. Slower is the machine's business.
	if took < 150*time.Millisecond {
		t.Errorf("20 connections at 100/s took %s, want about 190 ms", took)
	}
}

// TestRareFaultsAreCaught breaks one delivery in 10,000, among 20,000, in each of the ways there are.
func TestRareFaultsAreCaught(t *testing.T) {
	t.Parallel()
	const connections, publications, oneIn = 20, 1000, 10_000
	for _, tt := range []struct {
		name  string
		fault func(c *benchtest.Conn, frame []byte) []byte
		after func(c *benchtest.Conn, frame []byte) []byte // of the next delivery on the same connection
		found func(*Delivery) uint64
	}{
		{"lost", func(*benchtest.Conn, []byte) []byte { return nil }, nil, func(d *Delivery) uint64 { return d.Lost }},
		{"doubled", func(_ *benchtest.Conn, frame []byte) []byte { return slices.Concat(frame, frame) }, nil, func(d *Delivery) uint64 { return d.Duplicated }},
		{
			"reordered", func(c *benchtest.Conn, frame []byte) []byte { c.Held = bytes.Clone(frame); return nil },
			func(c *benchtest.Conn, frame []byte) []byte {
				held := c.Held
				c.Held = nil
				return slices.Concat(frame, held)
			}, func(d *Delivery) uint64 { return d.Reordered },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := 0 // of all connections; the double delivers on one goroutine
			d := benchtest.Start(t, func(c *benchtest.Conn, _ int, frame []byte) []byte {
				n++
				switch {
				case n%oneIn == oneIn/2:
					return tt.fault(c, frame)
				case c.Held != nil:
					return tt.after(c, frame)
				}
				return frame
			})
			c := connect(t, d, connections, 1, 1)
			r, err := c.deliver(t.Context(), d, Load{Inflight: 32, count: publications, Payload: 64}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := tt.found(r); got != connections*publications/oneIn || r.Clean() {
				t.Errorf("%d found, clean %v, want %d of %d, false: %+v", got, r.Clean(), connections*publications/oneIn, connections*publications, r.Delivered)
			}
			// And the run fails for it.
			whole := &report.Result{Phases: []*report.Phase{{Name: "steady", Result: r.Delivered}}}
			if whole.Finish(nil); whole.OK {
				t.Errorf("the run is taken for one in which everything was delivered: %+v", whole.Figures)
			}
		})
	}
}

func TestFloorKnowsItsCost(t *testing.T) {
	t.Parallel()
	f := benchtest.StartFloor(t, floor.Each)
	p, err := floor.Dial(t.Context(), strings.TrimPrefix(f.Control, floor.Scheme+"://"))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close() //nolint:errcheck // the test's end
	c := connect(t, &benchtest.Double{URL: f.URL}, 50, 1, 1)
	if r, err := c.deliver(t.Context(), p, Load{Rate: 100, Duration: 100 * time.Millisecond, Payload: 128}, nil); err != nil || !r.Clean() {
		t.Fatalf("%+v, %v, want clean", r, err)
	}
	s, err := p.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.Connections != 50 || s.Publications != 10 || s.Deliveries != 500 || s.Writes != 500 || s.Failed != 0 || s.CPUUs <= 0 || s.ConnectUs <= 0 {
		t.Errorf("stats %+v, want 50 connections, 10 publications, 500 deliveries and writes, and their cost", s)
	}
}

// TestUnsignaledLossIsCaught has a gateway that loses what a slow client does not take, and says nothing.
func TestUnsignaledLossIsCaught(t *testing.T) {
	t.Parallel()
	d := benchtest.Start(t, func(_ *benchtest.Conn, n int, frame []byte) []byte {
		if n >= 5 && n < 8 {
			return nil
		}
		return frame
	})
	c := connect(t, d, 10, 1, 1)
	if _, err := c.deliver(t.Context(), d, quick, nil); err != nil {
		t.Fatal(err)
	}
	j := c.judge(false)
	if j.Unsignaled != 30 || j.Told != 0 {
		t.Errorf("judged %+v, want 30 that nobody was told of", j)
	}
	if j = c.judge(false); j.Unsignaled != 0 {
		t.Errorf("judged again: %+v, want a new beginning", j)
	}
}

// testPatience is how long tests wait for what will never come.
const testPatience = 500 * time.Millisecond

// workersFor is the clients of a double, not connected yet.
func workersFor(t *testing.T, d *benchtest.Double, connections, channels, threads int) *Workers {
	t.Helper()
	to, err := client.Resolve(d.URL)
	if err != nil {
		t.Fatal(err)
	}
	plan := NewPlan([]client.Target{to}, client.Workload{Connections: connections, Channels: channels})
	plan.Threads = threads
	c, err := Local(plan)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	c.patience = testPatience
	return c
}

// connect brings workers up against a double.
func connect(t *testing.T, d *benchtest.Double, connections, channels, threads int) *Workers {
	t.Helper()
	c := workersFor(t, d, connections, channels, threads)
	c.patience = patience // connecting must work, however busy the machine is
	tally, took, err := c.Ramp(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	c.patience = testPatience
	if r := rampOf(c, tally, took); r.Connections != connections || r.Latency.Count != int64(connections) {
		t.Fatalf("ramp: %+v, want %d connections", r, connections)
	}
	return c
}
