package redis

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/fanout/fanouttest"
	"github.com/carillon-ws/carillon/protocol"
)

// fakeLoop is what a loop of the server does with the seam of fanout: clients wait until their channel is settled, then
// they are subscribed, and hear publications and gaps. It has one client for each channel.
type fakeLoop struct {
	id       int
	interest *fanout.Interest
	world    *world

	mu      sync.Mutex
	clients map[string]*fakeClient // by channel
}

// fakeClient is one client of one channel, and what it was told.
type fakeClient struct {
	subscribed bool
	since      int64 // the first number that was published after it was told that it is subscribed
	events     []event
}

// event is a number heard, or a gap.
type event struct {
	number int64 // 0: a gap
	at     int64
}

// subscribe is a client's command.
func (lp *fakeLoop) subscribe(channel string) {
	lp.mu.Lock()
	defer lp.mu.Unlock()
	if lp.clients[channel] != nil {
		return
	}
	c := &fakeClient{}
	lp.clients[channel] = c
	if lp.interest.Add(channel, lp.id) {
		lp.told(channel, c)
	}
}

// unsubscribe is a client's command, or its end: one that waits is not told.
func (lp *fakeLoop) unsubscribe(channel string) {
	lp.mu.Lock()
	defer lp.mu.Unlock()
	if lp.clients[channel] != nil {
		delete(lp.clients, channel)
		lp.interest.Remove(channel, lp.id)
	}
}

// told tells a client that it is subscribed.
func (lp *fakeLoop) told(channel string, c *fakeClient) {
	c.subscribed = true
	c.since = lp.world.next(channel)
}

// Post implements [fanout.Loop].
func (lp *fakeLoop) Post(item fanout.Item) {
	lp.mu.Lock()
	defer lp.mu.Unlock()
	if item.Frame == nil {
		if c := lp.clients[item.Channel]; c != nil && !c.subscribed && lp.interest.Settled(item.Channel) {
			lp.told(item.Channel, c)
		}
		return
	}
	if item.Channel == "" {
		for _, c := range lp.clients {
			c.hear(item.Frame)
		}
		return
	}
	if c := lp.clients[item.Channel]; c != nil {
		c.hear(item.Frame)
	}
}

func (c *fakeClient) hear(f *protocol.Frame) {
	if !c.subscribed {
		return
	}
	text := string(f.Bytes())
	e := event{at: fanout.Monotonic()}
	if !strings.Contains(text, `"type":"gap"`) {
		_, rest, _ := strings.Cut(text, `"data":"`)
		data, _, _ := strings.Cut(rest, `"`)
		var err error
		if e.number, err = strconv.ParseInt(data, 10, 64); err != nil {
			return // it is not counted
		}
	}
	c.events = append(c.events, e)
}

func (*fakeLoop) Wake() {}

// world is a source with a feeder and fake loops, and a publisher that numbers what it publishes to each channel.
type world struct {
	*Source
	tb       testing.TB
	interest *fanout.Interest
	feeder   *fanout.Feeder
	loops    []*fakeLoop
	log      *logTap
	cancel   context.CancelFunc
	done     chan error

	order [64]sync.Mutex // by channel: numbers are published in order

	mu      sync.Mutex
	numbers map[string]int64          // the last number published, by channel
	unsure  map[string]map[int64]bool // those that Redis has not taken, as far as is known
}

func newWorld(tb testing.TB, cfg Config, loops int, opts ...func(*world)) *world {
	tb.Helper()
	w := &world{
		tb: tb, interest: fanout.NewInterest(), log: newLogTap(), done: make(chan error, 1),
		numbers: make(map[string]int64), unsure: make(map[string]map[int64]bool),
	}
	w.log.lines = nil
	var list []fanout.Loop
	for i := range loops {
		lp := &fakeLoop{id: i, interest: w.interest, world: w, clients: make(map[string]*fakeClient)}
		w.loops = append(w.loops, lp)
		list = append(list, lp)
	}
	w.feeder = fanout.NewFeeder(w.interest, list)
	cfg.Pattern, cfg.Interest = protocol.RedisPrefix+"*", w.interest
	cfg.Log = slog.New(slog.NewTextHandler(w.log, nil))
	if cfg.Gateway == "" {
		cfg.Gateway = "test"
	}
	source, err := NewSource(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	w.Source = source
	for _, opt := range opts {
		opt(w)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	go func() { w.done <- source.Run(ctx, w.feeder) }()
	tb.Cleanup(func() {
		cancel()
		select {
		case err := <-w.done:
			if err != nil {
				tb.Error(err)
			}
		case <-time.After(patience):
			tb.Error("Run does not return")
		}
		if err := source.Close(); err != nil {
			tb.Error(err)
		}
		if tb.Failed() {
			tb.Logf("log:\n%s", w.log)
			for _, k := range w.keepers {
				if k.names != nil {
					n := k.names
					tb.Logf("%s: all %d look %d due %d asked %d on %d restoring %d restored %v", k.node, len(n.all), len(n.look), len(n.due), n.asked, n.on, n.restoring, n.restored)
				}
			}
		}
	})
	return w
}

// next is the number that is published next to a channel.
func (w *world) next(channel string) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.numbers[channel] + 1
}

// publish publishes the next number to a channel, by the source's publishing side.
func (w *world) publish(channel string) {
	order := &w.order[slotOf(channel)%len(w.order)]
	order.Lock()
	defer order.Unlock()
	w.mu.Lock()
	n := w.numbers[channel] + 1
	w.numbers[channel] = n
	w.mu.Unlock()
	if _, err := w.Publish(context.Background(), protocol.RedisChannel(channel), strconv.FormatInt(n, 10)); err != nil {
		w.mu.Lock()
		if w.unsure[channel] == nil {
			w.unsure[channel] = make(map[int64]bool)
		}
		w.unsure[channel][n] = true
		w.mu.Unlock()
	}
}

// publishing publishes to the channels in turn, from several goroutines, until the returned function is called.
func (w *world) publishing(channels []string, every time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	const publishers = 4
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			tick := time.NewTicker(every * publishers)
			defer tick.Stop()
			for i := p; ; i += publishers {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
					w.publish(channels[i%len(channels)/publishers*publishers+p]) // a channel has one publisher: its numbers come in order
				}
			}
		})
	}
	return sync.OnceFunc(func() { cancel(); wg.Wait() })
}

func (w *world) up() {
	w.tb.Helper()
	fanouttest.Eventually(w.tb, 2*patience, "all links are up", func() bool { return w.Stats().Up })
}

func (w *world) notUp() {
	w.tb.Helper()
	fanouttest.Eventually(w.tb, patience, "a link is down", func() bool { return !w.Stats().Up })
}

// subscribed waits until every client has been told that it is subscribed.
func (w *world) subscribed() {
	w.tb.Helper()
	fanouttest.Eventually(w.tb, 2*patience, "every client is subscribed", func() bool {
		for _, lp := range w.loops {
			lp.mu.Lock()
			for _, c := range lp.clients {
				if !c.subscribed {
					lp.mu.Unlock()
					return false
				}
			}
			lp.mu.Unlock()
		}
		return true
	})
}

// hearsAll publishes one more number to each channel until all clients hear what is published.
func (w *world) hearsAll(channels []string) {
	w.tb.Helper()
	began := time.Now()
	for _, channel := range channels {
		w.publish(channel)
	}
	fanouttest.Eventually(w.tb, 2*patience, "every client hears every channel again", func() bool {
		for _, channel := range channels {
			last := w.next(channel) - 1
			for _, lp := range w.loops {
				lp.mu.Lock()
				c := lp.clients[channel]
				heard := c == nil || slices.ContainsFunc(c.events, func(e event) bool { return e.number >= last })
				lp.mu.Unlock()
				if !heard {
					if time.Since(began) > time.Second { // it was published when the channel had no home
						began = time.Now()
						w.publish(channel)
					}
					return false
				}
			}
		}
		return true
	})
}

// verdict checks what every client was told: in order, nothing twice, and a gap for whatever is missing. It returns how
// many numbers are missing, and which channels were told a gap.
func (w *world) verdict() (missing int, gaps map[string]int) {
	w.tb.Helper()
	gaps = make(map[string]int)
	bad := 0
	complain := func(format string, args ...any) {
		if bad++; bad <= 5 {
			w.tb.Errorf(format, args...)
		}
	}
	w.mu.Lock() // not together with a loop's lock: a client that is told asks for the next number
	unsure := make(map[string]map[int64]bool, len(w.unsure))
	for channel, numbers := range w.unsure {
		unsure[channel] = maps.Clone(numbers)
	}
	w.mu.Unlock()
	for _, lp := range w.loops {
		lp.mu.Lock()
		for channel, c := range lp.clients {
			last, lastAt := c.since-1, -1
			for i, e := range c.events {
				if e.number == 0 {
					gaps[channel]++
					continue
				}
				if e.number <= last {
					if e.number >= c.since {
						complain("loop %d, channel %s: %d after %d", lp.id, channel, e.number, last)
					}
					continue
				}
				lost := 0
				for n := last + 1; n < e.number; n++ {
					if !unsure[channel][n] {
						lost++
					}
				}
				missing += lost
				if lost > 0 && !slices.ContainsFunc(c.events[lastAt+1:], func(e event) bool { return e.number == 0 }) {
					complain("loop %d, channel %s: %d of the numbers from %d to %d are missing, and no gap was told", lp.id, channel, lost, last+1, e.number-1)
				}
				last, lastAt = e.number, i
			}
		}
		lp.mu.Unlock()
	}
	if bad > 5 {
		w.tb.Errorf("and %d more", bad-5)
	}
	return missing, gaps
}

// channelNames are n channels.
func channelNames(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprint("user:", i)
	}
	return out
}

// populate subscribes each channel on some loops.
func (w *world) populate(channels []string) {
	for i, channel := range channels {
		w.loops[i%len(w.loops)].subscribe(channel)
		if i%3 == 0 {
			w.loops[(i+1)%len(w.loops)].subscribe(channel)
		}
	}
}

// tagIn is a hash tag, with its braces, in a slot.
func tagIn(slot int) string {
	for i := 0; ; i++ {
		if tag := fmt.Sprintf("{%d}", i); slotOf(tag) == slot {
			return tag
		}
	}
}

func splitAddr(addr string) (host, port string) {
	host, port, _ = strings.Cut(addr, ":")
	return host, port
}
