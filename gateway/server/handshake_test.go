package server

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/gobwas/ws"
	"github.com/google/uuid"
)

func TestHandshakeByteByByte(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, nil)
	p := dialRaw(t, s)
	all := handshake + clientFrame(true, ws.OpText, `{"type":"subscribe","channel":"a"}`)
	for i := range len(all) {
		p.write(all[i : i+1])
	}
	p.wantStatus(http.StatusSwitchingProtocols)
	p.want("connected")
	p.want("subscribed")
	for _, lp := range s.loops {
		onLoop(t, lp, func() {
			for slot := uint32(1); slot <= lp.conns.used; slot++ {
				if c := lp.conns.at(slot); c.ext != nil {
					t.Errorf("an idle connection keeps %+v", *c.ext)
				}
			}
		})
	}
}

func TestHandshakeSplitAnywhere(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.Loops = 1 })
	all := handshake + clientFrame(true, ws.OpText, `{"type":"ping","id":7}`)
	for at := 1; at < len(all); at += 3 {
		p := dialRaw(t, s)
		p.write(all[:at])
		onLoop(t, s.loops[0], func() {}) // the loop has most probably read the first part by now
		p.write(all[at:])
		p.wantStatus(http.StatusSwitchingProtocols)
		p.want("connected")
		if m := p.want("pong"); string(m.ID) != "7" {
			t.Fatalf("cut at %d: pong %+v", at, m)
		}
	}
}

func TestFirstFramesInTheSegmentOfTheHandshake(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, nil)
	p := dialRaw(t, s)
	p.write(handshake +
		clientFrame(true, ws.OpText, `{"type":"subscribe","channel":"a"}`) +
		clientFrame(true, ws.OpPing, "x") +
		clientFrame(false, ws.OpText, `{"type":`))
	p.wantStatus(http.StatusSwitchingProtocols)
	p.want("connected")
	p.want("subscribed")
	p.wantOp(ws.OpPong, "x")
	p.write(clientFrame(true, ws.OpContinuation, `"ping"}`))
	p.want("pong")
}

func TestHandshakeAndCloseInOneSegment(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, nil)
	p := dialRaw(t, s)
	p.write(handshake + closeFrame(ws.StatusNormalClosure, "already"))
	p.wantStatus(http.StatusSwitchingProtocols)
	p.want("connected")
	p.wantClose(ws.StatusNormalClosure)
}

func TestRefusedRequests(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, nil)
	const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for _, tc := range []struct {
		name, request string
		status        int
		body          string
	}{
		{"plain GET", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", http.StatusUpgradeRequired, "WebSocket"},
		{"plain GET on /ws", "GET /ws HTTP/1.1\r\nHost: a\r\n\r\n", http.StatusUpgradeRequired, "WebSocket"},
		{"other path", "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", http.StatusNotFound, ""},
		{"other method", "POST /ws HTTP/1.1\r\nHost: a\r\n\r\n", http.StatusMethodNotAllowed, ""},
		{"body", "GET /ws HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", http.StatusBadRequest, ""},
		{"foreign origin", strings.Replace(handshake, key, key+"Origin: https://evil.example\r\n", 1), http.StatusForbidden, ""},
		{"no key", strings.Replace(handshake, key, "", 1), http.StatusBadRequest, ""},
		{"TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", http.StatusBadRequest, ""},
		{"long head", "GET / HTTP/1.1\r\nX: " + strings.Repeat("a", maxHead) + "\r\n\r\n", http.StatusRequestHeaderFieldsTooLarge, ""},
		{"endless line", "GET /" + strings.Repeat("a", maxHead), http.StatusRequestURITooLong, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := dialRaw(t, s)
			p.write(tc.request)
			r, body := p.response()
			if r.StatusCode != tc.status || !strings.Contains(body, tc.body) {
				t.Errorf("status %d %q, want %d %q", r.StatusCode, body, tc.status, tc.body)
			}
			p.wantEOF()
		})
	}
}

// A head that is too long is answered so that a client that is still writing reads the answer.
func TestHeadWithoutEnd(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, nil)
	p := dialRaw(t, s)
	go func() {
		_, _ = io.WriteString(p.nc, "GET / HTTP/1.1\r\n")
		for {
			if _, err := io.WriteString(p.nc, "X: "+strings.Repeat("a", 4096)+"\r\n"); err != nil {
				return
			}
		}
	}()
	p.wantStatus(http.StatusRequestHeaderFieldsTooLarge)
	eventually(t, "the socket is given back", func() bool { return sockets(s) == 0 })
}

func TestHandshakeDeadline(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, func(cfg *Config) { cfg.HandshakeTimeout = time.Second })
	silent, half := dialRaw(t, s), dialRaw(t, s)
	half.write(handshake[:40])
	for _, p := range []*peer{silent, half} {
		p.wantStatus(http.StatusRequestTimeout)
		p.wantEOF()
	}
	if n := refusedAs(s, "handshake_timeout"); n != 2 {
		t.Errorf("Refused[handshake_timeout] = %d, want 2", n)
	}
}

func TestConnectionLimit(t *testing.T) {
	t.Parallel()
	const limit = 10
	s, _ := startServer(t, func(cfg *Config) { cfg.MaxConnections = limit })
	var in []*peer
	for range limit {
		in = append(in, dial(t, s))
	}
	for range 5 {
		p := dialRaw(t, s)
		p.write(handshake)
		if r := p.wantStatus(http.StatusServiceUnavailable); r.Header.Get("Retry-After") == "" {
			t.Error("503 without Retry-After")
		}
		p.wantEOF()
		_ = p.nc.Close()
	}
	eventually(t, "the refused are gone", func() bool { return sockets(s) == limit })
	for _, p := range in[:3] {
		p.write(closeFrame(ws.StatusNormalClosure, ""))
		p.wantClose(ws.StatusNormalClosure)
		_ = p.nc.Close()
	}
	eventually(t, "three have left", func() bool { return sockets(s) == limit-3 })
	for range 3 {
		dial(t, s)
	}
	for _, p := range in[3:] {
		p.wantPong()
	}
	if n := refusedAs(s, "full"); n != 5 {
		t.Errorf("Refused[full] = %d, want 5", n)
	}
}

func TestConnected(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, nil)
	seen := make(map[string]bool)
	for range 20 {
		p := dialRaw(t, s)
		p.write(strings.Replace(handshake, "/ws", "/?user=ann", 1))
		p.wantStatus(http.StatusSwitchingProtocols)
		m := p.want("connected")
		if id, err := uuid.Parse(m.ClientID); err != nil || id.Version() != 4 || id.Variant() != uuid.RFC4122 || seen[m.ClientID] {
			t.Fatalf("clientId %q, %v; want a new UUID of version 4", m.ClientID, err)
		}
		if seen[m.ClientID] = true; m.UserID != "ann" {
			t.Errorf("userId %q, want ann", m.UserID)
		}
	}
}

// A second implementation of the protocol, which a browser's or an application's would be like.
func TestCoderWebsocket(t *testing.T) {
	t.Parallel()
	s, feeder := startServer(t, nil)
	ctx := t.Context()
	c, r, err := websocket.Dial(ctx, "ws://"+s.Addr()+"/ws", &websocket.DialOptions{Subprotocols: []string{"carillon.v1"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Header.Get("Sec-WebSocket-Protocol"); got != "carillon.v1" {
		t.Errorf("sub-protocol %q, want carillon.v1", got)
	}
	read := func(want string) {
		t.Helper()
		kind, b, err := c.Read(ctx)
		if err != nil || kind != websocket.MessageText || !strings.Contains(string(b), want) {
			t.Fatalf("Read = %v %q, %v; want text with %s", kind, b, err, want)
		}
	}
	read(`"type":"connected"`)
	if err := c.Write(ctx, websocket.MessageText, []byte(`{"type":"subscribe","channel":"user:1","id":"s1"}`)); err != nil {
		t.Fatal(err)
	}
	read(`"type":"subscribed"`)
	feeder.Publish("notifications:user:1", strings.Repeat("hello", 20_000))
	c.SetReadLimit(1 << 20)
	read("hellohello")
	reading := c.CloseRead(ctx)
	if err := c.Ping(ctx); err != nil {
		t.Errorf("Ping = %v", err)
	}
	if err := c.Close(websocket.StatusNormalClosure, "bye"); err != nil {
		t.Errorf("Close = %v", err)
	}
	receive(t, "the end of the reader", reading.Done())
	eventually(t, "the socket is given back", func() bool { return sockets(s) == 0 })
	if n := closedAs(s, "peer"); n != 1 {
		t.Errorf("Closed[peer] = %d, want 1", n)
	}
}

func TestCoderWebsocketReadsOurClose(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t, nil)
	c, _, err := websocket.Dial(t.Context(), "ws://"+s.Addr()+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow() //nolint:errcheck // it is closed already
	if err := c.Write(t.Context(), websocket.MessageBinary, []byte{1}); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, _, err = c.Read(t.Context())
	}
	var ce websocket.CloseError
	if !errors.As(err, &ce) || ce.Code != websocket.StatusUnsupportedData {
		t.Errorf("Read = %v, want close 1003", err)
	}
}
