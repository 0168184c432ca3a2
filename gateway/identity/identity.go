package identity

import (
	"time"
	"unicode/utf8"
)

// Identity is who a client is and what it may hear. It is never changed after Verify made it. It takes 48 bytes and the
// bytes of User. All identities with the same list of patterns share it, with {sub} not yet replaced, so a million users of
// one application need one list (measured in TestIdentityFootprint).
type Identity struct {
	User string // the claim sub

	// Expires is when the identity ends: the claim exp, in UTC, plus the leeway. Without the leeway, a client whose token was
	// accepted because of it would be closed at once, and would come back with a token that is as short.
	Expires time.Time

	rights rights
}

// May reports whether the client may hear a channel, given in the short form that protocol.ParseChannel returns. It does
// not look at the clock: the caller must stop using an Identity when it expires. A nil Identity may hear nothing. May
// allocates nothing. Safe to call from any goroutine.
func (id *Identity) May(channel string) bool {
	return id != nil && channel != "" && id.rights.allow(channel, id.User)
}

// MaxSubjectBytes is the longest sub.
const MaxSubjectBytes = 255

// isSubject reports whether sub may name a user.
func isSubject(sub string) bool {
	return sub != "" && len(sub) <= MaxSubjectBytes && isPlain(sub)
}

// isPlain reports whether text is UTF-8 without control characters. The replacement character is refused too: encoding/json
// replaces a lone surrogate by it, so two different names could become one.
func isPlain(text string) bool {
	for _, r := range text {
		if r < 0x20 || r >= 0x7f && r < 0xa0 || r == utf8.RuneError { // C0, DEL and C1 controls
			return false
		}
	}
	return true
}
