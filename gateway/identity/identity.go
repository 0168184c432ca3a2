package identity

import (
	"time"
	"unicode/utf8"
)

// Identity is who a client is and what it may hear. It is never changed after Verify made it. It takes 48 bytes and
// the bytes of User; the patterns are shared by all who have the same list, before {sub} is filled in, so a million
// users of one application hold one list between them (measured in TestIdentityFootprint).
type Identity struct {
	User string // the claim sub

	// Expires is when the identity ends: the claim exp, in UTC, and the leeway. A client whose token was taken thanks
	// to the leeway is not cut off at once, only to come back with another that is as short-lived.
	Expires time.Time

	rights rights
}

// May reports whether the client may hear a channel, given in the short form that protocol.ParseChannel returns. It
// does not look at the clock: whoever holds an Identity drops it when it expires. A nil Identity may hear nothing.
// Allocates nothing. Safe to call from any goroutine.
func (id *Identity) May(channel string) bool {
	return id != nil && channel != "" && id.rights.allow(channel, id.User)
}

// MaxSubjectBytes is the longest sub.
const MaxSubjectBytes = 255

// isSubject reports whether sub may name a user.
func isSubject(sub string) bool {
	return sub != "" && len(sub) <= MaxSubjectBytes && isPlain(sub)
}

// isPlain reports whether text is UTF-8 without control characters. The replacement character is refused too: it is
// what encoding/json makes of a lone surrogate, so two different names would become one.
func isPlain(text string) bool {
	for _, r := range text {
		if r < 0x20 || r >= 0x7f && r < 0xa0 || r == utf8.RuneError { // C0, DEL and C1 controls
			return false
		}
	}
	return true
}
