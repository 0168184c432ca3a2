package server

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"

	"github.com/carillon-ws/carillon/gateway/gatewaytest"
)

// handshake is a valid request head.
var handshake = gatewaytest.Head()

// peer is a [gatewaytest.Client] whose methods fail the test.
type peer struct {
	t  testing.TB
	nc *net.TCPConn
	br *bufio.Reader

	deflate  bool // permessage-deflate is agreed on: without it a compressed frame is an error
	deflated int  // compressed frames that came
}

// dialRaw connects without a handshake.
func dialRaw(t testing.TB, s *Server) *peer {
	t.Helper()
	p, err := tryDial(t, s.Addr(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// tryDial connects; options are set before.
func tryDial(t testing.TB, addr string, options func(fd int) error) (*peer, error) {
	if options == nil {
		return tryDialWith(t, addr)
	}
	return tryDialWith(t, addr, gatewaytest.Socket(options))
}

func tryDialWith(t testing.TB, addr string, options ...gatewaytest.Option) (*peer, error) {
	c, err := gatewaytest.Connect(addr, options...)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = c.Close() })
	return &peer{t: t, nc: c.TCPConn, br: c.In}, nil
}

// dial connects, upgrades, and takes the `connected`.
func dial(t testing.TB, s *Server) *peer {
	t.Helper()
	p := dialRaw(t, s)
	p.upgrade()
	return p
}

// dialSlow is dial for a slow reader, [gatewaytest.Slow], with little in flight.
func dialSlow(t testing.TB, s *Server) *peer {
	t.Helper()
	p := dialSlowRaw(t, s)
	p.upgrade()
	return p
}

// dialSlowRaw is dialSlow without a handshake.
func dialSlowRaw(t testing.TB, s *Server) *peer {
	t.Helper()
	p, err := tryDialWith(t, s.Addr(), gatewaytest.Slow())
	if err != nil {
		t.Fatal(err)
	}
	p.br = bufio.NewReaderSize(p.nc, 16)
	return p
}

func (p *peer) upgrade() {
	p.t.Helper()
	p.write(handshake)
	p.wantStatus(http.StatusSwitchingProtocols)
	p.want("connected")
}

// response reads the answer to the handshake.
func (p *peer) response() (*http.Response, string) {
	p.t.Helper()
	r, err := http.ReadResponse(p.br, nil)
	if err != nil {
		p.t.Fatalf("read the response: %v", err)
	}
	defer r.Body.Close() //nolint:errcheck // read to its end
	if r.StatusCode == http.StatusSwitchingProtocols {
		return r, ""
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		p.t.Fatalf("read the response's body: %v", err)
	}
	return r, string(body)
}

func (p *peer) wantStatus(status int) *http.Response {
	p.t.Helper()
	r, body := p.response()
	if r.StatusCode != status {
		p.t.Fatalf("status %d %q, want %d", r.StatusCode, body, status)
	}
	return r
}

func (p *peer) write(text string) {
	p.t.Helper()
	if _, err := p.nc.Write([]byte(text)); err != nil {
		p.t.Fatalf("write: %v", err)
	}
}

// send writes a text frame.
func (p *peer) send(text string) {
	p.t.Helper()
	p.write(clientFrame(true, ws.OpText, text))
}

// say writes a text frame and returns the answer.
func (p *peer) say(text string) message {
	p.t.Helper()
	p.send(text)
	return p.message()
}

func (p *peer) subscribe(channels ...string) {
	p.t.Helper()
	list, err := json.Marshal(channels)
	if err != nil {
		p.t.Fatal(err)
	}
	p.send(`{"type":"subscribe","channels":` + string(list) + `}`)
	for _, channel := range channels {
		if m := p.want("subscribed"); m.Channel != channel {
			p.t.Fatalf("subscribed to %q, want %q", m.Channel, channel)
		}
	}
}

// clientFrame is a masked frame.
func clientFrame(fin bool, op ws.OpCode, payload string) string {
	return gatewaytest.Frame(fin, op, payload)
}

func closeFrame(code ws.StatusCode, reason string) string {
	return gatewaytest.CloseFrame(code, reason)
}

// frame reads one frame. Beyond what RFC 6455 allows a server, it holds the gateway to whole text messages, and to
// compress only what was agreed on.
func (p *peer) frame() (ws.OpCode, []byte, error) {
	h, payload, err := gatewaytest.ReadFrame(p.br)
	if err != nil {
		return 0, nil, err
	}
	compressed := p.deflate && h.Rsv == 4 && h.OpCode == ws.OpText
	if !h.Fin || h.Rsv != 0 && !compressed || h.OpCode != ws.OpText && !h.OpCode.IsControl() {
		return 0, nil, fmt.Errorf("torn stream: frame header %+v", h)
	}
	if compressed {
		p.deflated++
		if payload, err = wsflate.DefaultHelper.Decompress(payload); err != nil {
			return 0, nil, fmt.Errorf("compressed frame: %w", err)
		}
	}
	if h.OpCode == ws.OpText && !json.Valid(payload) {
		return 0, nil, fmt.Errorf("torn stream: message %q", payload)
	}
	return h.OpCode, payload, nil
}

type message = gatewaytest.Message

// next reads the next message; anything else is an error, a close frame a *closed.
func (p *peer) next() (m message, err error) {
	op, payload, err := p.frame()
	switch {
	case err != nil:
		return m, err
	case op == ws.OpClose:
		code, reason := ws.ParseCloseFrameData(payload)
		return m, &closed{code, reason}
	case op != ws.OpText:
		return m, fmt.Errorf("frame of opcode %d, want text", op)
	}
	if err = json.Unmarshal(payload, &m); err == nil && m.Timestamp == 0 {
		err = fmt.Errorf("message %s has no timestamp", payload)
	}
	return m, err
}

// closed is a close frame that was read.
type closed struct {
	code   ws.StatusCode
	reason string
}

func (c *closed) Error() string { return fmt.Sprintf("close frame %d %q", c.code, c.reason) }

func (p *peer) message() message {
	p.t.Helper()
	m, err := p.next()
	if err != nil {
		p.t.Fatalf("read a message: %v", err)
	}
	return m
}

func (p *peer) want(kind string) message {
	p.t.Helper()
	m := p.message()
	if m.Type != kind {
		p.t.Fatalf("message %+v, want %s", m, kind)
	}
	return m
}

// wantOp reads a control frame.
func (p *peer) wantOp(op ws.OpCode, payload string) {
	p.t.Helper()
	got, body, err := p.frame()
	if err != nil || got != op || string(body) != payload {
		p.t.Fatalf("frame %d %q, %v; want %d %q", got, body, err, op, payload)
	}
}

// wantNotification reads one, and nothing else will do.
func (p *peer) wantNotification(channel, data string) {
	p.t.Helper()
	if m := p.want("notification"); m.Channel != channel || m.Data != data {
		p.t.Fatalf("notification %q %q, want %q %q", m.Channel, m.Data, channel, data)
	}
}

// wantPong says ping and wants the answer next: whatever was to come before it has come.
func (p *peer) wantPong() {
	p.t.Helper()
	if m := p.say(`{"type":"ping"}`); m.Type != "pong" {
		p.t.Fatalf("answer %+v, want pong", m)
	}
}

// wantClose reads what comes until the close frame, and then the end of the stream.
func (p *peer) wantClose(code ws.StatusCode) *closed {
	p.t.Helper()
	for {
		op, payload, err := p.frame()
		if err != nil {
			p.t.Fatalf("before a close frame: %v", err)
		}
		if op != ws.OpClose {
			continue
		}
		c := &closed{}
		c.code, c.reason = ws.ParseCloseFrameData(payload)
		if c.code != code {
			p.t.Fatalf("%v, want code %d", c, code)
		}
		p.wantEOF()
		return c
	}
}

// wantEOF wants the end of the stream, and nothing before it.
func (p *peer) wantEOF() {
	p.t.Helper()
	if b, err := p.br.ReadByte(); !errors.Is(err, io.EOF) {
		p.t.Fatalf("read %q, %v; want EOF", b, err)
	}
}

// reset ends the connection by a reset.
func (p *peer) reset() {
	p.t.Helper()
	if err := p.nc.SetLinger(0); err != nil {
		p.t.Fatal(err)
	}
	if err := p.nc.Close(); err != nil {
		p.t.Fatal(err)
	}
}

// header64 is the header of a masked text frame of n bytes, in the long form.
func header64(n uint64) string {
	b := []byte{0x81, 0x80 | 127}
	b = binary.BigEndian.AppendUint64(b, n)
	return string(append(b, 0, 0, 0, 0))
}

// pad returns a payload of n bytes that begins with text.
func pad(text string, n int) string {
	return text + " " + string(bytes.Repeat([]byte{'.'}, max(0, n-len(text)-1)))
}

// number reads the payload of pad back.
func number(t testing.TB, data string) int {
	t.Helper()
	var n int
	word, _, _ := strings.Cut(data, " ")
	if _, err := fmt.Sscan(word, &n); err != nil {
		t.Fatalf("data %q: %v", data, err)
	}
	return n
}
