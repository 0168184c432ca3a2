package http1

import "github.com/gobwas/ws"

// deflateAnswer is the answer to the offers of permessage-deflate (RFC 7692 section 7.1).
type deflateAnswer uint8

const (
	deflateDeclined deflateAnswer = iota
	deflateAccepted
	deflateAcceptedWindow // the offer has server_max_window_bits, so the answer must have it too (section 7.1.2.1)
)

// Neither side keeps its window from one message to the next. So a message is compressed once for all its receivers, and a
// connection needs no memory for compression. A server may ask that of a client that did not offer it.
const deflateHeader = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover"

var (
	deflateAcceptedHeader       = ws.HandshakeHeaderString(deflateHeader + "\r\n")
	deflateAcceptedWindowHeader = ws.HandshakeHeaderString(deflateHeader + "; server_max_window_bits=15\r\n")
)

// header returns the header of the 101 for the answer, nil if there is none.
func (a deflateAnswer) header() ws.HandshakeHeader {
	switch a {
	case deflateAccepted:
		return &deflateAcceptedHeader
	case deflateAcceptedWindow:
		return &deflateAcceptedWindowHeader
	default:
		return nil
	}
}

// answerExtensions reads one Sec-WebSocket-Extensions header and answers the first offer in it that can be accepted. An
// offer with a parameter that is unknown, comes twice or has a wrong value is declined, as RFC 7692 section 7.1 asks. A
// header that does not follow the grammar is an error (RFC 6455 section 9.1).
func answerExtensions(list []byte) (answer deflateAnswer, err error) {
	p := extensionParser{list}
	for {
		for p.take(',') { // empty elements (RFC 9110 section 5.6.1.2)
		}
		if len(p.rest) == 0 {
			return answer, nil
		}
		one, ok := p.extension()
		if !ok {
			return deflateDeclined, errHead
		}
		if answer == deflateDeclined {
			answer = one
		}
		if len(p.rest) > 0 && p.rest[0] != ',' {
			return deflateDeclined, errHead
		}
	}
}

// extensionParser reads the grammar of RFC 6455 section 9.1. White space may be between any two parts.
type extensionParser struct {
	rest []byte
}

func (p *extensionParser) extension() (answer deflateAnswer, ok bool) {
	name, ok := p.token()
	if !ok {
		return deflateDeclined, false
	}
	var offer deflateOffer
	good := string(name) == "permessage-deflate"
	for p.take(';') {
		param, ok := p.token()
		if !ok {
			return deflateDeclined, false
		}
		var value parameter
		if p.take('=') {
			if value, ok = p.value(); !ok {
				return deflateDeclined, false
			}
		}
		good = good && offer.add(param, value)
	}
	switch {
	case !good:
		return deflateDeclined, true
	case offer.seen&seenServerBits != 0:
		return deflateAcceptedWindow, true
	default:
		return deflateAccepted, true
	}
}

// take skips c and the white space around it, if c is next.
func (p *extensionParser) take(c byte) bool {
	p.rest = trimSpace(p.rest)
	if len(p.rest) == 0 || p.rest[0] != c {
		return false
	}
	p.rest = trimSpace(p.rest[1:])
	return true
}

func (p *extensionParser) token() (token []byte, ok bool) {
	n := 0
	for n < len(p.rest) && byteClass[p.rest[n]]&tokenByte != 0 {
		n++
	}
	token, p.rest = p.rest[:n], trimSpace(p.rest[n:])
	return token, n > 0
}

// parameter is the value of an extension's parameter. Valid values have one or two digits, so two bytes are kept.
type parameter struct {
	given bool
	n     int // the length of the value, also if text has only a part of it
	text  [2]byte
}

func (v *parameter) add(c byte) {
	if v.n < len(v.text) {
		v.text[v.n] = c
	}
	v.n++
}

// value reads a token or a quoted string.
func (p *extensionParser) value() (v parameter, ok bool) {
	v.given = true
	if len(p.rest) == 0 || p.rest[0] != '"' {
		token, ok := p.token()
		for _, c := range token {
			v.add(c)
		}
		return v, ok
	}
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; c {
		case '"':
			p.rest = trimSpace(p.rest[i+1:])
			return v, true
		case '\\':
			if i++; i < len(p.rest) {
				v.add(p.rest[i])
			}
		default:
			v.add(c)
		}
	}
	return v, false
}

// bits reads a window size: 8 to 15, without a leading zero (RFC 7692 section 7.1.2).
func (v *parameter) bits() (bits int, ok bool) {
	switch {
	case v.n == 1 && (v.text[0] == '8' || v.text[0] == '9'):
		return int(v.text[0] - '0'), true
	case v.n == 2 && v.text[0] == '1' && v.text[1] >= '0' && v.text[1] <= '5':
		return 10 + int(v.text[1]-'0'), true
	default:
		return 0, false
	}
}

// deflateOffer is one offer of permessage-deflate.
type deflateOffer struct {
	seen uint8 // bits of the parameters that have come; none may come twice
}

const (
	seenServerTakeover = 1 << iota
	seenClientTakeover
	seenServerBits
	seenClientBits
)

// add adds a parameter to the offer, and reports whether the offer can be accepted with it.
func (o *deflateOffer) add(name []byte, value parameter) (ok bool) {
	var bit uint8
	switch string(name) {
	case "server_no_context_takeover":
		bit, ok = seenServerTakeover, !value.given
	case "client_no_context_takeover":
		bit, ok = seenClientTakeover, !value.given
	case "server_max_window_bits": // it always has a value; compress/flate has only the largest window
		bits, is := value.bits()
		bit, ok = seenServerBits, is && bits == 15
	case "client_max_window_bits": // it may have no value; any is accepted, because the Inflater has the largest window
		_, is := value.bits()
		bit, ok = seenClientBits, is || !value.given
	}
	ok = ok && o.seen&bit == 0
	o.seen |= bit
	return ok
}
