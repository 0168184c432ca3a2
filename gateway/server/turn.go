package server

import (
	"syscall"
	"time"

	"github.com/carillon-ws/carillon/fanout"
)

// walkStep is how many subscribers are written to between looks at the clock.
const walkStep = 32

// sendTurn goes on with the turn: one write a connection for all frames of a channel that piled up. It reports
// false when the deadline came before the end; then the walk stands where it is, members may come and go, and the
// next call goes on.
//
// Runs on the loop.
func (lp *loop) sendTurn(deadline int64) bool {
	if !lp.sending {
		return true
	}
	defer lp.recoverTurn()
	if !lp.reap(deadline) { // who is to be ended hears nothing more
		return false
	}
	lp.n.slices.Add(1)
	for {
		if !lp.walking {
			run, ok := lp.turn.Next()
			if !ok {
				lp.batch.Reset()
				lp.sending, lp.failing = false, false
				lp.n.turn.observe(lp.written - lp.began)
				return true
			}
			lp.startRun(run)
		}
		for lp.walking {
			lp.stepRun()
			if !lp.reap(deadline) || fanout.Monotonic() > deadline {
				return false
			}
		}
	}
}

// startTurn makes the batch that was taken the next turn.
func (lp *loop) startTurn() {
	defer lp.recoverTurn()
	lp.sending = true
	lp.n.turns.Add(1)
	lp.began = fanout.Monotonic()
	lp.written = lp.began // nobody may be left who hears any of it
	lp.batch.TellGaps(time.Now().UnixMilli())
	lp.turn.Load(lp.batch.Items)
}

func (lp *loop) startRun(run fanout.Run) {
	lp.run, lp.width = run, 0
	if run.Channel == "" {
		lp.everyone = cursor{}
		lp.walking = true
		return
	}
	lp.walking = lp.index.StartWalk(run.Channel)
}

// stepRun writes the run to the next few connections.
//
// Runs on the loop.
func (lp *loop) stepRun() {
	if lp.run.Channel == "" {
		lp.stepEveryone()
		return
	}
	members := lp.index.WalkNext(walkStep)
	sent, taken := 0, 0
	for i := range members {
		m := members[i].Conn
		data := lp.run.Bytes
		if lp.deflate.on.has(m.slot) {
			data = lp.deflatedRun()
		}
		if lp.busy.has(m.slot) {
			lp.keepRun(lp.conns.at(m.slot), &lp.run, 0)
			continue
		}
		n, errno := send(m.fd, data)
		sent++
		taken += n
		if n != len(data) {
			lp.shortWrite(lp.conns.at(m.slot), n, errno)
		}
	}
	lp.width += len(members)
	lp.n.writes.Add(uint64(sent))
	lp.n.sentBytes.Add(uint64(taken))
	lp.n.deliveries.Add(uint64(len(members) * len(lp.run.Frames)))
	if len(members) < walkStep {
		lp.endRun()
	}
}

// stepEveryone writes the run to the next few connections that have a subscription.
//
// Runs on the loop.
func (lp *loop) stepEveryone() {
	for range walkStep {
		c := lp.everyone.next(&lp.conns)
		if c == nil {
			lp.endRun()
			return
		}
		if c.state != stateOpen || c.subs.Empty() {
			continue
		}
		data := lp.run.Bytes
		if lp.deflate.on.has(c.slot) {
			data = lp.deflatedRun()
		}
		if lp.busy.has(c.slot) {
			lp.keepRun(c, &lp.run, 0)
			continue
		}
		n, errno := send(c.fd, data)
		lp.n.sentBytes.Add(uint64(n))
		if n != len(data) {
			lp.shortWrite(c, n, errno)
		}
	}
}

// shortWrite keeps what a socket did not take of the run.
//
// Runs on the loop.
func (lp *loop) shortWrite(c *conn, n int, errno syscall.Errno) {
	if errno != 0 && errno != syscall.EAGAIN {
		lp.kill(c, "write_error")
		return
	}
	lp.keepRun(c, &lp.run, n)
}

// endRun notes that the run's last write is done.
func (lp *loop) endRun() {
	lp.written = fanout.Monotonic()
	lp.run.ObserveLatency(lp.written, lp.observe)
	lp.countDeflated()
	lp.forgetHeldRun()
	lp.run = fanout.Run{}
	lp.walking = false
}
