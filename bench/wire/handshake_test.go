package wire

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestAcceptOf(t *testing.T) {
	t.Parallel()
	// The example of RFC 6455 section 1.3.
	if got := AcceptOf([]byte("dGhlIHNhbXBsZSBub25jZQ==")); string(got[:]) != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Errorf("acceptOf = %s", got)
	}
}

func TestHandshakeCheck(t *testing.T) {
	t.Parallel()
	h := NewHandshake("example.org", "/ws", 7)
	request := bytes.Clone(h.RequestFor(3))
	_, key, _ := bytes.Cut(request, []byte("Sec-WebSocket-Key: "))
	accept := AcceptOf(key[:KeyLen])
	good := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nsec-websocket-ACCEPT:  " + string(accept[:]) + "\r\nConnection: Upgrade\r\n\r\n"

	if n, err := h.Check([]byte(good+"\x81\x00"), 3); n != len(good) || err != nil {
		t.Errorf("check = %d, %v, want %d, nil", n, err, len(good))
	}
	for cut := range good {
		if n, err := h.Check([]byte(good[:cut]), 3); n != 0 || err != nil {
			t.Fatalf("check of the first %d bytes = %d, %v, want to wait for more", cut, n, err)
		}
	}
	if _, err := h.Check([]byte(good), 4); !errors.Is(err, ErrAccept) {
		t.Errorf("check of another connection's answer = %v, want %v", err, ErrAccept)
	}
	if _, err := h.Check([]byte("HTTP/1.1 101 ok\r\n\r\n"), 3); !errors.Is(err, ErrAccept) {
		t.Errorf("check without an accept = %v, want %v", err, ErrAccept)
	}
	if _, err := h.Check([]byte("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\r\n"), 3); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("check of a refusal = %v, want it to name the status", err)
	}
	if _, err := h.Check(bytes.Repeat([]byte("x"), 9<<10), 3); err == nil {
		t.Error("check of an endless head waits for more, want an error")
	}
}
