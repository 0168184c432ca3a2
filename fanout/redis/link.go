package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/carillon-ws/carillon/fanout"
)

// link is one try at a subscription, and the subscription that came of it: one PubSub over one socket. It belongs to
// its keeper's goroutine, but for write, end and canary.
//
// go-redis heals by itself: when a read fails, PubSub dials and subscribes again inside the failing call, and nobody
// is told. Here a link is used up with its socket, so that the keeper sees every loss.
type link struct {
	client  *goredis.Client
	sub     *goredis.PubSub
	wire    *wire            // nil until dialled
	unwatch func() bool      // ends the watch over Run's ctx
	opened  time.Time        // when Redis confirmed the subscription
	broken  bool             // go-redis panicked: where in the stream it stands is unknown
	node    string           // the address that was asked for
	canary  *canary          // nil: none
	peers   map[string]int64 // of a classic subscription on a Cluster: see peersOf; nil: unknown

	// Guarded by order: commands are written in the order in which they are in unanswered.
	order sync.Mutex

	// Guarded by mu.
	mu         sync.Mutex
	unanswered []*command
	why        error // why this side has ended the link
}

// open dials, subscribes to what every link has (the canary, the pattern) and waits for Redis to confirm it.
func (k *keeper) open(ctx context.Context) (*link, error) {
	lk := &link{}
	addr, err := k.where(ctx)
	if err != nil {
		return nil, err
	}
	lk.node = addr
	r := k.src
	opt := *r.link
	if addr != "" {
		opt.Addr = addr
	}
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
	if err := k.subscribe(ctx, lk); err != nil {
		if lk.wire != nil { // it was connected: something else is wrong with that address
			r.addrs.blame(lk.wire.RemoteAddr().String())
		}
		lk.close()
		return nil, err
	}
	r.addrs.clear(lk.wire.RemoteAddr().String())
	if r.cluster != nil && r.cfg.Mode != Sharded {
		lk.peers = r.cluster.peersAtStart(ctx, addr)
	}
	lk.opened = time.Now()
	lk.wire.ping = func() error {
		return lk.send(&command{verb: "ping"}, func() error { return lk.sub.Ping(ctx) })
	}
	return lk, nil
}

// subscribe asks for the canary and the pattern. In modes without a pattern the answer to the canary, or to a PING, shows
// that Redis answers.
func (k *keeper) subscribe(ctx context.Context, lk *link) error {
	r := k.src
	k.noCanary.Store(false) // it may be allowed by now
	if channel := k.canaryChannel(); channel != "" {
		ask, verb := lk.sub.Subscribe, "subscribe"
		if r.cfg.Mode == Sharded {
			ask, verb = lk.sub.SSubscribe, "ssubscribe"
		}
		err := lk.confirm(ctx, verb, channel, ask, r.cfg.ReplyTimeout)
		switch {
		case err == nil:
			lk.canary = newCanary(channel)
			k.canaryAt.CompareAndSwap(0, fanout.Monotonic())
		case isRefused(err):
			k.canaryRefused(err)
		case r.cfg.Mode == Sharded && isUnknown(err):
			return fmt.Errorf("%w: sharded Pub/Sub needs Redis 7", err)
		default:
			return err
		}
	}
	if r.cfg.Mode == Pattern {
		return lk.confirm(ctx, "psubscribe", r.cfg.Pattern, lk.sub.PSubscribe, r.cfg.ReplyTimeout)
	}
	if lk.canary != nil {
		return nil
	}
	if err := lk.sub.Ping(ctx); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if _, err := lk.receive(ctx, r.cfg.ReplyTimeout); err != nil && (lk.lost() || !isRefused(err)) {
		return fmt.Errorf("ping: %w", err)
	}
	return nil
}

// confirm subscribes to one name and waits for Redis to confirm it. What the last link's canary left may come before.
func (lk *link) confirm(ctx context.Context, verb, name string, ask func(context.Context, ...string) error, timeout time.Duration) error {
	if err := ask(ctx, name); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	for {
		reply, err := lk.receive(ctx, timeout)
		if err != nil {
			return fmt.Errorf("%s %s: %w", verb, name, err)
		}
		switch reply := reply.(type) {
		case *goredis.Subscription:
			if reply.Kind == verb {
				return nil
			}
		case *goredis.Message:
			if lk.canary != nil && reply.Channel == lk.canary.channel() {
				continue
			}
		}
		return fmt.Errorf("%s %s: answered with %v", verb, name, reply)
	}
}

// isRefused reports whether err is Redis' answer that the user lacks a permission.
func isRefused(err error) bool {
	reply, ok := errors.AsType[goredis.Error](err)
	return ok && strings.HasPrefix(reply.Error(), "NOPERM")
}

// isUnknown reports whether err is Redis' answer to a command that it does not know.
func isUnknown(err error) bool {
	reply, ok := errors.AsType[goredis.Error](err)
	return ok && strings.HasPrefix(reply.Error(), "ERR unknown command")
}

// write writes a command of names. It may block, for go-redis' write timeout at most.
func (lk *link) write(ctx context.Context, cmd command) error {
	return lk.send(&cmd, func() error {
		switch cmd.verb {
		case "subscribe":
			return lk.sub.Subscribe(ctx, cmd.names...)
		case "unsubscribe":
			return lk.sub.Unsubscribe(ctx, cmd.names...)
		case "ssubscribe":
			return lk.sub.SSubscribe(ctx, cmd.names...)
		default:
			return lk.sub.SUnsubscribe(ctx, cmd.names...)
		}
	})
}

// send notes a command as unanswered and writes it. Safe to call from any goroutine.
func (lk *link) send(cmd *command, write func() error) error {
	lk.order.Lock()
	defer lk.order.Unlock()
	lk.mu.Lock()
	lk.unanswered = append(lk.unanswered, cmd)
	lk.mu.Unlock()
	return write()
}

// answer finds the command that a reply belongs to. Redis answers in order. ok is false for what Redis sends by itself.
func (lk *link) answer(verb, name string) (ok bool) {
	lk.mu.Lock()
	defer lk.mu.Unlock()
	if len(lk.unanswered) == 0 {
		return false
	}
	cmd := lk.unanswered[0]
	if cmd.verb != verb || verb != "ping" && cmd.names[cmd.done] != name {
		return false
	}
	if cmd.done++; cmd.done >= len(cmd.names) {
		lk.unanswered = lk.unanswered[1:]
	}
	return true
}

// answeredByError finds the command that an error belongs to; nil if none is unanswered.
func (lk *link) answeredByError() *command {
	lk.mu.Lock()
	defer lk.mu.Unlock()
	if len(lk.unanswered) == 0 || lk.unanswered[0].done > 0 {
		return nil
	}
	cmd := lk.unanswered[0]
	lk.unanswered = lk.unanswered[1:]
	return cmd
}

// end ends the link from this side: its keeper's read fails, with err as the reason. Safe to call from any goroutine.
func (lk *link) end(err error) {
	lk.mu.Lock()
	if lk.why == nil {
		lk.why = err
	}
	lk.mu.Unlock()
	_ = lk.wire.Conn.Close()
}

// reason is why the link was lost, given the error of its read.
func (lk *link) reason(err error) error {
	lk.mu.Lock()
	defer lk.mu.Unlock()
	if lk.why != nil {
		return lk.why
	}
	return err
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
func (lk *link) lost() bool { return lk.broken || lk.wire.closed.Load() }

func (lk *link) close() {
	if lk.unwatch != nil {
		lk.unwatch()
	}
	// Their errors are about a socket that has failed or is no longer wanted.
	_ = lk.sub.Close()
	_ = lk.client.Close()
	if lk.wire != nil && !lk.wire.closed.Load() {
		_ = lk.wire.Close()
	}
}

// wire is the socket under a link, and the one judge of whether the link is alive. Its reads belong to the keeper's
// goroutine.
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
	closed atomic.Bool
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
	w.closed.Store(true)
	return w.Conn.Close()
}
