package main

import (
	"context"
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/carillon-ws/carillon/gateway/server"
)

const (
	// redisGrace is how long the service manager is kept waiting for Redis once every loop listens. A roll that starts
	// the next gateway when this one is ready should find it hearing; but a Redis that is away must not fail the unit,
	// because a gateway dials for ever and keeps its clients meanwhile.
	redisGrace = 5 * time.Second
	// statusEvery is how often the line that systemctl status shows is renewed.
	statusEvery = 5 * time.Second
	// stopMargin is added to what a drain may take, for the end of the process itself.
	stopMargin = 5 * time.Second
)

// notifier tells the service manager (Type=notify) how the gateway is. Without one, no NOTIFY_SOCKET, it does nothing.
type notifier struct {
	ready <-chan struct{} // closed when every loop listens
	stats func() server.Stats
	redis func() (up bool, name string)
	live  func() error
	drain time.Duration // from the signal until the last client has been told

	send     func(state string) // one message to the service manager
	watchdog time.Duration      // how often it wants to hear that we live; 0: it does not ask
}

// newNotifier returns nil if no service manager listens.
func newNotifier(g *gateway) *notifier {
	n := &notifier{
		ready: g.server.Ready(), stats: g.server.Stats, live: g.server.Live, drain: g.cfg.Server.DrainDelay + g.cfg.Server.Drain,
		redis: func() (bool, string) { return g.redis.Stats().Up, g.redis.String() },
	}
	n.send = func(state string) {
		if _, err := daemon.SdNotify(false, state); err != nil {
			g.log.Debug("notify the service manager", "error", err)
		}
	}
	heard, err := daemon.SdNotify(false, "STATUS=starting")
	if err != nil {
		g.log.Warn("the service manager does not hear us", "error", err)
	}
	if !heard {
		return nil
	}
	if n.watchdog, err = daemon.SdWatchdogEnabled(false); err != nil {
		g.log.Warn("the service manager's watchdog is not understood", "error", err)
	}
	return n
}

// run tells until the drain has come to its end.
func (n *notifier) run(ctx context.Context) error {
	if n == nil {
		<-ctx.Done()
		return nil
	}
	select {
	case <-n.ready:
	case <-ctx.Done():
		return nil
	}
	n.awaitRedis(ctx)
	if ctx.Err() == nil {
		n.send(daemon.SdNotifyReady + "\n" + n.status())
		n.beat(ctx.Done(), n.status)
	}
	// The stop timeout of the unit need not know -drain-delay and -drain: this asks for the time that it takes.
	longest := n.drain + server.StopPatience + stopMargin
	n.send(fmt.Sprintf("%s\nEXTEND_TIMEOUT_USEC=%d\n%s", daemon.SdNotifyStopping, longest.Microseconds(), n.leaving()))
	n.beat(n.drained(longest), n.leaving)
	return nil
}

// awaitRedis waits until Redis is subscribed, for a while.
func (n *notifier) awaitRedis(ctx context.Context) {
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	over := time.After(redisGrace)
	for {
		if up, _ := n.redis(); up {
			return
		}
		select {
		case <-poll.C:
		case <-over:
			return
		case <-ctx.Done():
			return
		}
	}
}

// beat renews the status, and says that we live while the loops do, until done. When a loop hangs it says nothing more,
// and the service manager kills the process and starts it again: nothing else helps a loop that hangs.
func (n *notifier) beat(done <-chan struct{}, status func() string) {
	every := statusEvery
	if n.watchdog > 0 {
		every = min(every, n.watchdog/3)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if n.watchdog > 0 && n.live() == nil {
			n.send(daemon.SdNotifyWatchdog)
		}
		select {
		case <-tick.C:
			n.send(status())
		case <-done:
			return
		}
	}
}

// drained is closed when the server drains and no socket is left, or when the server has given up on those that are.
func (n *notifier) drained(longest time.Duration) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		poll := time.NewTicker(50 * time.Millisecond)
		defer poll.Stop()
		over := time.After(longest - stopMargin)
		for !n.stats().Draining || n.sockets() > 0 { // before it drains others may come
			select {
			case <-poll.C:
			case <-over:
				return
			}
		}
	}()
	return done
}

func (n *notifier) sockets() (sum int64) {
	for _, lp := range n.stats().Loops {
		sum += lp.Sockets
	}
	return sum
}

// status is what systemctl status shows.
func (n *notifier) status() string {
	connections := int64(0)
	for _, lp := range n.stats().Loops {
		connections += lp.Connections
	}
	redis := "Redis subscribed at "
	up, name := n.redis()
	if !up {
		redis = "Redis AWAY at "
	}
	text := fmt.Sprintf("STATUS=%d connections; %s%s", connections, redis, name)
	if err := n.live(); err != nil {
		text += "; " + err.Error()
	}
	return text
}

func (n *notifier) leaving() string {
	if !n.stats().Draining {
		return fmt.Sprintf("STATUS=about to drain, /readyz is red; %d sockets", n.sockets())
	}
	return fmt.Sprintf("STATUS=draining, %d sockets left", n.sockets())
}
