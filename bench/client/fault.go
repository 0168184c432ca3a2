package client

// Stall makes a share of the clients stop reading; they no longer count as audience. It returns how many they are.
func (w *Worker) Stall(share float64, stalled *int) error {
	for _, p := range w.pollers {
		p.do(func() {
			for i := range p.clients {
				if c := &p.clients[i]; c.state == stateReady && InShare(int(c.number), share) {
					c.slow, c.told = slowStalled, false
					*stalled++
				}
			}
		})
	}
	return w.recount(func(connection int) bool { return InShare(connection, share) })
}

// Attend makes everybody audience again.
func (w *Worker) Attend(_ None, _ *None) error { return w.recount(nil) }

func (w *Worker) recount(leftOut func(connection int) bool) error {
	audience := w.plan.Load.Audience(w.plan.First, w.plan.Count, leftOut)
	for _, p := range w.pollers {
		p.do(func() { p.audience = audience })
	}
	return nil
}

// Resume makes the stalled clients read what there is for them.
func (w *Worker) Resume(_ None, _ *None) error {
	for _, p := range w.pollers {
		p.do(func() {
			for i := range p.clients {
				if c := &p.clients[i]; c.slow == slowStalled {
					c.slow = slowResumed
					p.read(c, true)
				}
			}
		})
	}
	return nil
}

// Judgement is what became of clients that a fault has hit.
type Judgement struct {
	Up         int    // that are connected
	Told       int    // of them, that were told of a gap
	Signaled   uint64 // deliveries missing on their connections
	Unsignaled uint64 // deliveries missing on a connection that stayed and was told nothing
}

// Judge looks at the clients that are up, or, with onlySlow, at those of them that were stalled, and forgives them what
// is missing: later phases begin anew. Stalled ones that were closed may come back as somebody else.
func (w *Worker) Judge(onlySlow bool, j *Judgement) error {
	for _, p := range w.pollers {
		p.do(func() {
			now := p.now()
			for i := range p.clients {
				c := &p.clients[i]
				if onlySlow && c.slow == slowNever {
					continue
				}
				if c.slow = slowNever; c.state != stateReady {
					c.fresh = true
					continue
				}
				published := p.load.published(p.channelOf(c), p.outlook.numbers(now))
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
			}
		})
	}
	return nil
}
