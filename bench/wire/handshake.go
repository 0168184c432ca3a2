package wire

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
)

// KeyLen is the length of a Sec-WebSocket-Key: 16 bytes in base64.
const KeyLen = 24

// HeadEnd is what the head of a request or an answer ends with.
var HeadEnd = []byte("\r\n\r\n")

// Handshake makes upgrade requests and checks their answers. One per worker: its memory is reused. Not safe for
// concurrent use.
type Handshake struct {
	request []byte // whole, with the key of the last connection in it
	keyAt   int
	seed    uint64
}

// NewHandshake makes the handshakes of one target; the keys are made of seed.
func NewHandshake(host, path string, seed uint64) *Handshake {
	head := "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
	h := &Handshake{keyAt: len(head), seed: seed}
	h.request = append([]byte(head), make([]byte, KeyLen)...)
	h.request = append(h.request, HeadEnd...)
	return h
}

// RequestFor returns the request of a connection; valid until the next call.
func (h *Handshake) RequestFor(connection int) []byte {
	h.putKey(h.request[h.keyAt:h.keyAt+KeyLen], connection)
	return h.request
}

// putKey writes the connection's key: made of the run's seed and its number, so that it need not be kept until the
// answer comes.
func (h *Handshake) putKey(dst []byte, connection int) {
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:], h.seed)
	binary.BigEndian.PutUint64(raw[8:], uint64(connection))
	base64.StdEncoding.Encode(dst, raw[:])
}

// ErrAccept is about an answer that is not to our request.
var ErrAccept = errors.New("the server's Sec-WebSocket-Accept does not belong to our key")

// Check reads the answer to a connection's request. n is the length of the head, and 0 while it is not whole.
func (h *Handshake) Check(answer []byte, connection int) (n int, err error) {
	end := bytes.Index(answer, HeadEnd)
	if end < 0 {
		const longest = 8 << 10
		if len(answer) > longest {
			return 0, errors.New("the server's answer to the upgrade has no end")
		}
		return 0, nil
	}
	lines := bytes.Split(answer[:end], []byte("\r\n"))
	if !bytes.HasPrefix(lines[0], []byte("HTTP/1.1 101")) {
		return 0, fmt.Errorf("upgrade refused: %q", lines[0])
	}
	var key [KeyLen]byte
	h.putKey(key[:], connection)
	want := AcceptOf(key[:])
	for _, line := range lines[1:] {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("Sec-WebSocket-Accept")) && bytes.Equal(bytes.TrimSpace(value), want[:]) {
			return end + len(HeadEnd), nil
		}
	}
	return 0, ErrAccept
}

// acceptLen is the length of a Sec-WebSocket-Accept: a SHA-1 in base64.
const acceptLen = 28

// AcceptOf is what a server answers to a key (RFC 6455 section 4.2.2).
func AcceptOf(key []byte) (accept [acceptLen]byte) {
	const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
	var keyed [KeyLen + len(guid)]byte
	n := copy(keyed[:], key)
	n += copy(keyed[n:], guid)
	sum := sha1.Sum(keyed[:n])
	base64.StdEncoding.Encode(accept[:], sum[:])
	return accept
}
