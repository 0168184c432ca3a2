package server

// wheelSlots is how many seconds ahead the wheel can hold; what is due later is looked at then and put back.
const wheelSlots = 128

// wheel is a loop's timing wheel: one list of connections a second, threaded through their records. Being heard
// from costs nothing here: only when a connection's second comes is its real deadline worked out, and it is put
// back if that lies ahead.
type wheel struct {
	heads [wheelSlots]uint32
	now   uint32 // seconds since the process started; every slot before it is done
}

// schedule has the connection looked at at second due, or sooner if it is already.
func (w *wheel) schedule(a *arena, c *conn, due uint32) {
	due = max(due, w.now+1)
	due = min(due, w.now+wheelSlots-1)
	if c.due != 0 {
		if c.due <= due {
			return
		}
		w.remove(a, c)
	}
	head := &w.heads[due%wheelSlots]
	c.due, c.prev, c.next = due, 0, *head
	if *head != 0 {
		a.at(*head).prev = c.slot
	}
	*head = c.slot
}

// remove takes the connection off the wheel.
func (w *wheel) remove(a *arena, c *conn) {
	if c.due == 0 {
		return
	}
	if c.prev != 0 {
		a.at(c.prev).next = c.next
	} else {
		w.heads[c.due%wheelSlots] = c.next
	}
	if c.next != 0 {
		a.at(c.next).prev = c.prev
	}
	c.due, c.next, c.prev = 0, 0, 0
}

// pending reports whether pop(now) has anything to look at.
func (w *wheel) pending(now uint32) bool {
	return w.now < now || w.heads[w.now%wheelSlots] != 0
}

// pop returns a connection whose second has come, off the wheel, moving on up to second now; nil when there is none
// left. The caller may schedule and remove between calls, and stop half-way: the next call goes on.
func (w *wheel) pop(a *arena, now uint32) *conn {
	for {
		if slot := w.heads[w.now%wheelSlots]; slot != 0 {
			c := a.at(slot)
			w.remove(a, c)
			return c
		}
		if w.now >= now {
			return nil
		}
		w.now++
	}
}
