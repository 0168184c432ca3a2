package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// link is one try at a subscription, and the subscription that came of it: one PubSub over one socket. It belongs to
// Run's goroutine.
//
// go-redis heals by itself: when a read fails, PubSub dials and subscribes again inside the failing call, and nobody
// is told. Here a link is used up with its socket, so that Run sees every loss.
type link struct {
	client  *goredis.Client
	sub     *goredis.PubSub
	wire    *wire       // nil until dialled
	unwatch func() bool // ends the watch over Run's ctx
	opened  time.Time   // when Redis confirmed the subscription
	broken  bool        // go-redis panicked: where in the stream it stands is unknown
}

// open dials, subscribes and waits for Redis to confirm it.
func (r *Source) open(ctx context.Context) (*link, error) {
	lk := &link{}
	opt := *r.link
	opt.Dialer = func(dialCtx context.Context, network, addr string) (net.Conn, error) {
		if lk.wire != nil {
			return nil, errOneSocket
		}
		conn, err := r.dial(dialCtx, network, addr)
		if err != nil {
			return nil, err
		}
		lk.wire = &wire{Conn: conn, quiet: r.cfg.Quiet}
		// A read in progress takes no notice of ctx: closing the socket under it ends it.
		lk.unwatch = context.AfterFunc(ctx, func() { _ = conn.Close() })
		return lk.wire, nil
	}
	lk.client = goredis.NewClient(&opt)
	lk.sub = lk.client.Subscribe(ctx) // to nothing yet; client.PSubscribe would drop the error
	if err := lk.subscribe(ctx, r.cfg.Pattern, r.cfg.ReplyTimeout); err != nil {
		if lk.wire != nil { // it was connected: something else is wrong with that address
			r.addrs.blame(lk.wire.RemoteAddr().String())
		}
		lk.close()
		return nil, err
	}
	r.addrs.clear(lk.wire.RemoteAddr().String())
	lk.opened = time.Now()
	lk.wire.ping = func() error { return lk.sub.Ping(ctx) }
	return lk, nil
}

func (lk *link) subscribe(ctx context.Context, pattern string, timeout time.Duration) error {
	if err := lk.sub.PSubscribe(ctx, pattern); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	reply, err := lk.receive(ctx, timeout)
	if err != nil {
		return fmt.Errorf("psubscribe %s: %w", pattern, err)
	}
	if s, ok := reply.(*goredis.Subscription); !ok || s.Kind != "psubscribe" {
		return fmt.Errorf("psubscribe %s: answered with %v", pattern, reply)
	}
	return nil
}

// receive reads one reply. go-redis asserts the types inside a reply unchecked: what panics there is a lost link.
func (lk *link) receive(ctx context.Context, timeout time.Duration) (reply any, err error) {
	defer func() {
		if p := recover(); p != nil {
			lk.broken = true
			reply, err = nil, fmt.Errorf("unreadable reply: %v", p)
		}
	}()
	return lk.sub.ReceiveTimeout(ctx, timeout)
}

// lost says, after an error of receive, whether it cost the link: go-redis closes the socket on every error but one
// that Redis sent or that concerns a reply which was read to its end.
func (lk *link) lost() bool { return lk.broken || lk.wire.closed }

func (lk *link) close() {
	if lk.unwatch != nil {
		lk.unwatch()
	}
	// Their errors are about a socket that has failed or is no longer wanted.
	_ = lk.sub.Close()
	_ = lk.client.Close()
	if lk.wire != nil && !lk.wire.closed {
		_ = lk.wire.Close()
	}
}

// wire is the socket under a link, and the one judge of whether the link is alive. It belongs to Run's goroutine.
//
// The judgement is made below go-redis because PubSub.ReceiveTimeout must not time out: if it does in the middle of a
// reply it keeps the connection (v9.23.0) and reads the rest as the beginning of the next reply. The stream is out of
// step then, and what a publisher wrote is taken for protocol: "-second half" of a payload came out as Redis's error.
// Here a read goes on until there are bytes, so that any byte proves life, be it the middle of a slow publication or
// one that the pong queues behind; and the price of a deadline is paid once a read, not once a publication.
type wire struct {
	net.Conn
	quiet  time.Duration
	ping   func() error // nil until subscribed: go-redis's own deadlines hold then
	idle   func()       // called before each read once subscribed: what was read before is used up
	closed bool
}

func (w *wire) Read(p []byte) (int, error) {
	if w.ping == nil {
		return w.Conn.Read(p)
	}
	if w.idle != nil {
		w.idle()
	}
	for silent := 1; ; silent++ {
		if err := w.SetReadDeadline(time.Now().Add(w.quiet)); err != nil {
			return 0, err
		}
		n, err := w.Conn.Read(p)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if silent == silentReads {
			return 0, errSilent
		}
		// PubSub holds no lock while it reads, so that this may be called from within.
		if err := w.ping(); err != nil {
			return 0, fmt.Errorf("ping: %w", err)
		}
	}
}

func (w *wire) Close() error {
	w.closed = true
	return w.Conn.Close()
}
