package redis

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/carillon-ws/carillon/fanout"
)

const (
	// maxNames is how many names one SUBSCRIBE or UNSUBSCRIBE has. Redis answers each name, about 60 bytes, and closes a
	// link that lets 32 MB of answers wait: 700,000 names at once are closed each time.
	maxNames = 512
	// maxAsked is how many names wait for an answer at most, in all commands: the next command is written when the
	// answers to the last but one have been read.
	maxAsked = 2 * maxNames
	// defaultGrace is how long a channel is heard after its last subscriber has left. A client that returns within this
	// time costs Redis nothing.
	defaultGrace = 5 * time.Second
	// refusedPause is how long a name rests that Redis has refused.
	refusedPause = time.Second
)

// name is what a link knows of one channel; bits.
type name uint8

const (
	asked    name = 1 << iota // SUBSCRIBE is written, its answer is not there
	on                        // Redis sends publications of it on this link
	leaving                   // UNSUBSCRIBE is written, its answer is not there
	waits                     // in due
	owed                      // its subscribers are sent a gap when it is on
	restores                  // counted in restoring
	alone                     // asked for in a command of its own: Redis has refused one that it was in
)

// names are the channels that one link is to hear, and the order in which they are asked for. The keeper's writer looks
// at the interest as it is when it acts: whatever has changed since is looked at again later. For each name at most one
// answer is outstanding.
type names struct {
	// Fixed at creation.
	interest *fanout.Interest
	prefix   string
	sharded  bool
	grace    time.Duration
	signal   chan struct{} // the writer has something to look at; capacity 1

	// Guarded by mu.
	mu        sync.Mutex
	all       map[string]name
	look      []string // the writer looks at these next; a name may be there twice
	due       []due    // it looks at these later; in order of time
	lk        *link    // nil while down
	asked     int      // names whose answer is outstanding
	on        int      // names that Redis sends publications of
	restoring int      // names that were wanted when the link came, and are not on yet
	restored  bool     // none is left, and their gap has been told
	again     bool     // an earlier link was restored: what is confirmed now is so again
	canary    string   // channel to be asked for as the canary; empty: none

	resubscribed, refused, moved uint64
}

type due struct {
	name string
	at   time.Time
}

func newNames(cfg *Config) *names {
	return &names{
		interest: cfg.Interest, prefix: strings.TrimSuffix(cfg.Pattern, "*"), sharded: cfg.Mode == Sharded,
		grace: cfg.Grace, signal: make(chan struct{}, 1), all: make(map[string]name),
	}
}

func (n *names) wake() {
	select {
	case n.signal <- struct{}{}:
	default:
	}
}

// short is the name that the interest has for a channel.
func (n *names) short(channel string) string { return channel[len(n.prefix):] }

// consider has the writer look at channels whose interest may have changed, or, with owed, that another link has lost.
func (n *names) consider(channels []string, more name) {
	n.mu.Lock()
	for _, channel := range channels {
		n.all[channel] |= more // it is known from now on: a link that comes or goes looks at all that is known
		n.look = append(n.look, channel)
	}
	n.mu.Unlock()
	n.wake()
}

// waitLocked puts the channel into due, after what is due earlier.
func (n *names) waitLocked(channel string, pause time.Duration) {
	at := time.Now().Add(pause)
	i := len(n.due)
	for i > 0 && n.due[i-1].at.After(at) {
		i--
	}
	n.due = slices.Insert(n.due, i, due{channel, at})
}

// take removes and returns the channels that leave holds for: another link is to hear them.
func (n *names) take(leave func(channel string) bool) (taken []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for channel := range n.all {
		if leave(channel) {
			n.dropLocked(channel)
			taken = append(taken, channel)
		}
	}
	n.look = slices.DeleteFunc(n.look, leave)
	return taken
}

// dropLocked forgets a channel that this link no longer has to do with.
func (n *names) dropLocked(channel string) {
	st := n.all[channel]
	if st&on != 0 {
		n.on--
	}
	if st&restores != 0 {
		n.restoring--
	}
	delete(n.all, channel)
}

// attach begins with a link that has just come: everything is asked for anew. Clients wait for none of these names.
func (n *names) attach(lk *link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lk, n.canary, n.asked, n.on, n.restoring, n.restored = lk, "", 0, 0, 0, false
	n.look, n.due = n.look[:0], n.due[:0]
	for channel := range n.all {
		n.all[channel] = owed | restores
		n.restoring++
		n.look = append(n.look, channel)
	}
	if n.sharded {
		bySlot(n.look)
	}
	n.wake()
}

// detach says that the link is lost.
func (n *names) detach() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lk, n.asked, n.on, n.restoring, n.restored = nil, 0, 0, 0, false
	n.due = n.due[:0]
	n.look = n.look[:0]
	for channel, st := range n.all {
		n.all[channel] = owed
		if st&on == 0 { // its clients may wait: they are answered now
			n.look = append(n.look, channel)
		}
	}
	n.wake()
}

// bySlot sorts channels by hash slot.
func bySlot(channels []string) {
	type slotted struct {
		slot    int
		channel string
	}
	list := make([]slotted, len(channels))
	for i, channel := range channels {
		list[i] = slotted{slotOf(channel), channel}
	}
	slices.SortFunc(list, func(a, b slotted) int { return a.slot - b.slot })
	for i := range list {
		channels[i] = list[i].channel
	}
}

// command is one SUBSCRIBE, UNSUBSCRIBE (or their sharded forms) or PING on a link, until it has been answered.
type command struct {
	verb  string
	slot  int // sharded: of all its names
	names []string
	done  int  // names that have been answered
	alone bool // nothing is added
}

// work is what the writer does next, worked out under the lock and done without it.
type work struct {
	lk       *link
	commands []command
	gaps     []string  // channels whose subscribers are sent a gap
	finished bool      // the link has just been restored: gaps are all that it carries
	wakeAt   time.Time // zero: when signalled
}

// next works out what to do, and settles what can be. It is called by the writer only. Channels are settled under the
// lock, and released under it: neither can overtake the other.
func (n *names) next(now time.Time, sink fanout.Sink) (w work) {
	n.mu.Lock()
	defer n.mu.Unlock()
	w.lk = n.lk
	if w.lk != nil && n.canary != "" {
		w.commands = append(w.commands, command{verb: n.verb(false), names: []string{n.canary}, alone: true})
		n.asked++
		n.canary = ""
	}
	for len(n.due) > 0 && n.asked < maxAsked && !n.due[0].at.After(now) {
		channel := n.due[0].name
		n.due = n.due[1:]
		if st, known := n.all[channel]; known {
			n.lookLocked(&w, sink, channel, st&^waits, true)
		}
	}
	looked := 0
	for ; looked < len(n.look) && n.asked < maxAsked; looked++ {
		channel := n.look[looked]
		n.lookLocked(&w, sink, channel, n.all[channel], false)
	}
	if n.look = n.look[looked:]; len(n.look) == 0 {
		n.look = nil
	}
	if len(n.due) > 0 && n.due[0].at.After(now) {
		w.wakeAt = n.due[0].at
	}
	if w.lk != nil && n.restoring == 0 && !n.restored && len(n.look) == 0 {
		n.restored, n.again, w.finished, w.gaps = true, true, true, nil
		if n.sharded {
			for channel, st := range n.all {
				if st&on != 0 {
					w.gaps = append(w.gaps, channel)
					n.all[channel] = st &^ owed
				}
			}
		}
	}
	return w
}

// lookLocked compares what is wanted of a channel with what is, and adds what is to be done. waited says that a channel
// nobody wants has had its grace.
func (n *names) lookLocked(w *work, sink fanout.Sink, channel string, st name, waited bool) {
	short := n.short(channel)
	wanted := n.interest.Loops(short) != 0
	switch {
	case !wanted && st&(on|asked|leaving) == 0 && n.interest.Release(short):
		n.dropLocked(channel)
		return
	case n.lk == nil:
		st |= owed
		sink.Settled(channel)
	case st&(asked|leaving) != 0: // its answer brings it back
	case st&(on|waits) == 0:
		if !n.restored { // the link is not quite there
			if st&restores == 0 {
				n.restoring++
			}
			st |= owed | restores
		}
		if st&owed != 0 { // nobody waits: a gap follows
			sink.Settled(channel)
		}
		st |= asked
		n.asked++
		w.add(n.verb(false), n.slot(channel), channel, n.sharded, st&alone != 0)
	case wanted && st&(on|owed) == on|owed && n.restored:
		st &^= owed
		w.gaps = append(w.gaps, channel)
	case wanted:
	case waited:
		if !n.interest.Release(short) {
			break // somebody has come, and the name with it
		}
		st = leaving
		n.on--
		n.asked++
		w.add(n.verb(true), n.slot(channel), channel, n.sharded, false)
	case st&(on|waits) == on:
		st |= waits
		n.waitLocked(channel, n.grace)
	}
	n.all[channel] = st
}

func (n *names) slot(channel string) int {
	if n.sharded {
		return slotOf(channel)
	}
	return 0
}

func (n *names) verb(leave bool) string {
	switch {
	case n.sharded && leave:
		return "sunsubscribe"
	case n.sharded:
		return "ssubscribe"
	case leave:
		return "unsubscribe"
	default:
		return "subscribe"
	}
}

// add puts the channel into the command before it, if that may have it: of the same verb, and slot.
func (w *work) add(verb string, slot int, channel string, sharded, alone bool) {
	if i := len(w.commands) - 1; i >= 0 && !alone {
		last := &w.commands[i]
		if last.verb == verb && !last.alone && len(last.names) < maxNames && (!sharded || last.slot == slot) {
			last.names = append(last.names, channel)
			return
		}
	}
	w.commands = append(w.commands, command{verb: verb, slot: slot, names: []string{channel}, alone: alone})
}

// answered notes the answer to one name of a command. It returns whether the channel's subscribers are sent a gap.
func (n *names) answered(verb, channel string, sink fanout.Sink) (gap bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answerLocked()
	st, known := n.all[channel]
	if !known { // another link hears it now; or it is the canary's
		return false
	}
	if verb == "unsubscribe" || verb == "sunsubscribe" {
		n.all[channel] = st &^ (leaving | on)
		n.look = append(n.look, channel)
		n.wake()
		return false
	}
	n.on++
	n.all[channel] = st&(waits|alone) | on
	if st&restores != 0 {
		n.restoring--
		if n.again {
			n.resubscribed++
		}
		if n.restoring == 0 {
			n.wake()
		}
	}
	sink.Settled(channel)
	if n.interest.Loops(n.short(channel)) == 0 {
		n.look = append(n.look, channel)
		n.wake()
	}
	return st&owed != 0 && st&restores == 0
}

// answerLocked counts an answer, and wakes a writer that waits for room.
func (n *names) answerLocked() {
	n.asked--
	if n.asked == maxNames || n.asked == 0 {
		n.wake()
	}
}

// refuse notes that Redis has answered a command with an error. Its names are asked for again, each alone, if the error
// may concern one of them; else they rest first. Clients do not wait for a refused name: a gap follows when it is heard
// after all.
func (n *names) refuse(cmd *command, each bool, sink fanout.Sink) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked -= len(cmd.names) - 1
	n.answerLocked()
	for _, channel := range cmd.names {
		st, known := n.all[channel]
		if !known {
			continue
		}
		if st&leaving != 0 { // it is heard still
			n.refused++
			n.on++
			n.all[channel] = on | waits
			n.waitLocked(channel, refusedPause)
			sink.Settled(channel)
			continue
		}
		st = st&^asked | owed | waits
		pause := time.Duration(0)
		if each {
			st |= alone
		} else {
			n.refused++
			pause = refusedPause
			if st&restores != 0 { // the others need not wait for it
				n.restoring--
				st &^= restores
			}
		}
		n.all[channel] = st
		n.waitLocked(channel, pause)
		sink.Settled(channel)
	}
	n.wake()
}

// moved notes that Redis has answered a command with MOVED, and returns its names: another link is to hear them.
func (n *names) movedAway(cmd *command) (channels []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked -= len(cmd.names) - 1
	n.answerLocked()
	for _, channel := range cmd.names {
		if _, known := n.all[channel]; known {
			n.dropLocked(channel)
			channels = append(channels, channel)
		}
	}
	n.moved += uint64(len(channels))
	n.wake()
	return channels
}

// pushed notes that Redis has ended the subscription of a channel by itself: its slot has moved. It returns whether the
// channel is one that this link is to hear.
func (n *names) pushed(channel string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, known := n.all[channel]; !known {
		return false
	}
	n.dropLocked(channel)
	n.moved++
	n.wake()
	return true
}

// askCanary has the writer subscribe the canary's channel.
func (n *names) askCanary(channel string) {
	n.mu.Lock()
	n.canary = channel
	n.mu.Unlock()
	n.wake()
}

// write is the one writer of a keeper's subscriptions: it lives as long as the keeper, and blocks nobody but itself.
func (n *names) write(ctx context.Context, k *keeper, sink fanout.Sink) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		w := n.next(time.Now(), sink)
		sink.Flush()
		switch {
		case w.finished:
			k.healed(w.lk, sink, w.gaps...)
		case len(w.gaps) > 0:
			sink.Lost(w.gaps...)
		}
		for i := range w.commands {
			if err := w.lk.write(ctx, w.commands[i]); err != nil {
				w.lk.end(err)
				break
			}
		}
		if !w.wakeAt.IsZero() {
			timer.Reset(time.Until(w.wakeAt))
		}
		select {
		case <-ctx.Done():
			return
		case <-n.signal:
		case <-timer.C:
		}
	}
}
