package websocket

import (
	"compress/flate"
	"errors"
	"io"
)

const (
	// maxInflated bounds an inflated message when [Limits.MaxMessage] is off: the bytes that were received no longer
	// bound the memory, a thousand may come out of each.
	maxInflated = 16 << 20

	// keepInflated is the largest buffer that an Inflater keeps for the next message: the default of MaxMessage.
	keepInflated = 64 << 10
)

// Inflater undoes permessage-deflate (RFC 7692 section 7.2.2). No message needs the one before it, as
// client_no_context_takeover has it, so one Inflater serves all connections of a loop and a connection holds nothing
// of it. The zero value is ready; the first message makes it 40 KB. Not safe for concurrent use.
type Inflater struct {
	flate io.Reader // a flate.Resetter, too
	in    deflatedInput
	out   []byte
	probe [1]byte
}

// inflate returns what payload, the whole of a compressed message, stands for. It is valid until the next call. More
// than most bytes end with [ErrMessageTooBig] before they are made.
func (z *Inflater) inflate(payload []byte, most int) ([]byte, error) {
	if most <= 0 {
		most = maxInflated
	}
	z.in = deflatedInput{payload: payload}
	z.restart()
	out, err := z.readAll(z.out[:0], most, len(payload))
	z.in = deflatedInput{}
	if z.out = out; cap(out) > keepInflated {
		z.out = nil
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// restart reads a new DEFLATE stream where the input is.
func (z *Inflater) restart() {
	if z.flate == nil {
		z.flate = flate.NewReader(&z.in)
		return
	}
	_ = z.flate.(flate.Resetter).Reset(&z.in, nil) // fails never
}

func (z *Inflater) readAll(out []byte, most, compressed int) ([]byte, error) {
	for {
		room := out[len(out):min(cap(out), most)]
		switch {
		case len(out) == most:
			room = z.probe[:] // one byte more, wherever it goes, is one too many
		case len(room) == 0:
			// JSON shrinks to a quarter or so; beyond that it is doubled, as in append.
			grown := make([]byte, len(out), min(most, max(2*cap(out), 4*compressed, 512)))
			copy(grown, out)
			out = grown
			continue
		}
		n, err := z.flate.Read(room)
		if n > 0 && len(out) == most {
			return out, ErrMessageTooBig
		}
		out = out[:len(out)+n]
		switch {
		case err == nil:
		case !errors.Is(err, io.EOF):
			return out, ErrInflate
		case z.in.complete():
			return out, nil
		default: // a block with BFINAL ends a stream, but not the message (RFC 7692 section 7.2.3.4)
			z.restart()
		}
	}
}

// deflateTail is what a sender leaves out (RFC 7692 section 7.2.1), and behind it an empty block that ends the
// stream: flate knows no other end.
const deflateTail = "\x00\x00\xff\xff" + "\x01\x00\x00\xff\xff"

// deflatedInput is the payload of a message and then deflateTail. Because it reads by bytes, flate takes none that
// it does not need.
type deflatedInput struct {
	payload []byte
	tail    int // bytes of deflateTail that were read
	read    int // bytes of payload that were read
}

func (in *deflatedInput) ReadByte() (byte, error) {
	switch {
	case in.read < len(in.payload):
		in.read++
		return in.payload[in.read-1], nil
	case in.tail < len(deflateTail):
		in.tail++
		return deflateTail[in.tail-1], nil
	default:
		return 0, io.EOF
	}
}

func (in *deflatedInput) Read(p []byte) (n int, err error) {
	if in.read < len(in.payload) {
		n = copy(p, in.payload[in.read:])
		in.read += n
		return n, nil
	}
	n = copy(p, deflateTail[in.tail:])
	if in.tail += n; n == 0 && len(p) > 0 {
		err = io.EOF
	}
	return n, err
}

// complete reports whether a stream that ended here ended the message: behind the tail, or with the payload, which
// then needed no tail.
func (in *deflatedInput) complete() bool {
	return in.read == len(in.payload) && (in.tail == 0 || in.tail == len(deflateTail))
}
