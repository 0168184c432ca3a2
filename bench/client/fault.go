package client

// Stall makes a share of the clients stop reading; they no longer count as audience. It returns how many they are.
func (w *Worker) Stall(share float64, stalled *int) error {
	w.eachClient(func(_ *poller, c *client) {
		if c.state == stateReady && InShare(int(c.number), share) {
			c.slow, c.told = slowStalled, false
			*stalled++
		}
	})
	w.setAudience(func(connection int) bool { return InShare(connection, share) })
	return nil
}

func (w *Worker) setAudience(leftOut func(connection int) bool) {
	audience := w.plan.Load.Audience(w.plan.First, w.plan.Count, leftOut)
	w.each(func(p *poller) { p.audience = audience })
}

// Resume makes the stalled clients read what there is for them.
func (w *Worker) Resume(_ None, _ *None) error {
	w.eachClient(func(p *poller, c *client) {
		if c.slow == slowStalled {
			c.slow = slowResumed
			p.read(c, true)
		}
	})
	return nil
}

// Judgement is what became of clients that a fault has hit.
type Judgement struct {
	Up         int    // that are connected
	Told       int    // of them, that were told of a gap
	Signaled   uint64 // deliveries missing on their connections
	Unsignaled uint64 // deliveries missing on a connection that stayed and was told nothing
}

// Judge looks at the clients that are up, or, with onlySlow, at those of them that were stalled. What is
// missing is then forgotten, and everybody is audience again: later phases begin anew. Stalled clients that were closed
// may come back as new ones.
func (w *Worker) Judge(onlySlow bool, j *Judgement) error {
	w.eachClient(func(p *poller, c *client) {
		if onlySlow && c.slow == slowNever {
			return
		}
		if c.slow = slowNever; c.state != stateReady {
			c.fresh = true
			return
		}
		published := p.published(c, p.now())
		lost, _ := c.seq.missing(published)
		j.Up++
		if c.told {
			j.Told++
			j.Signaled += lost
		} else {
			j.Unsignaled += lost
		}
		c.told = false
		c.seq = sequence{next: max(published, c.seq.next)}
	})
	w.setAudience(nil)
	return nil
}
