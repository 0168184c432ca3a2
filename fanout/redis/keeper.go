package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/carillon-ws/carillon/fanout"
)

// keeper keeps one link alive: it opens it, reads it, and opens the next one when it is lost. With names it has a writer
// that asks for them, on a goroutine of its own; with a canary another one.
type keeper struct {
	// Fixed at creation.
	src   *Source
	node  string                                        // sharded: the master's address; empty: the source's one link
	where func(context.Context) (string, error)         // the address to dial; empty: that of the URL
	names *names                                        // nil in pattern mode
	tag   func() string                                 // sharded: a hash tag of a slot that the node has; nil: none is needed
	stray func(k *keeper, channels []string, to string) // sharded: what this link no longer hears, and who does, if known
	down  func(*keeper)                                 // sharded: the link is lost, or was not to be had

	// Atomic.
	messages   atomic.Uint64
	reconnects atomic.Uint64
	noCanary   atomic.Bool // this link's is refused
	saidCanary atomic.Bool
	canaryAt   atomic.Int64              // when a canary was last heard, on whichever link, as fanout.Monotonic tells; at first: when a link had one; 0: there is none
	said       atomic.Bool               // that Redis refuses a channel
	mute       atomic.Pointer[time.Time] // since when no canary is heard; nil: one was, or none can be published
	current    atomic.Pointer[link]
	state      atomic.Pointer[linkState]

	// Guarded by mu.
	mu  sync.Mutex
	out outage
}

func (r *Source) newKeeper(node string, where func(context.Context) (string, error)) *keeper {
	k := &keeper{src: r, node: node, where: where}
	k.state.Store(&linkState{reason: errStopped.Error()})
	if r.cfg.Mode != Pattern {
		k.names = newNames(&r.cfg)
	}
	return k
}

// name is what logs call the link's Redis.
func (k *keeper) name() string {
	if k.node != "" {
		return k.src.name + " node " + k.node
	}
	return k.src.name
}

// run keeps the link until ctx ends, and then returns within a moment. See [Source.Run].
func (k *keeper) run(ctx context.Context, sink fanout.Sink) {
	r := k.src
	defer func() { k.state.Store(&linkState{lostAt: time.Now(), reason: errStopped.Error()}) }()
	wait := backoff{low: r.cfg.MinRetry, high: r.cfg.MaxRetry}
	k.out = outage{since: time.Now()}
	k.state.Store(&linkState{lostAt: k.out.since, reason: "connecting"})
	if r.cfg.Gateway != "" {
		r.wg.Go(func() { k.canaries(ctx) })
	}
	if k.names != nil {
		writer := make(chan struct{})
		fork := sink.Fork()
		go func() { defer close(writer); k.names.write(ctx, k, fork) }()
		defer func() { <-writer }()
	}
	for {
		began := time.Now()
		k.mu.Lock()
		k.out.tries++
		k.mu.Unlock()
		lk, err := k.open(ctx)
		if err == nil {
			k.current.Store(lk)
			if k.names == nil {
				k.healed(lk, sink)
			} else {
				k.names.attach(lk)
			}
			err = lk.reason(k.hear(ctx, lk, sink))
			began = time.Now()
			k.lostLink(began)
			if k.names != nil {
				k.names.detach()
			}
			if ctx.Err() == nil {
				if began.Sub(lk.opened) > r.cfg.MaxRetry || errors.Is(err, errMoved) { // one that is cut as soon as it is up keeps its pace
					wait.reset()
				}
				k.failed(err)
			}
			lk.close()
		} else if ctx.Err() == nil {
			k.failed(err)
		}
		// A try that nobody answered has waited already.
		if !sleep(ctx, wait.next()-time.Since(began)) {
			return
		}
	}
}

// outage is the time from the loss of a link, or from the start, to the next confirmed subscription.
type outage struct {
	since   time.Time
	tries   int  // including the one that succeeds
	after   bool // a link was lost; else none has been up yet
	said    bool // in the log
	refused bool // Redis answered with an error, and that is in the log
}

// lostLink begins an outage, unless the link was lost before all its channels were confirmed: then the last one goes on.
func (k *keeper) lostLink(at time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.current.Store(nil)
	if k.state.Load().up {
		k.out = outage{since: at, after: true}
	}
}

// failed notes that the link was lost or a try came to nothing. It logs the first reason of an outage, and the first
// refusal if another reason came before: Redis is back, and only a change of configuration will help.
func (k *keeper) failed(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	r, out := k.src, &k.out
	_, refused := errors.AsType[goredis.Error](err)
	err = r.place.scrub(err)
	k.state.Store(&linkState{lostAt: out.since, reason: err.Error()})
	switch {
	case !out.said:
		r.cfg.Log.Warn("redis link down, trying again", "redis", k.name(), "reason", err)
	case refused && !out.refused:
		r.cfg.Log.Warn("redis refuses the subscription, trying again", "redis", k.name(), "reason", err)
	}
	out.said = true
	out.refused = out.refused || refused
	if k.down != nil {
		k.down(k)
	}
}

// healed notes that Redis has confirmed all that lk is to carry, and tells sink that something of it may have been
// missed: before the first time by whoever subscribed to a gateway that did not hear Redis yet. It is called by the
// keeper, or, with names, by the writer; then lk may be lost already.
func (k *keeper) healed(lk *link, sink fanout.Sink, channels ...string) {
	if len(channels) > 0 || k.node == "" {
		sink.Lost(channels...)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.current.Load() != lk {
		return
	}
	if k.out.after {
		k.reconnects.Add(1)
	}
	k.state.Store(&linkState{up: true})
	attrs := []any{"redis", k.name()}
	if k.names == nil {
		attrs = append(attrs, "pattern", k.src.cfg.Pattern)
	} else {
		attrs = append(attrs, "interest", string(k.src.cfg.Mode))
	}
	attrs = append(attrs, "after", time.Since(k.out.since).Round(time.Millisecond), "tries", k.out.tries)
	k.src.cfg.Log.Info("redis link up", attrs...)
}

// move ends the link: its Redis is no longer the one to hear.
func (k *keeper) move() {
	if lk := k.current.Load(); lk != nil {
		lk.end(errMoved)
	}
}

// hear hands on what comes over lk until the link is lost, and says why it was.
func (k *keeper) hear(ctx context.Context, lk *link, sink fanout.Sink) error {
	r := k.src
	var gaps []string // channels whose answer has been read, with nothing after it
	told := func() {
		if len(gaps) > 0 {
			sink.Lost(gaps...)
			gaps = gaps[:0]
		}
	}
	lk.wire.idle = func() { told(); sink.Flush() }
	defer sink.Flush() // a link may end between two reads, and the next one is not there yet
	said := false
	for {
		reply, err := lk.receive(ctx, ownDeadlines)
		if err != nil && lk.lost() {
			return err
		}
		switch reply := reply.(type) {
		case *goredis.Message:
			if k.names == nil && reply.Pattern == r.cfg.Pattern || k.names != nil && strings.HasPrefix(reply.Channel, k.names.prefix) {
				k.messages.Add(1)
				r.bytes.Add(uint64(len(reply.Payload)))
				if len(gaps) > 0 {
					told()
				}
				sink.Publish(reply.Channel, reply.Payload)
				continue
			}
			if lk.canary != nil && strings.HasPrefix(reply.Channel, canaryPrefix) {
				if lk.canary.hear(reply.Payload) {
					k.canaryAt.Store(fanout.Monotonic())
				}
				continue
			}
		case *goredis.Subscription:
			switch {
			case reply.Kind == "punsubscribe":
				return errUnsubscribed
			case k.names != nil && lk.answer(reply.Kind, reply.Channel):
				if strings.HasPrefix(reply.Channel, canaryPrefix) && lk.canary != nil {
					lk.canary.name.Store(&reply.Channel)
				}
				if k.names.answered(reply.Kind, reply.Channel, sink) {
					gaps = append(gaps, reply.Channel)
				}
				continue
			case reply.Kind == "sunsubscribe":
				k.lostSlot(lk, reply.Channel)
				continue
			case k.names != nil:
				return fmt.Errorf("%w: %s %s", errOutOfStep, reply.Kind, reply.Channel)
			}
		case *goredis.Pong: // its bytes have done their work
			lk.answer("ping", "")
			continue
		case nil:
			if cmd := lk.answeredByError(); cmd != nil && cmd.verb != "ping" {
				k.refused(cmd, err, sink)
				continue
			}
		}
		// Read to its end and not for us, whatever it is: the stream is in step.
		r.unexpected.Add(1)
		if !said {
			said = true
			if err == nil {
				err = fmt.Errorf("%T", reply)
			}
			r.cfg.Log.Warn("unexpected reply on the redis link, skipped", "redis", k.name(), "reason", r.place.scrub(err))
		}
	}
}

// lostSlot takes Redis' word that a channel's slot has moved to another node.
func (k *keeper) lostSlot(lk *link, channel string) {
	if lk.canary != nil && channel == lk.canary.channel() {
		k.stray(k, nil, "")
		return
	}
	if k.names != nil && k.names.pushed(channel) && k.stray != nil {
		k.stray(k, []string{channel}, "")
	}
}

// refused takes Redis' answer that it does not subscribe these names.
func (k *keeper) refused(cmd *command, err error, sink fanout.Sink) {
	to, moved := movedTo(err)
	moved = moved && k.stray != nil
	switch {
	case strings.HasPrefix(cmd.names[0], canaryPrefix):
		k.names.movedAway(cmd) // it is no name: counted as answered
		if isRefused(err) {
			k.canaryRefused(err)
		} else if moved {
			k.stray(k, nil, "")
		}
		return
	case moved:
		if strings.HasPrefix(to, ":") { // a node that does not know the address: it is at the same host
			host, _, _ := net.SplitHostPort(k.node)
			to = host + to
		}
		k.stray(k, k.names.movedAway(cmd), to)
		return
	}
	// A permission concerns a channel; other errors (CLUSTERDOWN, LOADING) concern all of them, for a while.
	each := isRefused(err) && len(cmd.names) > 1
	if !each && !k.said.Swap(true) {
		k.src.cfg.Log.Warn("redis refuses a channel, asking again", "redis", k.name(), "channel", cmd.names[0], "reason", k.src.place.scrub(err))
	}
	k.names.refuse(cmd, each, sink)
}

// movedTo reads "MOVED 3999 127.0.0.1:6381".
func movedTo(err error) (addr string, moved bool) {
	reply, ok := errors.AsType[goredis.Error](err)
	if !ok {
		return "", false
	}
	words := strings.Fields(reply.Error())
	if len(words) != 3 || words[0] != "MOVED" {
		return "", false
	}
	return words[2], true
}

// stats tells of the link.
func (k *keeper) stats() LinkStats {
	st := k.state.Load()
	out := LinkStats{
		Name: cmp.Or(k.node, k.src.name), Node: k.node, Up: st.up, LostAt: st.lostAt, LastError: st.reason,
		Reconnects: k.reconnects.Load(), Messages: k.messages.Load(), CanaryAge: -1,
	}
	if at := k.canaryAt.Load(); at != 0 {
		out.CanaryAge = time.Duration(fanout.Monotonic() - at)
	}
	if lk := k.current.Load(); lk != nil {
		out.Node = lk.node
		if lk.canary != nil {
			out.Canaries = lk.canary.heard.Load()
		}
	}
	if since := k.mute.Load(); since != nil && st.up {
		out.Up, out.LostAt, out.LastError = false, *since, errMute.Error()
	}
	if k.names != nil {
		k.names.mu.Lock()
		out.Channels, out.Waiting = k.names.on, k.names.asked
		out.Resubscribed, out.Refused, out.Moved = k.names.resubscribed, k.names.refused, k.names.moved
		k.names.mu.Unlock()
	}
	return out
}
