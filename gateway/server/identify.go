package server

import (
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/carillon-ws/carillon/gateway/identity"
	"github.com/carillon-ws/carillon/protocol"
	"github.com/carillon-ws/carillon/protocol/http1"
)

// A client whose token cannot be judged yet is sent away for a time between these: a key set is fetched at most once in
// 10 s.
const (
	retryTokenLeast = time.Second
	retryTokenMost  = 10 * time.Second
)

// identify says who sent a request. Without a verifier nobody is asked, and who is a label or nil.
func (lp *loop) identify(req *http1.Request) (who *identity.Identity, err error) {
	if lp.cfg.Verifier == nil {
		if req.User == "" {
			return nil, nil
		}
		return &identity.Identity{User: req.User}, nil
	}
	token := lp.cfg.TokenSources.Token(*req.Credentials)
	if token == nil {
		return nil, identity.ErrNoToken
	}
	return lp.cfg.Verifier.Verify(token, time.Now())
}

// refuseToken answers a request whose token is not good, and says why: with an HTTP status, or, to whoever offered our
// sub-protocol, with a close code, for a page cannot read a status. out is the 101 that answers the request.
func (lp *loop) refuseToken(c *conn, out []byte, coded bool, err error) {
	why := err.Error()
	refusal, closing := *http1.RefuseToken, protocol.ErrTokenRefused.Because(why)
	switch {
	case errors.Is(err, identity.ErrNoToken):
		refusal = *http1.RefuseNoToken
	case errors.Is(err, identity.ErrExpired):
		refusal, closing = *http1.RefuseExpired, protocol.ErrTokenExpired.Because(why)
	case isEarly(err):
		refusal, closing = *http1.RefuseKey, protocol.TryAgainAfter((retryTokenLeast + rand.N(retryTokenMost-retryTokenLeast)).Milliseconds())
	}
	if refusal.Body == "" {
		refusal.Body = why
	}
	lp.countRefusal(&refusal)
	lp.event(c, "refused", why)
	if coded {
		lp.turnAway(c, protocol.Carillon.AppendClose(out, closing))
	} else {
		lp.turnAway(c, http1.AppendRefusal(lp.out[:0], &refusal))
	}
}

// isEarly reports whether a token cannot be judged yet, or is not valid yet: the same token may be good a little later.
// A token whose key the issuer has retired is not: identity makes that an ErrExpired as well.
func isEarly(err error) bool {
	return (errors.Is(err, identity.ErrUnknownKey) || errors.Is(err, identity.ErrNotYet)) && !errors.Is(err, identity.ErrExpired)
}

// subscribePersonal subscribes a client to the channel that is its own, if the gateway is told to.
func (lp *loop) subscribePersonal(c *conn) {
	if lp.cfg.Verifier == nil || lp.cfg.PersonalChannel == "" {
		return
	}
	raw := strings.ReplaceAll(lp.cfg.PersonalChannel, "{sub}", c.identity.User)
	name, err := protocol.ParseChannel(raw)
	if err != nil {
		lp.refuseCommand(c, nil, echoable([]byte(raw)), protocol.ErrorBadChannel, err.Error())
		return
	}
	lp.subscribe(c, nil, name)
}

// may reports whether a connection may hear a channel. Without a verifier any may hear any.
func (lp *loop) may(c *conn, channel string) bool {
	return lp.cfg.Verifier == nil || c.identity.May(channel)
}

// auth takes a new token on an open connection. The old one stays in force if it is not good.
func (lp *loop) auth(c *conn, cmd *protocol.Command) {
	lp.owner.mustOwn()
	if lp.cfg.Verifier == nil {
		lp.refuseCommand(c, cmd.ID, "", protocol.ErrorBadToken, "this gateway takes no tokens")
		return
	}
	if !lp.charge(c, min(authCharge, lp.cfg.MessageBurst/2)) {
		lp.refuseCommand(c, cmd.ID, "", protocol.ErrorRateLimited, "too many messages: wait a second")
		return
	}
	who, err := lp.cfg.Verifier.Verify(cmd.Token, time.Now())
	switch {
	case isEarly(err):
		lp.refuseCommand(c, cmd.ID, "", protocol.ErrorInternal, err.Error()+": try again in a few seconds")
		return
	case err != nil:
		lp.refuseCommand(c, cmd.ID, "", protocol.ErrorBadToken, err.Error())
		return
	case who.User != c.identity.User:
		lp.refuseCommand(c, cmd.ID, "", protocol.ErrorBadToken, "the token is another user's")
		return
	}
	c.identity = who
	lp.wheel.schedule(&lp.conns, c, lp.expiry(c))
	lp.answer(c, &protocol.Message{Type: protocol.MessageAuthenticated, ID: cmd.ID, ExpiresAt: who.Expires.UnixMilli()})
	lp.giveUpForbidden(c)
}

// giveUpForbidden ends the subscriptions that a connection's new token does not allow, and says so.
func (lp *loop) giveUpForbidden(c *conn) {
	var forbidden []string // the list must not change while it is walked
	for channel := range lp.index.Each(c.subs) {
		if !lp.may(c, channel) {
			forbidden = append(forbidden, channel)
		}
	}
	for _, channel := range forbidden {
		lp.unsubscribe(c, nil, channel)
		lp.refuseCommand(c, nil, channel, protocol.ErrorForbidden, "the new token does not allow this channel")
	}
}

// expiry is the second at which a connection's identity ends. It is worked out anew whenever it is needed: tokens go
// by the clock on the wall, which may be set.
func (lp *loop) expiry(c *conn) uint32 {
	left := min(max(0, time.Until(c.identity.Expires)), 24*time.Hour) // a token may outlive the counting of seconds
	return lp.now() + seconds(left)
}
