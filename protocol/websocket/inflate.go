package websocket

import (
	"compress/flate"
	"errors"
	"io"
)

const (
	// maxInflated bounds an inflated message if [Limits.MaxMessage] is off. The bytes received do not bound the memory then:
	// one byte can inflate to a thousand.
	maxInflated = 16 << 20

	// keepInflated is the largest buffer, in bytes, that an Inflater keeps for the next message. It is the default of the
	// flag -max-message.
	keepInflated = 64 << 10
)

// Inflater inflates messages that permessage-deflate compressed (RFC 7692 section 7.2.2). The gateway asks clients for
// client_no_context_takeover, so no message depends on the one before it. Therefore all connections of a loop share one
// Inflater. The zero value is ready for use; with the first message it grows to 40 KB. Not safe for concurrent use.
type Inflater struct {
	flate io.Reader // also a flate.Resetter
	in    deflatedInput
	out   []byte
	probe [1]byte
}

// inflate returns the inflated form of payload, which is the whole of a compressed message. The result is valid until the
// next call. If it would have more than most bytes, the error is [ErrMessageTooBig]; they are not inflated then.
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

// restart begins a new DEFLATE stream at the current place of the input.
func (z *Inflater) restart() {
	if z.flate == nil {
		z.flate = flate.NewReader(&z.in)
		return
	}
	_ = z.flate.(flate.Resetter).Reset(&z.in, nil) // it never fails
}

func (z *Inflater) readAll(out []byte, most, compressed int) ([]byte, error) {
	for {
		room := out[len(out):min(cap(out), most)]
		switch {
		case len(out) == most:
			room = z.probe[:] // if there is one byte more, the message is too big
		case len(room) == 0:
			// Compressed JSON has about a quarter of its size. If that guess was too small, double the buffer.
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

// deflateTail is what a sender leaves out (RFC 7692 section 7.2.1), followed by an empty final block: without one, flate
// does not end the stream.
const deflateTail = "\x00\x00\xff\xff" + "\x01\x00\x00\xff\xff"

// deflatedInput is the payload of a message, followed by deflateTail. Because it implements io.ByteReader, flate reads no
// byte that it does not need.
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

// complete reports whether the end of a stream here is also the end of the message. That is so after all of the tail, or
// at the end of a payload that needed no tail.
func (in *deflatedInput) complete() bool {
	return in.read == len(in.payload) && (in.tail == 0 || in.tail == len(deflateTail))
}
