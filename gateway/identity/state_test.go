package identity

import (
	"testing"
	"time"
)

func TestState(t *testing.T) {
	t.Parallel()
	allowed, err := parseRights([]string{"user:{sub}", "news:*"})
	if err != nil {
		t.Fatal(err)
	}
	expires := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for name, id := range map[string]*Identity{
		"nobody":         nil,
		"a label":        {User: "ann"},
		"a token":        {User: "ann", Expires: expires, rights: allowed},
		"without rights": {User: "ann", Expires: expires},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := id.State().Identity()
			if err != nil {
				t.Fatal(err)
			}
			if (got == nil) != (id == nil) || id != nil && *got != *id {
				t.Errorf("the identity comes back as %+v, want %+v", got, id)
			}
			for _, channel := range []string{"user:ann", "user:bob", "news:today"} {
				if got.May(channel) != id.May(channel) {
					t.Errorf("May(%q) = %t, want %t", channel, got.May(channel), id.May(channel))
				}
			}
		})
	}
	if _, err := (&State{User: "ann", Patterns: []string{"a*b"}}).Identity(); err == nil {
		t.Error("a pattern that no token can have had is taken")
	}
}
