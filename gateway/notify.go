package main

import (
	"context"
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/carillon-ws/carillon/gateway/server"
)

const (
	// redisGrace is how long READY=1 waits for Redis once every loop listens. A roll starts the next gateway when this one
	// is ready, and by then this one should be subscribed. But a unit must not fail because Redis is down: the gateway
	// dials again and again, and keeps its clients meanwhile.
	redisGrace = 5 * time.Second
	// statusEvery is how often the line is sent that systemctl status shows.
	statusEvery = 5 * time.Second
	// stopMargin is how long the process may take to end after the drain.
	stopMargin = 5 * time.Second
)

// notifier reports the gateway's state to the service manager (Type=notify). A nil notifier does nothing.
type notifier struct {
	ready <-chan struct{} // closed when every loop listens
	stats func() server.Stats
	redis func() (up bool, name string)
	live  func() error
	drain time.Duration // from the signal until the last client is told to leave: -drain-delay and -drain

	send     func(state string) // one message to the service manager
	watchdog time.Duration      // the service manager wants a sign of life at least this often; 0: it wants none
}

// newNotifier returns nil if there is no service manager, which names its socket in NOTIFY_SOCKET.
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
	there, err := daemon.SdNotify(false, "STATUS=starting")
	if err != nil {
		g.log.Warn("the service manager cannot be reached", "error", err)
	}
	if !there {
		return nil
	}
	if n.watchdog, err = daemon.SdWatchdogEnabled(false); err != nil {
		g.log.Warn("WATCHDOG_USEC of the service manager cannot be read", "error", err)
	}
	return n
}

// run reports until the drain is over.
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
		n.keepReporting(ctx.Done(), n.status)
	}
	// This asks for as much time as the stop may take, so the unit's stop timeout need not fit -drain-delay and -drain.
	longest := n.drain + server.StopPatience + stopMargin
	n.send(fmt.Sprintf("%s\nEXTEND_TIMEOUT_USEC=%d\n%s", daemon.SdNotifyStopping, longest.Microseconds(), n.leaving()))
	n.keepReporting(n.drained(longest), n.leaving)
	return nil
}

// awaitRedis waits until Redis is subscribed, for redisGrace at most.
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

// keepReporting sends the status, and a sign of life if all loops turn, again and again until done. While a loop hangs it
// sends no sign of life. Then the service manager kills the process and starts it again: nothing else helps.
func (n *notifier) keepReporting(done <-chan struct{}, status func() string) {
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

// drained returns a channel that is closed when the server drains and no socket is left, or when the drain takes so long
// that the server has cut the rest.
func (n *notifier) drained(longest time.Duration) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		poll := time.NewTicker(50 * time.Millisecond)
		defer poll.Stop()
		over := time.After(longest - stopMargin)
		for !n.stats().Draining || n.sockets() > 0 { // until it drains, new sockets may come
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

// status is the line that systemctl status shows.
func (n *notifier) status() string {
	connections := int64(0)
	for _, lp := range n.stats().Loops {
		connections += lp.Connections
	}
	redis := "Redis subscribed at "
	up, name := n.redis()
	if !up {
		redis = "Redis DOWN at "
	}
	text := fmt.Sprintf("STATUS=%d connections; %s%s", connections, redis, name)
	if err := n.live(); err != nil {
		text += "; " + err.Error()
	}
	return text
}

func (n *notifier) leaving() string {
	if !n.stats().Draining {
		return fmt.Sprintf("STATUS=/readyz is red, the drain begins after -drain-delay; %d sockets", n.sockets())
	}
	return fmt.Sprintf("STATUS=draining, %d sockets left", n.sockets())
}
