package redis

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/carillon-ws/carillon/fanout"
)

// believe is how long the word of a slot's old owner counts more than that of other nodes, to which it spreads by gossip.
const believe = 10 * time.Second

// router gives each channel of mode Sharded to the link of the master that has its slot, and follows slots that move. It
// has one keeper for each master. Everything but strays and the ends of links happens on one goroutine.
//
// A channel that has lost its home waits here until the Cluster says who has its slot now; its clients are answered
// meanwhile, and are sent a gap when the new home has confirmed it.
type router struct {
	src    *Source
	sink   fanout.Sink
	signal chan struct{} // there are strays, or a link is down; capacity 1

	// Owned by the router's goroutine.
	keepers  map[string]*kept
	homeless map[string]struct{} // channels whose slot has no master that is known
	asked    time.Time           // when the topology was last asked for
	learned  map[int]time.Time   // slots whose old owner has said who has them now, and when

	// Guarded by mu.
	mu     sync.Mutex
	owners [slots]string // what the topology says, and what MOVED has said since
	strays []stray
	down   bool // a link is
}

// kept is a keeper and how to end it.
type kept struct {
	*keeper
	cancel context.CancelFunc
	done   chan struct{}
}

// stray is what a link no longer hears.
type stray struct {
	from     *keeper
	channels []string // none: it is the link's canary
	to       string   // the node that has the slot; empty: unknown
}

func newRouter(r *Source, sink fanout.Sink) *router {
	return &router{
		src: r, sink: sink, signal: make(chan struct{}, 1),
		keepers: make(map[string]*kept), homeless: make(map[string]struct{}), learned: make(map[int]time.Time),
	}
}

// run routes until ctx ends.
func (ro *router) run(ctx context.Context) {
	defer func() {
		for _, kp := range ro.keepers {
			kp.cancel()
		}
		for _, kp := range ro.keepers {
			<-kp.done
		}
	}()
	r := ro.src
	ro.refresh(ctx, "")
	ro.route(r.full(r.cfg.Interest.Names(nil)), 0)
	for {
		var again <-chan time.Time
		pause := lookEvery
		if ro.unsettled() {
			pause = lookAgain
		}
		timer := time.NewTimer(max(time.Until(ro.asked.Add(pause)), 0))
		again = timer.C
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-r.changed:
			ro.route(r.full(r.cfg.Interest.TakeChanged(nil)), 0)
		case <-ro.signal:
			ro.rehome(ctx)
		case <-again:
			ro.refresh(ctx, "")
		}
		timer.Stop()
	}
}

// unsettled reports whether the topology is asked for again soon.
func (ro *router) unsettled() bool {
	ro.mu.Lock()
	defer ro.mu.Unlock()
	return ro.down || len(ro.homeless) > 0 || len(ro.keepers) == 0
}

// wander takes strays from a keeper. Safe to call from any goroutine.
func (ro *router) wander(from *keeper, channels []string, to string) {
	ro.mu.Lock()
	ro.strays = append(ro.strays, stray{from, channels, to})
	ro.mu.Unlock()
	ro.wake()
}

func (ro *router) wake() {
	select {
	case ro.signal <- struct{}{}:
	default:
	}
}

// linkDown is told by a keeper that its link is lost or not to be had. Safe to call from any goroutine.
func (ro *router) linkDown(*keeper) {
	ro.mu.Lock()
	first := !ro.down
	ro.down = true
	ro.mu.Unlock()
	if first {
		ro.wake()
	}
}

// rehome gives strays to the links that are to hear them now. The node that has sent them away knows best who that is.
func (ro *router) rehome(ctx context.Context) {
	ro.mu.Lock()
	strays := ro.strays
	ro.strays = nil
	down := ro.down
	ro.mu.Unlock()
	if len(strays) == 0 {
		if down && time.Since(ro.asked) > lookAgain {
			ro.refresh(ctx, "")
		}
		return
	}
	ask := ""
	now := time.Now()
	for _, s := range strays {
		if s.to == "" {
			ask = s.from.node
		}
		for _, channel := range s.channels {
			slot := slotOf(channel)
			ro.learned[slot] = now
			if s.to != "" {
				ro.setOwner(slot, s.to)
			} else if ro.owner(slot) == s.from.node {
				ro.setOwner(slot, "") // until the topology tells
			}
		}
	}
	if ask != "" {
		ro.refresh(ctx, ask)
	} else {
		ro.adjust(ctx)
	}
	for _, s := range strays {
		if len(s.channels) > 0 {
			ro.route(s.channels, owed)
		} else if channel := s.from.canaryChannel(); channel != "" {
			s.from.names.askCanary(channel)
		}
	}
}

func (ro *router) owner(slot int) string {
	ro.mu.Lock()
	defer ro.mu.Unlock()
	return ro.owners[slot]
}

func (ro *router) setOwner(slot int, addr string) {
	ro.mu.Lock()
	ro.owners[slot] = addr
	ro.mu.Unlock()
}

// route has the links look at channels. more is owed for channels that were heard elsewhere, or should have been.
func (ro *router) route(channels []string, more name) {
	byNode := make(map[string][]string)
	for _, channel := range channels {
		addr := ro.owner(slotOf(channel))
		byNode[addr] = append(byNode[addr], channel)
	}
	for addr, list := range byNode {
		if kp := ro.keepers[addr]; kp != nil {
			kp.names.consider(list, more)
			continue
		}
		for _, channel := range list {
			if ro.src.cfg.Interest.Loops(channel[ro.prefix():]) == 0 && ro.src.cfg.Interest.Release(channel[ro.prefix():]) {
				delete(ro.homeless, channel)
				continue
			}
			ro.homeless[channel] = struct{}{}
			ro.sink.Settled(channel)
		}
		ro.sink.Flush()
	}
}

func (ro *router) prefix() int { return len(ro.src.cfg.Pattern) - 1 }

// refresh asks for the topology, a preferred node first, and adjusts to it.
func (ro *router) refresh(ctx context.Context, preferred string) {
	ro.mu.Lock()
	ro.down = false // a link that is still down says so again
	ro.mu.Unlock()
	ro.asked = time.Now()
	t, err := ro.src.cluster.look(ctx, preferred)
	if err != nil {
		return
	}
	ro.mu.Lock()
	for slot, at := range ro.learned {
		kp := ro.keepers[ro.owners[slot]]
		switch {
		case time.Since(at) > believe:
			delete(ro.learned, slot)
		case preferred == "" && kp != nil && kp.state.Load().up: // the node that was asked may not have heard of it yet
			t.owners[slot] = ro.owners[slot]
		}
	}
	ro.owners = t.owners
	ro.mu.Unlock()
	ro.adjust(ctx)
}

// adjust starts and ends keepers, moves channels whose slot has another owner, and takes the homeless in.
func (ro *router) adjust(ctx context.Context) {
	wanted := make(map[string]bool)
	ro.mu.Lock()
	owners := ro.owners
	ro.mu.Unlock()
	for _, addr := range owners {
		if addr != "" {
			wanted[addr] = true
		}
	}
	changed := false
	for addr := range wanted {
		if ro.keepers[addr] == nil {
			ro.keepers[addr] = ro.start(ctx, addr)
			changed = true
		}
	}
	for addr, kp := range ro.keepers {
		moved := kp.names.take(func(channel string) bool { return owners[slotOf(channel)] != addr })
		if wanted[addr] {
			ro.moved(kp, moved)
			continue
		}
		changed = true
		delete(ro.keepers, addr)
		kp.cancel()
		<-kp.done
		ro.src.retire(kp.keeper)
		ro.moved(kp, append(moved, kp.names.take(func(string) bool { return true })...))
	}
	if changed {
		ro.publishKeepers()
	}
	if len(ro.homeless) > 0 {
		list := make([]string, 0, len(ro.homeless))
		for channel := range ro.homeless {
			if ro.keepers[owners[slotOf(channel)]] != nil {
				list = append(list, channel)
				delete(ro.homeless, channel)
			}
		}
		ro.route(list, owed)
	}
}

func (ro *router) moved(kp *kept, channels []string) {
	if len(channels) == 0 {
		return
	}
	kp.names.mu.Lock()
	kp.names.moved += uint64(len(channels))
	kp.names.mu.Unlock()
	ro.route(channels, owed)
}

// publishKeepers shows the keepers to Stats, in order of their nodes.
func (ro *router) publishKeepers() {
	list := make([]*keeper, 0, len(ro.keepers))
	for _, kp := range ro.keepers {
		list = append(list, kp.keeper)
	}
	slices.SortFunc(list, func(a, b *keeper) int {
		if a.node < b.node {
			return -1
		}
		return 1
	})
	ro.src.setKeepers(list)
}

// start begins to keep a link to a master.
func (ro *router) start(ctx context.Context, addr string) *kept {
	ctx, cancel := context.WithCancel(ctx)
	kp := &kept{cancel: cancel, done: make(chan struct{})}
	kp.keeper = ro.src.newKeeper(addr, func(context.Context) (string, error) { return addr, nil })
	kp.stray, kp.down = ro.wander, ro.linkDown
	kp.tag = func() string { return ro.tagOf(addr) }
	fork := ro.sink.Fork()
	go func() {
		defer close(kp.done)
		kp.run(ctx, fork)
	}()
	return kp
}

// tagOf finds a hash tag whose slot the master has; empty: it has none.
func (ro *router) tagOf(addr string) string {
	ro.mu.Lock()
	defer ro.mu.Unlock()
	if !slices.Contains(ro.owners[:], addr) {
		return ""
	}
	for i := range 100 * slots { // a master with one slot of 16384 is found after as many tries, on average
		if tag := strconv.Itoa(i); ro.owners[slotOf(tag)] == addr {
			return tag
		}
	}
	return ""
}
