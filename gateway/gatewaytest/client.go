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

// Client is a client of the gateway that sends exactly the bytes that a test wants.
type Client struct {
	*net.TCPConn
	In *bufio.Reader // what the gateway sends; read from here, not from TCPConn
}

// Option changes how a client connects.
type Option func(*net.Dialer)

// From makes the client connect from another loopback address, as in 127.0.0.2.
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

// Slow makes the client take few bytes at a time: it has a small buffer, and the segments of a real network. The segments of
// loopback are so large that a small window would stay closed until a timer opens it.
func Slow() Option {
	return Socket(func(fd int) error {
		return errors.Join(
			syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 1000),
			syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, 8<<10))
	})
}

// Connect connects and sends nothing. The client's deadline is a minute from now.
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

// Head returns a valid request head (RFC 6455), with lines as further header lines.
func Head(lines ...string) string {
	return "GET /ws HTTP/1.1\r\n" + strings.Join(append([]string{
		"Host: 127.0.0.1", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13",
	}, lines...), "\r\n") + "\r\n\r\n"
}

// Dial connects, upgrades, and reads the message connected. lines are further lines of the request head.
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

// MustDial is Dial for tests: an error ends the test, and the client is closed when the test ends.
func MustDial(tb testing.TB, addr string, lines ...string) *Client {
	tb.Helper()
	c, err := Dial(addr, lines...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// StatusError is an answer to a handshake with another status than 101.
type StatusError struct {
	Status     int
	RetryAfter string
	Body       string
}

func (e *StatusError) Error() string { return fmt.Sprintf("status %d: %s", e.Status, e.Body) }

// Upgrade sends a request head, and reads the 101 and the message connected. Another status is a *StatusError.
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

// Response reads the answer to a request head. A status other than 101 is a *StatusError.
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

// Say writes text as it is.
func (c *Client) Say(text string) error {
	_, err := c.Write([]byte(text))
	return err
}

// Send writes a text message.
func (c *Client) Send(text string) error { return c.Say(Frame(true, ws.OpText, text)) }

// Frame returns a masked frame.
func Frame(fin bool, op ws.OpCode, payload string) string { return RawFrame(fin, 0, op, payload) }

// RawFrame returns a masked frame with reserved bits.
func RawFrame(fin bool, rsv byte, op ws.OpCode, payload string) string {
	f := ws.NewFrame(op, fin, []byte(payload))
	f.Header.Rsv = rsv
	return string(ws.MustCompileFrame(ws.MaskFrameInPlaceWith(f, [4]byte{0x17, 0x2e, 0xa5, 0xfc})))
}

// HeaderOf returns the header of a masked final frame of n bytes, without the bytes.
func HeaderOf(op ws.OpCode, n int64) string {
	var b bytes.Buffer
	_ = ws.WriteHeader(&b, ws.Header{Fin: true, OpCode: op, Masked: true, Length: n}) // a write to a buffer does not fail
	return b.String()
}

// CloseFrame returns a close frame with a code and a reason.
func CloseFrame(code ws.StatusCode, reason string) string {
	return Frame(true, ws.OpClose, string(ws.NewCloseFrameBody(code, reason)))
}

// maxFrame is the length of the largest frame that a client accepts. A larger one is an error: its header is not a header.
const maxFrame = 32 << 20

// ReadFrame reads one frame. A frame that RFC 6455 does not allow a server to send is an error.
func (c *Client) ReadFrame() (ws.Header, []byte, error) { return ReadFrame(c.In) }

// ReadFrame reads one frame of a server from r. A frame that RFC 6455 does not allow a server to send is an error.
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

// CloseError is the error for a close frame.
type CloseError struct {
	Code   ws.StatusCode
	Reason string
}

func (e *CloseError) Error() string { return fmt.Sprintf("closed with %d %q", e.Code, e.Reason) }

// Message reads the next message. It answers pings and skips pongs. A close frame is a *CloseError.
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

// Subscribe subscribes and reads the answer. Anything else before it is an error.
func (c *Client) Subscribe(channel string) error {
	name, _ := json.Marshal(channel) // a string can always be encoded
	if err := c.Send(`{"type":"subscribe","channel":` + string(name) + `}`); err != nil {
		return err
	}
	m, err := c.Message()
	if err == nil && (m.Type != "subscribed" || m.Channel != channel) {
		err = fmt.Errorf("answer to subscribe: %+v", m)
	}
	return err
}

// Ping sends the message ping and reads the answer. Anything else before it is an error, so it also proves that the gateway
// had nothing else to send.
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

// AwaitClose reads until the close frame.
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

// AwaitEnd reads until the stream ends, and reports whether it ended with a reset.
func (c *Client) AwaitEnd() (reset bool, err error) {
	_, err = io.Copy(io.Discard, c.In)
	if errors.Is(err, syscall.ECONNRESET) {
		return true, nil
	}
	return false, err
}

// Reset closes the connection with a reset.
func (c *Client) Reset() {
	_ = c.SetLinger(0) // an error means that it is closed already
	_ = c.Close()
}
