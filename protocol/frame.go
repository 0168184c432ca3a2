package protocol

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/gobwas/ws"
	"github.com/valyala/bytebufferpool"

	"github.com/carillon-ws/carillon/protocol/websocket"
)

// Form is one encoding of a message. Every connection takes one form for as long as it is open.
type Form uint8

// The forms.
const (
	Plain    Form = iota // JSON in one WebSocket text frame
	Deflated             // the same frame compressed (RFC 7692), if that makes it smaller

	Forms = iota // how many there are
)

// Frame is one message to clients, made once and never changed. Any number of connections on any number of loops
// share it by reference. It is made in its plain form, which nearly every connection takes; see [Frame.In] for others.
type Frame struct {
	bytes   []byte
	channel string
	others  atomic.Pointer[otherForms] // nil until one of them is asked for
}

// otherForms are the encodings of a Frame other than the plain one. They do not refer to the frame they were made of:
// a backlog that holds one form does not hold another.
type otherForms [Forms - 1]struct {
	once  sync.Once
	frame Frame // without bytes: in this form the message is the same as in the plain one
}

// onlyPlain stands for the other forms of frames that have none.
var onlyPlain = &otherForms{}

// encoders make a form of the plain one; nil is the plain one itself.
var encoders = [Forms - 1]func(plain []byte) []byte{
	Deflated - 1: websocket.Deflate,
}

// Bytes returns the frame as it goes on the wire. The slice is shared: do not change it.
func (f *Frame) Bytes() []byte { return f.bytes }

// Len is the frame's size on the wire in bytes.
func (f *Frame) Len() int { return len(f.bytes) }

// Channel is the channel of a notification, in its short form, and empty for every other frame. A frame with a
// channel may be dropped from a slow consumer's backlog (and told as a gap); one without may not.
func (f *Frame) Channel() string { return f.channel }

// In returns the message in a form: f itself if that is no different from the plain one. It is encoded once, by whoever
// asks first, while others who ask at the same time wait; from then on it costs a load. The result is of the same
// channel, and asking it for its own form gives itself.
//
// Safe to call from any goroutine.
func (f *Frame) In(form Form) *Frame {
	if form == Plain {
		return f
	}
	others := f.others.Load()
	switch {
	case others == onlyPlain, others == nil && !websocket.Compressible(f.bytes):
		return f
	case others == nil:
		others = new(otherForms)
		if !f.others.CompareAndSwap(nil, others) {
			others = f.others.Load()
		}
	}
	other := &others[form-1]
	other.once.Do(func() {
		other.frame.bytes, other.frame.channel = encoders[form-1](f.bytes), f.channel
		other.frame.others.Store(onlyPlain)
	})
	if other.frame.bytes == nil {
		return f
	}
	return &other.frame
}

// NewNotification encodes a publication: envelope and frame header in one piece of memory. takenAt is when the gateway
// took it from Redis, in Unix milliseconds. replaced counts the bytes of data that were not UTF-8.
func NewNotification(channel, data string, takenAt int64) (f *Frame, replaced int) {
	m := Message{Type: MessageNotification, Channel: channel, Data: data, Timestamp: takenAt}
	f, replaced = newFrame(&m)
	f.channel = channel
	return f, replaced
}

// NewFrame encodes any other message as a frame that can be shared and kept.
func NewFrame(m *Message) *Frame {
	f, _ := newFrame(m)
	return f
}

// FrameOf copies bytes that are already framed into a Frame of their own, for a backlog to keep. They may be the rest
// of a frame, or several, of whatever form: they have no other. channel is that of a notification, else empty.
func FrameOf(framed []byte, channel string) *Frame {
	f := &Frame{bytes: append(make([]byte, 0, len(framed)), framed...), channel: channel}
	f.others.Store(onlyPlain)
	return f
}

func newFrame(m *Message) (*Frame, int) {
	scratch := bytebufferpool.Get()
	// The pool gives back no buffer over the size that is usual, so an unusually long message comes to a short one:
	// make room for it and some escapes at once, instead of by doubling.
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

// AppendMessageFrame appends m as a text frame, for answers that are written at once and never kept.
func AppendMessageFrame(dst []byte, m *Message) []byte {
	// The header's size is known only after the payload: leave room for the usual one and move what is longer.
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
