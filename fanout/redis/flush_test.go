package redis

import (
	"bufio"
	"context"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-ws/carillon/fanout"
)

// unflushed is a [fanout.Sink] that counts what it was handed and was not told to flush yet.
type unflushed struct {
	pending int
	flushed chan struct{} // a Flush that had something to flush
}

func (u *unflushed) Publish(string, string) { u.pending++ }
func (u *unflushed) Lost(...string)         {}
func (u *unflushed) Settled(string)         {}
func (u *unflushed) Fork() fanout.Sink      { return u }
func (u *unflushed) Flush() {
	if u.pending > 0 {
		u.pending = 0
		u.flushed <- struct{}{}
	}
}

// TestFlushesWhatALostLinkBrought: publications that a link brought just before it ended do not wait in the
// mailboxes for the next link.
func TestFlushesWhatALostLinkBrought(t *testing.T) {
	for _, tt := range []struct{ name, end string }{
		{"unsubscribed", "*3\r\n" + bulk("punsubscribe") + bulk("notifications:*") + ":0\r\n"},
		{"unreadable", "*4\r\n" + bulk("pmessage") + bulk("notifications:*") + bulk("x") + "$-1\r\n"},
		{"read only", "-READONLY You can't write against a read only replica.\r\n"},
		{"end of stream", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src, err := NewSource(Config{URL: "redis://peer", Pattern: "notifications:*", Log: slog.New(slog.DiscardHandler)})
				if err != nil {
					t.Fatal(err)
				}
				defer ignore(src.Close)
				var said time.Time
				try := 0
				src.dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
					if try++; try > 1 { // Redis stays away
						<-ctx.Done()
						return nil, ctx.Err()
					}
					near, far := net.Pipe()
					go func() {
						defer ignore(far.Close)
						p := peer{Conn: far, in: bufio.NewReader(far)}
						if p.subscribe() {
							said = time.Now()
							p.say(pmessage("notifications:a", "1") + pmessage("notifications:a", "2") + tt.end)
						}
					}()
					return near, nil
				}
				ctx, cancel := context.WithCancel(t.Context())
				sink := &unflushed{flushed: make(chan struct{}, 10)}
				done := make(chan error, 1)
				go func() { done <- src.Run(ctx, sink) }()
				select {
				case <-sink.flushed:
					if d := time.Since(said); d > 0 {
						t.Errorf("flushed after %v, want at once", d)
					}
				case <-time.After(time.Minute):
					t.Error("nothing is flushed in a minute without a link")
				}
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}
