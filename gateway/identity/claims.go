package identity

import (
	"bytes"
	"encoding/json"
	"iter"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
)

// claims are the claims that the gateway reads. Their types are checked, their values are not yet.
type claims struct {
	text []byte // the claims as JSON; parse sets the fields below from it

	issuer    string
	subject   string
	audience  jwt.ClaimStrings
	expires   *jwt.NumericDate
	notBefore *jwt.NumericDate
	channels  []string // nil: absent
}

// A bit for each claim, to find one that is there twice.
const (
	seenIss = 1 << iota
	seenSub
	seenAud
	seenExp
	seenNbf
	seenChannels
)

// UnmarshalJSON keeps the text, which is valid JSON, for parse. The claims are parsed only after the signature is checked,
// so that somebody without a key cannot cause that work.
func (c *claims) UnmarshalJSON(data []byte) error {
	c.text = bytes.Clone(data)
	return nil
}

// parse reads the claims after the signature is checked. It is stricter than encoding/json with a struct, which takes names
// in upper and lower case, and the last of two claims with one name.
func (c *claims) parse() error {
	switch {
	case c.text == nil: // the claims are null
		return nil
	case c.text[0] != '{' || !utf8.Valid(c.text): // encoding/json would replace bytes that are not UTF-8
		return errClaims
	}
	seen := 0
	for name, value := range members(c.text) {
		bit, err := c.read(name, value)
		switch {
		case err != nil:
			return errClaims
		case seen&bit != 0:
			return errTwice
		}
		seen |= bit
	}
	if seen&seenChannels != 0 && c.channels == nil { // null is neither the default nor an empty list
		return errClaims
	}
	return nil
}

// read reads the value of a claim and returns its bit; 0 for a claim that the gateway does not read.
func (c *claims) read(name, value []byte) (bit int, err error) {
	if bytes.IndexByte(name, '\\') >= 0 {
		var plain string
		if err := json.Unmarshal(name, &plain); err != nil {
			return 0, err
		}
		name = []byte(`"` + plain + `"`)
	}
	switch string(name) {
	case `"iss"`:
		return seenIss, json.Unmarshal(value, &c.issuer)
	case `"sub"`:
		return seenSub, json.Unmarshal(value, &c.subject)
	case `"aud"`:
		return seenAud, json.Unmarshal(value, &c.audience)
	case `"exp"`:
		c.expires, err = readDate(value)
		return seenExp, err
	case `"nbf"`:
		c.notBefore, err = readDate(value)
		return seenNbf, err
	case `"channels"`:
		return seenChannels, json.Unmarshal(value, &c.channels)
	default:
		return 0, nil
	}
}

// members walks over the members of a JSON object, which must be valid: the names with their quotes, and the values.
func members(object []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		rest := object[1:]
		for {
			if rest = bytes.TrimLeft(rest, " \t\r\n,"); rest[0] == '}' {
				return
			}
			end := stringLen(rest)
			name := rest[:end]
			rest = bytes.TrimLeft(rest[end:], " \t\r\n:")
			end = valueLen(rest)
			if !yield(name, rest[:end]) {
				return
			}
			rest = rest[end:]
		}
	}
}

// stringLen returns the length of the string at the begin of text, with its quotes.
func stringLen(text []byte) int {
	i := 1
	for ; text[i] != '"'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// valueLen returns the length of the value at the begin of text, with the white space after it.
func valueLen(text []byte) int {
	depth := 0
	for i := 0; ; i++ {
		switch text[i] {
		case '"':
			i += stringLen(text[i:]) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
		case ',':
			if depth == 0 {
				return i
			}
		}
	}
}

// maxDate is the end of the year 9999 in Unix seconds. A later date is a mistake, often milliseconds; such a token would
// never expire.
const maxDate = 253402300799

// readDate reads a NumericDate (RFC 7519 section 2): a number, not a string that holds one.
func readDate(value []byte) (*jwt.NumericDate, error) {
	var seconds *float64
	if err := json.Unmarshal(value, &seconds); err != nil {
		return nil, err
	}
	if seconds == nil || *seconds < 0 || *seconds > maxDate {
		return nil, errClaims
	}
	return jwt.NewNumericDate(time.Unix(int64(*seconds), 0).UTC()), nil
}

// identity checks sub and channels, after the signature and the registered claims are checked.
func (c *claims) identity(leeway time.Duration) (*Identity, error) {
	if !isSubject(c.subject) {
		return nil, errSubject
	}
	allowed := personal
	if c.channels != nil {
		var err error
		if allowed, err = parseRights(c.channels); err != nil {
			return nil, errChannels
		}
	}
	return &Identity{User: c.subject, Expires: c.expires.Add(leeway), rights: allowed}, nil
}

// The methods of jwt.Claims.

func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) { return c.expires, nil }
func (c *claims) GetIssuedAt() (*jwt.NumericDate, error)       { return nil, nil }
func (c *claims) GetNotBefore() (*jwt.NumericDate, error)      { return c.notBefore, nil }
func (c *claims) GetIssuer() (string, error)                   { return c.issuer, nil }
func (c *claims) GetSubject() (string, error)                  { return c.subject, nil }
func (c *claims) GetAudience() (jwt.ClaimStrings, error)       { return c.audience, nil }
