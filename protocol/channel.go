package protocol

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// RedisPrefix begins a channel's name in Redis: clients subscribe to user:42, applications publish to
// notifications:user:42. Clients may also write the long form; it means the same channel.
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

// ParseChannel returns the short form of a channel's name: name without the prefix, if it has one. The result shares the
// memory of name. A name that has the prefix twice is refused: its short form, which answers contain, would be the long
// form of another channel. An error is one of the ErrChannel… values.
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

// CheckName checks the length and the characters of a channel's name, or of a user's label. It does not look at the
// prefix. An error is one of the ErrChannel… values.
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

// RedisChannel returns the name in Redis of the channel with that short form.
func RedisChannel(short string) string { return RedisPrefix + short }
