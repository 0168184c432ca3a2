package protocol

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// RedisPrefix stands before a channel's name in Redis: clients subscribe to user:42, applications publish to
// notifications:user:42. Clients may write the long form too; it means the same channel.
const RedisPrefix = "notifications:"

// MaxChannelBytes is the longest channel name, without the prefix.
const MaxChannelBytes = 255

// Why a channel name is refused.
var (
	ErrChannelEmpty   = errors.New("channel name is empty")
	ErrChannelLong    = errors.New("channel name is over 255 bytes")
	ErrChannelUTF8    = errors.New("channel name is not UTF-8")
	ErrChannelControl = errors.New("channel name has a control character")
	ErrChannelPrefix  = errors.New("channel name has the prefix twice")
)

// ParseChannel returns the short form of a channel's name, a part of name that shares its memory. The prefix is
// taken off once, and a name that has it twice is refused: its short form, which answers carry, would be read as the
// long form of another channel. Errors are the ErrChannel… values.
func ParseChannel(name string) (string, error) {
	short := strings.TrimPrefix(name, RedisPrefix)
	if err := CheckName(short); err != nil {
		return "", err
	}
	if strings.HasPrefix(short, RedisPrefix) {
		return "", ErrChannelPrefix
	}
	return short, nil
}

// CheckName holds a name to the alphabet and the length of a channel's, or of a user's label. It says nothing of the prefix.
// Errors are the ErrChannel… values.
func CheckName(name string) error {
	switch {
	case name == "":
		return ErrChannelEmpty
	case len(name) > MaxChannelBytes:
		return ErrChannelLong
	case !utf8.ValidString(name):
		return ErrChannelUTF8
	}
	for _, r := range name {
		if r < 0x20 || r >= 0x7f && r < 0xa0 { // C0, DEL and C1 controls
			return ErrChannelControl
		}
	}
	return nil
}

// RedisChannel returns the name under which Redis carries a channel given in its short form.
func RedisChannel(short string) string { return RedisPrefix + short }
