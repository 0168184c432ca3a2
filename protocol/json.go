package protocol

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is the deepest nesting that a command may have, its own braces included. Commands are flat; the limit bounds the
// recursion that a hostile client can cause.
const maxDepth = 8

// scanner checks JSON (RFC 8259) without building values. It accepts what encoding/json accepts, with two exceptions:
// nesting beyond maxDepth, and surrogates that are not a pair. Those cannot be written in UTF-8, so two programs could read
// two different names in them.
type scanner struct {
	src []byte
	pos int
}

// space skips white space.
func (s *scanner) space() {
	for s.pos < len(s.src) {
		switch s.src[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// take skips c and the white space around it, if c is next.
func (s *scanner) take(c byte) bool {
	s.space()
	if s.pos == len(s.src) || s.src[s.pos] != c {
		return false
	}
	s.pos++
	s.space()
	return true
}

// value skips one value and returns its text, or nil if it is malformed. depth is how many objects and arrays the value is
// in.
func (s *scanner) value(depth int) []byte {
	from := s.pos
	if from == len(s.src) {
		return nil
	}
	ok := false
	switch s.src[from] {
	case '"':
		ok = s.str()
	case '{':
		ok = depth < maxDepth && s.object(depth+1)
	case '[':
		ok = depth < maxDepth && s.array(depth+1)
	case 't':
		ok = s.literal("true")
	case 'f':
		ok = s.literal("false")
	case 'n':
		ok = s.literal("null")
	default:
		ok = s.number()
	}
	if !ok {
		return nil
	}
	return s.src[from:s.pos]
}

func (s *scanner) object(depth int) bool {
	if !s.take('{') {
		return false
	}
	if s.take('}') {
		return true
	}
	for {
		key, value := s.member(depth)
		if key == nil || value == nil {
			return false
		}
		if !s.take(',') {
			return s.end('}')
		}
	}
}

// member skips a name and its value, and returns their texts. One of them is nil if it is malformed.
func (s *scanner) member(depth int) (key, value []byte) {
	from := s.pos
	if !s.str() {
		return nil, nil
	}
	key = s.src[from:s.pos]
	if !s.take(':') {
		return nil, nil
	}
	return key, s.value(depth)
}

func (s *scanner) array(depth int) bool {
	if !s.take('[') {
		return false
	}
	if s.take(']') {
		return true
	}
	for {
		if s.value(depth) == nil {
			return false
		}
		if !s.take(',') {
			return s.end(']')
		}
	}
}

// end skips c if c is next. Unlike take it leaves the white space.
func (s *scanner) end(c byte) bool {
	if s.pos == len(s.src) || s.src[s.pos] != c {
		return false
	}
	s.pos++
	return true
}

func (s *scanner) literal(word string) bool {
	if !bytes.HasPrefix(s.src[s.pos:], []byte(word)) {
		return false
	}
	s.pos += len(word)
	return true
}

// number skips a number (RFC 8259 section 6).
func (s *scanner) number() bool {
	s.end('-')
	if !s.end('0') && !s.digits() {
		return false
	}
	if s.end('.') && !s.digits() {
		return false
	}
	if s.end('e') || s.end('E') {
		if !s.end('+') {
			s.end('-')
		}
		return s.digits()
	}
	return true
}

func (s *scanner) digits() bool {
	from := s.pos
	for s.pos < len(s.src) && s.src[s.pos] >= '0' && s.src[s.pos] <= '9' {
		s.pos++
	}
	return s.pos > from
}

// str skips a string with its quotes.
func (s *scanner) str() bool {
	if s.pos == len(s.src) || s.src[s.pos] != '"' {
		return false
	}
	for i := s.pos + 1; i < len(s.src); {
		switch c := s.src[i]; {
		case c == '"':
			s.pos = i + 1
			return true
		case c < ' ':
			return false
		case c == '\\':
			_, n := unescape(s.src[i:])
			if n == 0 {
				return false
			}
			i += n
		default:
			i++
		}
	}
	return false
}

// unescape reads the escape sequence at the start of src; a surrogate pair is one sequence. n is its length, 0 if it is
// malformed.
func unescape(src []byte) (r rune, n int) {
	if len(src) < 2 {
		return 0, 0
	}
	switch src[1] {
	case '"', '\\', '/':
		return rune(src[1]), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		r = hex4(src[2:])
		switch {
		case r < 0:
			return 0, 0
		case !utf16.IsSurrogate(r):
			return r, 6
		case len(src) < 12 || src[6] != '\\' || src[7] != 'u':
			return 0, 0
		}
		if r = utf16.DecodeRune(r, hex4(src[8:])); r == utf8.RuneError {
			return 0, 0
		}
		return r, 12
	default:
		return 0, 0
	}
}

// hex4 reads four hexadecimal digits. It returns -1 if src does not begin with them.
func hex4(src []byte) rune {
	if len(src) < 4 {
		return -1
	}
	var r rune
	for _, c := range src[:4] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return -1
		}
	}
	return r
}

// appendUnquoted appends the text of a string that the scanner has accepted, without quotes and escapes.
func appendUnquoted(dst, quoted []byte) []byte {
	text := quoted[1 : len(quoted)-1]
	for {
		at := bytes.IndexByte(text, '\\')
		if at < 0 {
			return append(dst, text...)
		}
		dst = append(dst, text[:at]...)
		r, n := unescape(text[at:])
		dst = utf8.AppendRune(dst, r)
		text = text[at+n:]
	}
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string (RFC 8259 section 7). Each byte that is not UTF-8 becomes U+FFFD, as in
// encoding/json; replaced is how many there were.
func appendString(dst []byte, s string) (out []byte, replaced int) {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			dst = append(dst, s[start:i]...)
			dst = appendEscape(dst, c)
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			dst = append(dst, s[start:i]...)
			dst = append(dst, "\ufffd"...)
			replaced++
			i++
			start = i
			continue
		}
		i += size
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"'), replaced
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	default:
		return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
	}
}
