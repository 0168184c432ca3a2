package server

import "github.com/carillon-ws/carillon/protocol"

// command carries out one message from a client, if it came within its rate. Whatever is wrong with it, the connection
// stays and is told.
func (lp *loop) command(c *conn, cmd *protocol.Command, err error, within bool) {
	if err != nil {
		within = lp.charge(c, lp.cfg.MessageBurst/malformedPart) && within
	}
	switch {
	case !within:
		lp.refuseCommand(c, cmd.ID, "", protocol.ErrorRateLimited, "too many messages: wait a second")
		return
	case err != nil:
		lp.refuseCommand(c, cmd.ID, "", protocol.ErrorCodeOf(err), err.Error())
		return
	}
	if n := len(cmd.Channels); n > 1 && !lp.charge(c, n-1) { // each is as much work as a message of its own
		lp.refuseCommand(c, cmd.ID, "", protocol.ErrorRateLimited, "too many channels: wait a second")
		return
	}
	switch cmd.Type {
	case protocol.CommandSubscribe, protocol.CommandUnsubscribe:
		if len(cmd.Channels) > lp.cfg.MaxChannels {
			lp.refuseCommand(c, cmd.ID, "", protocol.ErrorTooManyChannels, "more channels in one command than a connection may have")
			return
		}
		for _, raw := range cmd.Channels {
			name, err := protocol.ParseChannel(string(raw))
			switch {
			case err != nil:
				lp.refuseCommand(c, cmd.ID, echoable(raw), protocol.ErrorBadChannel, err.Error())
			case cmd.Type == protocol.CommandSubscribe:
				lp.subscribe(c, cmd.ID, name)
			default:
				lp.unsubscribe(c, cmd.ID, name)
			}
		}
	case protocol.CommandPing:
		lp.answer(c, &protocol.Message{Type: protocol.MessagePong, ID: cmd.ID})
	case protocol.CommandAuth:
		lp.auth(c, cmd)
	}
}

// subscribe acknowledges a subscription that exists already, and counts it once. The right to it is checked anew.
func (lp *loop) subscribe(c *conn, id []byte, name string) {
	lp.owner.mustOwn()
	if !lp.may(c, name) {
		lp.refuseCommand(c, id, name, protocol.ErrorForbidden, "the token does not allow this channel")
		return
	}
	if int(c.count) >= lp.cfg.MaxChannels && !lp.index.Subscribed(c.subs, name) && !c.waitsFor(name) {
		lp.refuseCommand(c, id, name, protocol.ErrorTooManyChannels, "this connection has all the channels it may have")
		return
	}
	lp.hear(c, id, name)
}

// hear has a connection hear a channel, or wait until Redis has confirmed it. The interest comes before the answer: what is
// published once the client has read it is heard.
func (lp *loop) hear(c *conn, id []byte, name string) {
	lp.owner.mustOwn()
	if lp.index.Subscribers(name) == 0 {
		if lp.waiting[name] != nil || !lp.cfg.Interest.Add(name, lp.id) {
			lp.waitFor(c, name, id)
			return
		}
	}
	lp.enter(c, id, name)
}

// unsubscribe acknowledges even when there was no subscription: afterwards there is none. A subscription that still waits
// to be confirmed is acknowledged first.
func (lp *loop) unsubscribe(c *conn, id []byte, name string) {
	lp.owner.mustOwn()
	for _, w := range lp.stopWaiting(c, name) {
		lp.answer(c, &protocol.Message{Type: protocol.MessageSubscribed, ID: w.id, Channel: name})
	}
	removed, last := lp.index.Unsubscribe(&c.subs, name)
	if removed {
		c.count--
	}
	if last {
		lp.endInterest(name)
	}
	lp.answer(c, &protocol.Message{Type: protocol.MessageUnsubscribed, ID: id, Channel: name})
}

func (lp *loop) refuseCommand(c *conn, id []byte, channel string, code protocol.ErrorCode, text string) {
	lp.n.errors.add(string(code), 1)
	lp.answer(c, &protocol.Message{Type: protocol.MessageError, ID: id, Code: code, Text: text, Channel: channel})
}

// echoable is the part of a refused channel name that the answer repeats, so that a client can tell which it was
// without being able to make us send long answers.
func echoable(raw []byte) string {
	return string(raw[:min(len(raw), protocol.MaxChannelBytes)])
}
