package server

import "log/slog"

// eventsPerSecond bounds the lines that one loop logs of its connections. A million that come are not a million lines;
// those that are left out are counted, and the count is logged.
const eventsPerSecond = 5

// eventLog is how much of a second's events was logged. Owned by the loop.
type eventLog struct{ logged, left int }

// event logs at debug what became of a connection: a sample, when many come and go. It tells where from, and the client
// id, by which GET /connections finds whose it is; nothing of what the client sent.
func (lp *loop) event(c *conn, what, reason string) {
	if !lp.cfg.Log.Enabled(lp.ctx, slog.LevelDebug) {
		return
	}
	if lp.events.logged >= eventsPerSecond {
		lp.events.left++
		return
	}
	lp.events.logged++
	lp.cfg.Log.Debug("connection", "event", what, "reason", reason, "loop", lp.id, "client", lp.srv.ids.of(c.key),
		"remote", c.gc.RemoteAddr().String(), "age_s", lp.now()-c.accepted)
}

// nextSecond lets events be logged again, and says how many were not. Runs on the loop, once a second.
func (lp *loop) nextSecond() {
	lp.owner.mustOwn()
	if lp.events.left > 0 {
		lp.cfg.Log.Debug("connection events left out", "loop", lp.id, "events", lp.events.left)
	}
	lp.events = eventLog{}
}
