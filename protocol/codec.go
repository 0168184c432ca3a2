package protocol

import (
	"bytes"
	"errors"
	"strconv"
	"unicode/utf8"
)

// Why a message from a client is refused. The client gets an error message with the text, and the connection stays open.
var (
	ErrBadJSON    = errors.New("not a JSON object")
	ErrBadType    = errors.New(`"type" must be subscribe, unsubscribe, ping or auth`)
	ErrBadChannel = errors.New(`"channel" must be a string, "channels" an array of strings`)
	ErrBadID      = errors.New(`"id" must be a string or a number of at most 64 bytes`)
	ErrBadToken   = errors.New(`"token" must be a string`)
)

// MaxIDBytes is the longest "id" that a command may have, as raw JSON.
const MaxIDBytes = 64

// Decoder decodes the messages of clients. A loop has one for all its connections, and its memory is reused: decoding does
// not allocate once the memory is large enough. Not safe for concurrent use.
type Decoder struct {
	cmd  Command
	text []byte // what the slices of cmd point to
}

// fields holds the JSON of the members that a command may have, nil if absent. If a member comes twice the last one
// counts, as in JSON.parse and encoding/json.
type fields struct {
	typ, id, channel, channels, token []byte
}

// Decode reads one text message, which must be UTF-8. The command is valid until the next call; msg is not kept. If the
// error is not nil, the command has the "id", if that could be read. [ErrorCodeOf] returns the code of the error message.
//
// Unknown members are ignored. Two things are refused that encoding/json accepts: nesting deeper than 8, and escapes of
// surrogates that are not a pair.
func (d *Decoder) Decode(msg []byte) (*Command, error) {
	d.cmd, d.text = Command{Channels: d.cmd.Channels[:0]}, d.text[:0]
	f, ok := d.scan(msg)
	if !ok {
		return &d.cmd, ErrBadJSON
	}
	if err := d.decodeID(f.id); err != nil {
		return &d.cmd, err
	}
	if err := d.decodeType(f.typ); err != nil {
		return &d.cmd, err
	}
	switch d.cmd.Type {
	case CommandSubscribe, CommandUnsubscribe:
		return &d.cmd, d.decodeChannels(f)
	case CommandAuth:
		if !isString(f.token) {
			return &d.cmd, ErrBadToken
		}
		d.cmd.Token = d.unquote(f.token)
	default: // a ping has no other members
	}
	return &d.cmd, nil
}

// scan checks that msg is one JSON object and nothing else, and finds the known members.
func (d *Decoder) scan(msg []byte) (f fields, ok bool) {
	s := scanner{src: msg}
	if !s.take('{') {
		return f, false
	}
	if !s.take('}') {
		for {
			key, value := s.member(1)
			if key == nil || value == nil {
				return f, false
			}
			d.set(&f, key, value)
			if !s.take(',') {
				break
			}
		}
		if !s.take('}') {
			return f, false
		}
	}
	return f, s.pos == len(msg)
}

func (d *Decoder) set(f *fields, key, value []byte) {
	name := key[1 : len(key)-1]
	if bytes.IndexByte(name, '\\') >= 0 {
		name = d.unquote(key)
	}
	switch string(name) {
	case "type":
		f.typ = value
	case "id":
		f.id = value
	case "channel":
		f.channel = value
	case "channels":
		f.channels = value
	case "token":
		f.token = value
	}
}

// unquote returns the text of a JSON string, in memory of the decoder.
func (d *Decoder) unquote(quoted []byte) []byte {
	from := len(d.text)
	d.text = appendUnquoted(d.text, quoted)
	return d.text[from:len(d.text):len(d.text)]
}

func isString(value []byte) bool { return len(value) > 0 && value[0] == '"' }

func (d *Decoder) decodeType(value []byte) error {
	if !isString(value) {
		return ErrBadType
	}
	switch string(d.unquote(value)) {
	case "subscribe":
		d.cmd.Type = CommandSubscribe
	case "unsubscribe":
		d.cmd.Type = CommandUnsubscribe
	case "ping":
		d.cmd.Type = CommandPing
	case "auth":
		d.cmd.Type = CommandAuth
	default:
		return ErrBadType
	}
	return nil
}

func (d *Decoder) decodeID(value []byte) error {
	if value == nil || value[0] == 'n' {
		return nil
	}
	if len(value) > MaxIDBytes || !utf8.Valid(value) {
		return ErrBadID
	}
	switch c := value[0]; {
	case c == '"':
	case c == '-' || c >= '0' && c <= '9':
		// 1e999 is JSON, but JSON.parse makes Infinity of it: a client could not compare the answer's "id" with its own.
		if _, err := strconv.ParseFloat(string(value), 64); err != nil {
			return ErrBadID
		}
	default:
		return ErrBadID
	}
	from := len(d.text)
	d.text = append(d.text, value...)
	d.cmd.ID = d.text[from:len(d.text):len(d.text)]
	return nil
}

func (d *Decoder) decodeChannels(f fields) error {
	if f.channels != nil {
		s := scanner{src: f.channels}
		if !s.take('[') {
			return ErrBadChannel
		}
		for s.src[s.pos] != ']' {
			item := s.value(1)
			if !isString(item) {
				return ErrBadChannel
			}
			d.cmd.Channels = append(d.cmd.Channels, d.unquote(item))
			s.take(',')
		}
	}
	if f.channel != nil {
		if !isString(f.channel) {
			return ErrBadChannel
		}
		d.cmd.Channels = append(d.cmd.Channels, d.unquote(f.channel))
	}
	if len(d.cmd.Channels) == 0 {
		return ErrBadChannel
	}
	return nil
}

// AppendMessage appends m as one JSON object. The order of the fields is fixed, so equal messages are equal bytes.
// replaced is how many bytes of Data were not UTF-8 and became U+FFFD.
func AppendMessage(dst []byte, m *Message) (out []byte, replaced int) {
	dst = append(dst, `{"type":"`...)
	dst = append(dst, m.Type...)
	dst = append(dst, '"')
	if len(m.ID) > 0 {
		dst = append(dst, `,"id":`...)
		dst = append(dst, m.ID...)
	}
	dst = appendField(dst, "clientId", m.ClientID)
	dst = appendField(dst, "userId", m.UserID)
	dst = appendField(dst, "channel", m.Channel)
	if m.Type == MessageNotification {
		dst = append(dst, `,"data":`...)
		dst, replaced = appendString(dst, m.Data)
	}
	dst = appendField(dst, "code", string(m.Code))
	dst = appendField(dst, "message", m.Text)
	dst = appendField(dst, "reason", string(m.Reason))
	if m.Dropped > 0 {
		dst = append(dst, `,"dropped":`...)
		dst = strconv.AppendUint(dst, m.Dropped, 10)
	}
	if m.ExpiresAt != 0 {
		dst = append(dst, `,"expiresAt":`...)
		dst = strconv.AppendInt(dst, m.ExpiresAt, 10)
	}
	if m.HeartbeatMs != 0 {
		dst = append(dst, `,"heartbeatMs":`...)
		dst = strconv.AppendInt(dst, m.HeartbeatMs, 10)
	}
	dst = append(dst, `,"timestamp":`...)
	dst = strconv.AppendInt(dst, m.Timestamp, 10)
	return append(dst, '}'), replaced
}

func appendField(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	dst = append(dst, ',', '"')
	dst = append(dst, name...)
	dst = append(dst, '"', ':')
	dst, _ = appendString(dst, value)
	return dst
}
