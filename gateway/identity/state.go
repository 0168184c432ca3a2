package identity

import (
	"fmt"
	"strings"
	"time"
)

// State is an Identity written down, for a process that takes its connection over.
type State struct {
	User     string   `cbor:"1,keyasint,omitempty"`
	Expires  int64    `cbor:"2,keyasint,omitempty"` // Unix milliseconds; 0: the identity is a mere label
	Patterns []string `cbor:"3,keyasint,omitempty"` // of channels that it may hear, {sub} not filled in
}

// State returns what the identity says. It is nil for nil.
func (id *Identity) State() *State {
	if id == nil {
		return nil
	}
	s := &State{User: id.User, Patterns: id.rights.patterns()}
	if !id.Expires.IsZero() {
		s.Expires = id.Expires.UnixMilli()
	}
	return s
}

// Identity returns the identity that was written down. It is nil for nil. The error tells of patterns that no token can
// have had.
func (s *State) Identity() (*Identity, error) {
	if s == nil {
		return nil, nil
	}
	id := &Identity{User: s.User}
	if s.Expires != 0 {
		id.Expires = time.UnixMilli(s.Expires).UTC()
	}
	if len(s.Patterns) > 0 {
		allowed, err := parseRights(s.Patterns)
		if err != nil {
			return nil, fmt.Errorf("identity of %q: %w", s.User, err)
		}
		id.rights = allowed
	}
	return id, nil
}

// patterns are those of the list.
func (r rights) patterns() []string {
	if r == (rights{}) || r.list.Value() == "" {
		return nil
	}
	return strings.Split(r.list.Value(), separator)
}
