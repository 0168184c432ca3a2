package protocol

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/gobwas/ws"
	"github.com/valyala/bytebufferpool"

	"github.com/carillon-ws/carillon/protocol/websocket"
)

// Form is one encoding of a message. A connection has one form for as long as it is open.
type Form uint8

// The forms.
const (
	Plain    Form = iota // JSON in one WebSocket text frame
	Deflated             // the same frame compressed (RFC 7692), if that makes it smaller

	Forms = iota // the number of forms
)

// Frame is one message to clients. It is encoded once and never changed. Any number of connections on any number of loops
// share it by reference. It is made in its plain form, which most connections have; [Frame.In] returns the others.
type Frame struct {
	bytes   []byte
	channel string
	others  atomic.Pointer[otherForms] // nil until [Frame.In] makes the first of them
}

// otherForms are the encodings of a Frame other than the plain one. They do not refer to the plain one, so a backlog that
// holds one form keeps no other in memory.
type otherForms [Forms - 1]struct {
	once  sync.Once
	frame Frame // bytes is nil if this form is the same as the plain one
}

// onlyPlain is the value of Frame.others for frames that have no other form.
var onlyPlain = &otherForms{}

// encoders make the other forms from the plain one.
var encoders = [Forms - 1]struct {
	applies func(plain []byte) bool   // reports whether encode may return something; it is called for each [Frame.In]
	encode  func(plain []byte) []byte // returns nil if the form is the same as the plain one
}{
	Deflated - 1: {websocket.Compressible, websocket.Deflate},
}

// Bytes returns the frame as it is sent. The slice is shared: do not change it.
func (f *Frame) Bytes() []byte { return f.bytes }

// Len returns the frame's size on the wire in bytes.
func (f *Frame) Len() int { return len(f.bytes) }

// Channel returns the channel of a notification, in its short form. It is empty for every other frame. A frame with a
// channel may be dropped from a slow consumer's backlog, which makes a gap; a frame without one may not.
func (f *Frame) Channel() string { return f.channel }

// In returns the message in another form, with the same channel. If that form is the same as the plain one, In returns f.
// The first call for a form encodes it, and calls at the same time wait for that; later calls cost a load. To the frame
// that In returns, In makes no difference: it returns that frame.
//
// Safe to call from any goroutine.
func (f *Frame) In(form Form) *Frame {
	if form == Plain {
		return f
	}
	encoder := &encoders[form-1]
	others := f.others.Load()
	if others == onlyPlain || !encoder.applies(f.bytes) {
		return f
	}
	if others == nil {
		others = new(otherForms)
		if !f.others.CompareAndSwap(nil, others) {
			others = f.others.Load()
		}
	}
	other := &others[form-1]
	other.once.Do(func() {
		other.frame.bytes, other.frame.channel = encoder.encode(f.bytes), f.channel
		other.frame.others.Store(onlyPlain)
	})
	if other.frame.bytes == nil {
		return f
	}
	return &other.frame
}

// NewNotification encodes a publication, with the frame header, as one slice. takenAt is when the gateway took the
// publication from Redis, in Unix milliseconds. replaced is how many bytes of data were not UTF-8.
func NewNotification(channel, data string, takenAt int64) (f *Frame, replaced int) {
	m := Message{Type: MessageNotification, Channel: channel, Data: data, Timestamp: takenAt}
	f, replaced = newFrame(&m)
	f.channel = channel
	return f, replaced
}

// NewFrame encodes any other message as a Frame.
func NewFrame(m *Message) *Frame {
	f, _ := newFrame(m)
	return f
}

// FrameOf copies bytes that are already framed into a Frame, so that a backlog can keep them. They may be the rest of a
// frame, or several frames, in any form; the Frame has no other form. channel is set for a notification, else empty.
func FrameOf(framed []byte, channel string) *Frame {
	f := &Frame{bytes: append(make([]byte, 0, len(framed)), framed...), channel: channel}
	f.others.Store(onlyPlain)
	return f
}

func newFrame(m *Message) (*Frame, int) {
	scratch := bytebufferpool.Get()
	// The pool keeps no buffers that are larger than usual. So a long message gets a buffer that is too small: make room
	// for it and some escapes at once, which is cheaper than to double several times.
	const long = 1024
	if n := len(m.Data); n > long {
		scratch.B = slices.Grow(scratch.B[:0], n+n/4)
	}
	payload, replaced := AppendMessage(scratch.B[:0], m)
	exact := make([]byte, 0, websocket.HeaderSize(len(payload))+len(payload))
	exact = websocket.AppendHeader(exact, ws.OpText, len(payload))
	exact = append(exact, payload...)
	scratch.B = payload
	bytebufferpool.Put(scratch)
	return &Frame{bytes: exact}, replaced
}

// AppendMessageFrame appends m as a text frame. It is for answers, which go to one connection.
func AppendMessageFrame(dst []byte, m *Message) []byte {
	// The header's size is known after the payload is encoded: leave room for a short one, and move a longer payload.
	const room = 2
	at := len(dst)
	dst = append(dst, make([]byte, room)...)
	dst, _ = AppendMessage(dst, m)
	n := len(dst) - at - room
	if grow := websocket.HeaderSize(n) - room; grow > 0 {
		dst = append(dst, make([]byte, grow)...)
		copy(dst[at+room+grow:], dst[at+room:at+room+n])
	}
	websocket.AppendHeader(dst[:at], ws.OpText, n)
	return dst
}
