package gatewaytest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// Client is a peer of the gateway that says exactly what a test wants.
type Client struct {
	*net.TCPConn
	In *bufio.Reader // what the gateway sends; read from here, not from TCPConn
}

// Option changes how a client connects.
type Option func(*net.Dialer)

// From has the client connect from another address of loopback, as in 127.0.0.2.
func From(ip string) Option {
	return func(d *net.Dialer) { d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(ip)} }
}

// Socket sets options of the socket before it connects.
func Socket(set func(fd int) error) Option {
	return func(d *net.Dialer) {
		d.Control = func(_, _ string, rc syscall.RawConn) (err error) {
			failed := rc.Control(func(fd uintptr) { err = set(int(fd)) })
			return errors.Join(failed, err)
		}
	}
}

// Slow has the client take little at a time: small buffers, and the segments of a real network. Loopback's segments are
// so large that a small window stays closed until a timer opens it.
func Slow() Option {
	return Socket(func(fd int) error {
		return errors.Join(
			syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 1000),
			syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, 8<<10))
	})
}

// Connect connects and says nothing. The client's deadline is a minute from now.
func Connect(addr string, options ...Option) (*Client, error) {
	d := net.Dialer{Timeout: Patience}
	for _, option := range options {
		option(&d)
	}
	nc, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	if err := nc.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return nil, err
	}
	return &Client{nc.(*net.TCPConn), bufio.NewReaderSize(nc, 1<<10)}, nil
}

// Head is a request head as RFC 6455 wants it, with more header lines at its end.
func Head(lines ...string) string {
	return "GET /ws HTTP/1.1\r\n" + strings.Join(append([]string{
		"Host: 127.0.0.1", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13",
	}, lines...), "\r\n") + "\r\n\r\n"
}

// Dial connects, upgrades, and takes the `connected`. Lines are more lines of the request head.
func Dial(addr string, lines ...string) (*Client, error) {
	c, err := Connect(addr)
	if err != nil {
		return nil, err
	}
	if err := c.Upgrade(Head(lines...)); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// MustDial is Dial for tests; the client ends with the test.
func MustDial(tb testing.TB, addr string, lines ...string) *Client {
	tb.Helper()
	c, err := Dial(addr, lines...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// StatusError is an answer to a handshake that is no upgrade.
type StatusError struct {
	Status     int
	RetryAfter string
	Body       string
}

func (e *StatusError) Error() string { return fmt.Sprintf("status %d: %s", e.Status, e.Body) }

// Upgrade sends a request head and takes the 101 and the `connected`; another status is a *StatusError.
func (c *Client) Upgrade(head string) error {
	if err := c.Say(head); err != nil {
		return err
	}
	if _, err := c.Response(); err != nil {
		return err
	}
	m, err := c.Message()
	if err == nil && m.Type != "connected" {
		err = fmt.Errorf("first message %+v", m)
	}
	return err
}

// Response reads the answer to a request head; a status other than 101 is a *StatusError.
func (c *Client) Response() (http.Header, error) {
	r, err := http.ReadResponse(c.In, nil)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close() //nolint:errcheck // read to its end, or empty
	if r.StatusCode == http.StatusSwitchingProtocols {
		return r.Header, nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return r.Header, err
	}
	return r.Header, &StatusError{r.StatusCode, r.Header.Get("Retry-After"), string(body)}
}

// Say writes bytes as they are.
func (c *Client) Say(text string) error {
	_, err := c.Write([]byte(text))
	return err
}

// Send writes a text message.
func (c *Client) Send(text string) error { return c.Say(Frame(true, ws.OpText, text)) }

// Frame is a masked frame.
func Frame(fin bool, op ws.OpCode, payload string) string { return RawFrame(fin, 0, op, payload) }

// RawFrame is a masked frame with reserved bits.
func RawFrame(fin bool, rsv byte, op ws.OpCode, payload string) string {
	f := ws.NewFrame(op, fin, []byte(payload))
	f.Header.Rsv = rsv
	return string(ws.MustCompileFrame(ws.MaskFrameInPlaceWith(f, [4]byte{0x17, 0x2e, 0xa5, 0xfc})))
}

// HeaderOf is the header of a masked final frame of n bytes, of which none need follow.
func HeaderOf(op ws.OpCode, n int64) string {
	var b bytes.Buffer
	_ = ws.WriteHeader(&b, ws.Header{Fin: true, OpCode: op, Masked: true, Length: n}) // a bytes.Buffer does not fail
	return b.String()
}

// CloseFrame is a close frame with a code and a reason.
func CloseFrame(code ws.StatusCode, reason string) string {
	return Frame(true, ws.OpClose, string(ws.NewCloseFrameBody(code, reason)))
}

// maxFrame is the largest frame that a client takes for one: beyond it the stream is torn.
const maxFrame = 32 << 20

// ReadFrame reads one frame and holds it to what RFC 6455 allows a server.
func (c *Client) ReadFrame() (ws.Header, []byte, error) { return ReadFrame(c.In) }

// ReadFrame reads one frame of a server from r and holds it to what RFC 6455 allows a server.
func ReadFrame(r io.Reader) (ws.Header, []byte, error) {
	h, err := ws.ReadHeader(r)
	if err != nil {
		return h, nil, err
	}
	if h.Masked || h.Rsv&^ws.Rsv(true, false, false) != 0 || h.Length > maxFrame {
		return h, nil, fmt.Errorf("torn stream: frame header %+v", h)
	}
	payload := make([]byte, h.Length)
	if _, err := io.ReadFull(r, payload); err != nil {
		return h, nil, fmt.Errorf("torn frame: %w", err)
	}
	return h, payload, nil
}

// Message is any message of the gateway.
type Message struct {
	Type      string          `json:"type"`
	ID        json.RawMessage `json:"id"`
	ClientID  string          `json:"clientId"`
	UserID    string          `json:"userId"`
	Channel   string          `json:"channel"`
	Data      string          `json:"data"`
	Code      string          `json:"code"`
	Message   string          `json:"message"`
	Reason    string          `json:"reason"`
	Dropped   int             `json:"dropped"`
	ExpiresAt int64           `json:"expiresAt"`
	Heartbeat int64           `json:"heartbeatMs"`
	Timestamp int64           `json:"timestamp"`
}

// CloseError is a close frame, as an error.
type CloseError struct {
	Code   ws.StatusCode
	Reason string
}

func (e *CloseError) Error() string { return fmt.Sprintf("closed with %d %q", e.Code, e.Reason) }

// Message reads the next message. Pings are answered and passed over, pongs are passed over; a close frame is an
// error, a *CloseError.
func (c *Client) Message() (m Message, err error) {
	for {
		h, payload, err := c.ReadFrame()
		switch {
		case err != nil:
			return m, err
		case h.OpCode == ws.OpClose:
			code, reason := ws.ParseCloseFrameData(payload)
			return m, &CloseError{code, reason}
		case h.OpCode == ws.OpPing:
			if err := c.Say(Frame(true, ws.OpPong, string(payload))); err != nil {
				return m, err
			}
		case h.OpCode == ws.OpPong:
		case h.OpCode == ws.OpText && h.Fin && h.Rsv == 0:
			return m, json.Unmarshal(payload, &m)
		default:
			return m, fmt.Errorf("torn stream: frame header %+v", h)
		}
	}
}

// Subscribe subscribes and takes the answer; nothing else may come before it.
func (c *Client) Subscribe(channel string) error {
	name, _ := json.Marshal(channel) // a string does not fail
	if err := c.Send(`{"type":"subscribe","channel":` + string(name) + `}`); err != nil {
		return err
	}
	m, err := c.Message()
	if err == nil && (m.Type != "subscribed" || m.Channel != channel) {
		err = fmt.Errorf("answer to subscribe: %+v", m)
	}
	return err
}

// Ping says ping and takes the answer: all that was to come before has come, and was nothing.
func (c *Client) Ping() error {
	if err := c.Send(`{"type":"ping"}`); err != nil {
		return err
	}
	m, err := c.Message()
	if err == nil && m.Type != "pong" {
		err = fmt.Errorf("answer to ping: %+v", m)
	}
	return err
}

// AwaitClose reads whatever comes until the close frame.
func (c *Client) AwaitClose() (*CloseError, error) {
	for {
		_, err := c.Message()
		var closed *CloseError
		switch {
		case errors.As(err, &closed):
			return closed, nil
		case err != nil:
			return nil, err
		}
	}
}

// AwaitEnd reads whatever comes until the stream ends, and reports whether it ended with a reset.
func (c *Client) AwaitEnd() (reset bool, err error) {
	_, err = io.Copy(io.Discard, c.In)
	if errors.Is(err, syscall.ECONNRESET) {
		return true, nil
	}
	return false, err
}

// Reset ends the connection by a reset.
func (c *Client) Reset() {
	_ = c.SetLinger(0) // if it is closed already there is nothing to reset
	_ = c.Close()
}
