package identity

import (
	"errors"
	"fmt"
	"strings"
	"unique"

	"github.com/carillon-ws/carillon/protocol"
)

// Limits of the claim channels.
const (
	MaxPatterns     = 100
	MaxPatternBytes = 255
)

const (
	subject   = "{sub}"
	wildcard  = "*"
	separator = "\x00" // between the patterns of a list: no pattern has a control character
)

// rights is a list of patterns in which {sub} is not yet replaced. The list is one string, which all identities with the
// same list share; it is freed with the last of them. The zero value allows nothing.
type rights struct {
	list unique.Handle[string]
}

// personal are the rights of a token without the claim channels.
var personal = rights{unique.Make("user:" + subject)}

// The errors of a list of patterns.
var (
	errPatternCount    = errors.New("more than 100 patterns")
	errPatternLength   = errors.New("a pattern is empty or longer than 255 bytes")
	errPatternAlphabet = errors.New("a pattern has a control character or is not UTF-8")
	errPatternWildcard = errors.New("a pattern has a * before its end")
	errPatternSubject  = errors.New("a pattern ends in {sub}*, which also matches names of other users: write {sub}:*")
	errPatternPrefix   = errors.New("a pattern has the prefix " + protocol.RedisPrefix + " twice")
)

// parseRights checks a list of patterns and returns the shared list.
func parseRights(patterns []string) (rights, error) {
	if len(patterns) > MaxPatterns {
		return rights{}, errPatternCount
	}
	size := 0
	for _, pattern := range patterns {
		size += len(pattern) + len(separator)
	}
	var list strings.Builder
	list.Grow(size)
	for i, pattern := range patterns {
		pattern = strings.TrimPrefix(pattern, protocol.RedisPrefix)
		if err := checkPattern(pattern); err != nil {
			return rights{}, err
		}
		if i > 0 {
			list.WriteString(separator)
		}
		list.WriteString(pattern)
	}
	return rights{unique.Make(list.String())}, nil
}

func checkPattern(pattern string) error {
	body, _ := strings.CutSuffix(pattern, wildcard)
	switch {
	case pattern == "" || len(pattern) > MaxPatternBytes:
		return errPatternLength
	case !isPlain(pattern):
		return errPatternAlphabet
	case strings.Contains(body, wildcard):
		return errPatternWildcard
	case len(body) < len(pattern) && strings.HasSuffix(body, subject):
		return errPatternSubject
	case strings.HasPrefix(pattern, protocol.RedisPrefix): // no channel has such a name; see protocol.ErrChannelPrefix
		return errPatternPrefix
	}
	return nil
}

// allow reports whether a pattern of the list allows the channel.
func (r rights) allow(channel, user string) bool {
	if r == (rights{}) {
		return false
	}
	for rest := r.list.Value(); rest != ""; {
		var pattern string
		pattern, rest, _ = strings.Cut(rest, separator)
		if matches(pattern, channel, user) {
			return true
		}
	}
	return false
}

// matches compares a pattern piece by piece. The user's name is compared as it is: it is never read as a pattern.
func matches(pattern, channel, user string) bool {
	for {
		before, after, filled := strings.Cut(pattern, subject)
		if !filled {
			break
		}
		var ok bool
		if channel, ok = strings.CutPrefix(channel, before); !ok {
			return false
		}
		if channel, ok = strings.CutPrefix(channel, user); !ok {
			return false
		}
		pattern = after
	}
	if prefix, ok := strings.CutSuffix(pattern, wildcard); ok {
		return strings.HasPrefix(channel, prefix)
	}
	return channel == pattern
}

// CheckPatterns returns an error for a list of patterns that Verify and Mint refuse.
func CheckPatterns(patterns []string) error {
	if _, err := parseRights(patterns); err != nil {
		return fmt.Errorf("channels: %w", err)
	}
	return nil
}
