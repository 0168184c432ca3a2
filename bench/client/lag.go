package client

import "time"

// TickEvery is how often a thread looks whether it is late, unless its plan says otherwise.
const TickEvery = 5 * time.Millisecond

// lag is since when what a thread reads may have been there for it to read. The thread is woken at fixed times. When it
// comes later than one of them, it was kept from reading since then, whatever kept it: a long turn, other programs on its
// CPU, or that the process was stopped. A tick costs a wake-up, so there are ticks only while publications are under way:
// fifty workers that tick while they connect a million clients take longer for it.
//
// Times are the publisher's, in nanoseconds.
type lag struct {
	every int64 // between two ticks
	next  int64 // when the next one is due; 0: there are none
	since int64 // what is read in this turn may have been there since then

	turn   int64 // when this one began
	missed int64 // the first tick that it came too late for; 0: none
	carry  int64 // what the next turn reads may have been there since then; 0: it came after this turn's events were taken
	left   int   // while turns cannot take all events: how many may be there that are as old as carry
	mark   int64 // later ones are not older than this
}

// begin starts a turn.
func (l *lag) begin(now int64) {
	l.turn, l.since, l.missed = now, now, 0
	if l.carry > 0 {
		l.since = min(now, l.carry)
	}
	if l.next > 0 && now >= l.next {
		l.missed = l.next
		l.since = min(l.since, l.missed)
		l.next += ((now-l.next)/l.every + 1) * l.every
	}
}

// end ends a turn that took so many events, not all when it was full. Events come in the order in which they happened,
// and a client is in the queue once.
func (l *lag) end(events int, full bool, clients int) {
	switch {
	case events < 0:
		l.carry = l.since // interrupted, as a process is first that goes on after a stop
		return
	case !full:
		// It took what was there at some time since the tick that it missed.
		l.carry, l.mark, l.left = l.missed, 0, clients
		return
	case l.mark == 0:
		l.mark = l.turn
	}
	l.carry = l.since
	if l.left -= events; l.left <= 0 { // the queue has gone round
		l.carry, l.mark, l.left = l.mark, l.turn, clients
	}
}
