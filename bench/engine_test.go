package main

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// quick is 20 publications in an open loop.
var quick = load{rate: 200, duration: 100 * time.Millisecond, payload: 64}

func TestBrokenTargetsAreCaught(t *testing.T) {
	t.Parallel()
	type outcome struct{ lost, duplicated, reordered, misdelivered, gaps uint64 }
	twice := func(b []byte) []byte { return slices.Concat(b, b) }
	for _, tt := range []struct {
		name    string
		deliver func(c *doubleConn, n int, frame []byte) []byte
		want    outcome // per connection; each gets 20 deliveries
	}{
		{"as it should", asItShould, outcome{}},
		{"loses one in ten", func(_ *doubleConn, n int, frame []byte) []byte {
			if n%10 == 5 {
				return nil
			}
			return frame
		}, outcome{lost: 2}},
		{"loses the last", func(_ *doubleConn, n int, frame []byte) []byte {
			if n == 19 {
				return nil
			}
			return frame
		}, outcome{lost: 1}},
		{"doubles one in ten", func(_ *doubleConn, n int, frame []byte) []byte {
			if n%10 == 5 {
				return twice(frame)
			}
			return frame
		}, outcome{duplicated: 2}},
		{"swaps two in ten", func(c *doubleConn, n int, frame []byte) []byte {
			switch n % 10 {
			case 5:
				c.held = frame
				return nil
			case 6:
				return slices.Concat(frame, c.held)
			}
			return frame
		}, outcome{reordered: 2}},
		{"loses one and says so", func(_ *doubleConn, n int, frame []byte) []byte {
			if n == 5 {
				return serverFrame(t, ws.OpText, []byte(`{"type":"gap","channel":"bench:0","reason":"slow","dropped":1,"timestamp":1}`))
			}
			return frame
		}, outcome{lost: 1, gaps: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			const connections = 5
			d := startDouble(t, tt.deliver)
			e := connect(t, d, connections, 1, 2)
			r, err := e.steady(t.Context(), d, quick)
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
			if clean := want.lost+want.duplicated+want.reordered == 0; r.clean() != clean {
				t.Errorf("clean = %v, want %v", r.clean(), clean)
			}
		})
	}
}

func TestWrongConnectionIsCaught(t *testing.T) {
	t.Parallel()
	d := startDouble(t, asItShould)
	e := connect(t, d, 4, 2, 1)
	d.mu.Lock()
	d.conns[0].channel = channelName(1 - int(d.conns[0].channel[len("bench:")]-'0')) // the index is wrong about this one
	d.mu.Unlock()
	r, err := e.steady(t.Context(), d, quick)
	if err != nil {
		t.Fatal(err)
	}
	if r.Misdelivered != 10 || r.Lost != 10 || r.clean() {
		t.Errorf("misdelivered %d, lost %d, clean %v, want 10, 10, false", r.Misdelivered, r.Lost, r.clean())
	}
}

func TestFramesMayComeInAnyPieces(t *testing.T) {
	t.Parallel()
	for name, piece := range map[string]int{"single bytes": 1, "sevens": 7} {
		d := startDouble(t, func(c *doubleConn, _ int, frame []byte) []byte {
			for len(frame) > piece {
				if _, err := c.Write(frame[:piece]); err != nil {
					return nil
				}
				frame = frame[piece:]
			}
			return frame
		})
		e := connect(t, d, 3, 1, 1)
		r, err := e.steady(t.Context(), d, quick)
		if err != nil || !r.clean() || r.Received != 60 {
			t.Errorf("%s: %+v, %v, want 60 clean deliveries", name, r, err)
		}
	}
}

func TestLargePayload(t *testing.T) {
	t.Parallel()
	d := startDouble(t, asItShould)
	e := connect(t, d, 2, 1, 1)
	r, err := e.steady(t.Context(), d, load{inflight: 2, duration: 50 * time.Millisecond, payload: maxPayload})
	if err != nil || !r.clean() || r.Received == 0 {
		t.Errorf("payloads of 1 MiB: %+v, %v, want clean", r, err)
	}
}

func TestClosedLoopKeepsItsLimit(t *testing.T) {
	t.Parallel()
	most := 0
	d := startDouble(t, asItShould)
	e := connect(t, d, 20, 4, 2)
	count := publisherFunc(func(ctx context.Context, batch []publication) error {
		most = max(most, e.board.outstanding())
		return d.publish(ctx, batch)
	})
	r, err := e.steady(t.Context(), count, load{inflight: 3, duration: 200 * time.Millisecond, payload: 64})
	if err != nil || !r.clean() {
		t.Fatalf("%+v, %v, want clean", r, err)
	}
	if most != 3 || r.Publications < 10 {
		t.Errorf("%d publications, at most %d on their way, want many and 3", r.Publications, most)
	}
	// A second phase goes on where the first ended.
	if r, err = e.steady(t.Context(), d, quick); err != nil || !r.clean() || r.Received != 100 {
		t.Errorf("second phase: %+v, %v, want 100 clean deliveries", r, err)
	}
}

// publisherFunc is a publisher made of one function.
type publisherFunc func(context.Context, []publication) error

func (f publisherFunc) publish(ctx context.Context, batch []publication) error { return f(ctx, batch) }
func (publisherFunc) Close() error                                             { return nil }

func TestServerThatGoesAway(t *testing.T) {
	t.Parallel()
	d := startDouble(t, asItShould)
	e := connect(t, d, 4, 1, 1)
	gone := publisherFunc(func(context.Context, []publication) error {
		d.hangUp()
		return nil
	})
	r, err := e.steady(t.Context(), gone, load{inflight: 1, duration: time.Minute, payload: 64})
	if err != nil {
		t.Fatal(err)
	}
	if r.Closed != 4 || r.Lost != 4 || r.clean() || !strings.Contains(r.ClosedWhy, "closed by the server") {
		t.Errorf("closed %d (%s), lost %d, clean %v, want 4 closed by the server, 4, false", r.Closed, r.ClosedWhy, r.Lost, r.clean())
	}
}

func TestPublisherErrorEndsTheRun(t *testing.T) {
	t.Parallel()
	d := startDouble(t, asItShould)
	e := connect(t, d, 1, 1, 1)
	broken := errors.New("no Redis here")
	_, err := e.steady(t.Context(), publisherFunc(func(context.Context, []publication) error { return broken }), quick)
	if !errors.Is(err, broken) {
		t.Errorf("steady = %v, want %v", err, broken)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.steady(ctx, d, quick); !errors.Is(err, context.Canceled) {
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
			to, err := resolve(t.Context(), "ws://"+l.Addr().String()+"/ws")
			if err != nil {
				t.Fatal(err)
			}
			e, err := newEngine(to, 3, 1, 1)
			if err != nil {
				t.Fatal(err)
			}
			defer e.close()
			e.patience = 300 * time.Millisecond
			if _, err = e.ramp(t.Context(), 0); err == nil || !strings.Contains(err.Error(), tt.want) {
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
	d := startDouble(t, asItShould)
	to, err := resolve(t.Context(), d.url)
	if err != nil {
		t.Fatal(err)
	}
	e, err := newEngine(to, 20, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	r, err := e.ramp(t.Context(), 100)
	if err != nil {
		t.Fatal(err)
	}
	// The last of 20 is due 180 ms after the first, per worker of 10 at 50/s. Slower is the machine's business.
	if r.Seconds < 0.15 {
		t.Errorf("20 connections at 100/s took %.3f s, want about 0.19", r.Seconds)
	}
}
