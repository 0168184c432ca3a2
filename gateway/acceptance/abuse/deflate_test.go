package abuse

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/gateway/gatewaytest"
)

const rsv1 = 4 // marks a compressed message, RFC 7692 section 6

// compressing starts a gateway that compresses.
func compressing(t *testing.T) *target {
	t.Helper()
	return attacked(t, "-compress")
}

// dialDeflate connects a client that negotiates permessage-deflate.
func (g *target) dialDeflate() (*gatewaytest.Client, error) {
	c, err := gatewaytest.Connect(g.Addr)
	if err != nil {
		return nil, err
	}
	if err := c.Say(gatewaytest.Head("Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; server_no_context_takeover")); err != nil {
		return nil, err
	}
	header, err := c.Response()
	if err == nil && !strings.HasPrefix(header.Get("Sec-WebSocket-Extensions"), "permessage-deflate") {
		err = fmt.Errorf("extensions %q", header.Get("Sec-WebSocket-Extensions"))
	}
	if err == nil {
		_, _, err = c.ReadFrame() // the message connected, compressed or not
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// deflated compresses a message as RFC 7692 section 7.2.1 says.
func deflated(t *testing.T, write func(*flate.Writer)) string {
	t.Helper()
	var out bytes.Buffer
	z, err := flate.NewWriter(&out, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	write(z)
	if err := z.Flush(); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(out.String(), "\x00\x00\xff\xff")
}

// bomb returns a compressed message of at most 64 KiB that inflates to about 64 MiB, the most that is possible.
func bomb(t *testing.T) string {
	t.Helper()
	zeros := make([]byte, 64<<10)
	return deflated(t, func(z *flate.Writer) {
		for range 1000 { // 64 KiB of zeros are 64 octets
			if _, err := z.Write(zeros); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestT17CompressionBomb(t *testing.T) {
	t.Parallel()
	g := compressing(t)
	message := bomb(t)
	if len(message) > maxMessage || len(message) < maxMessage/2 {
		t.Fatalf("the bomb has %d octets", len(message))
	}
	middle := len(message) / 2
	garbage := strings.Repeat("\xff", 1000)
	for _, tc := range []struct {
		name, sent string
		code       ws.StatusCode
	}{
		{"zip-bomb", gatewaytest.RawFrame(true, rsv1, ws.OpText, message), ws.StatusMessageTooBig},
		{"zip-bomb-in-fragments", gatewaytest.RawFrame(false, rsv1, ws.OpText, message[:middle]) + gatewaytest.Frame(true, ws.OpContinuation, message[middle:]), ws.StatusMessageTooBig},
		{"zip-garbage", gatewaytest.RawFrame(true, rsv1, ws.OpText, garbage), ws.StatusInvalidFramePayloadData},
	} {
		g.withstands(t, tc.name, 24*mib, func(t *testing.T) {
			each(t, scale(20, 100), func(int) error {
				c, err := g.dialDeflate()
				if err != nil {
					return err
				}
				defer c.Close() //nolint:errcheck // it has ended
				began := time.Now()
				if err := c.Say(tc.sent); err != nil {
					return err
				}
				return endsWith(c, began, 4*answerWithin, tc.code) // twenty at the same time, and each inflates as much as it may
			})
		})
	}
}

func TestT18DeflateMemory(t *testing.T) {
	t.Parallel()
	g := compressing(t)
	const n, each64KiB = 500, 64 << 10
	g.withstands(t, "zip-idle-memory", n*each64KiB, func(t *testing.T) {
		clients := make([]*gatewaytest.Client, n)
		each(t, n, func(i int) (err error) {
			if clients[i], err = g.dialDeflate(); err != nil {
				return err
			}
			// One compressed message in each direction: if a connection kept state for compression, it would have it now.
			channel := strings.Repeat(fmt.Sprintf("channel-%d-", i), 20)[:200]
			subscribe := deflated(t, func(z *flate.Writer) { _, err = z.Write([]byte(`{"type":"subscribe","channel":"` + channel + `"}`)) })
			if err != nil {
				return err
			}
			if err := clients[i].Say(gatewaytest.RawFrame(true, rsv1, ws.OpText, subscribe)); err != nil {
				return err
			}
			_, _, err = clients[i].ReadFrame()
			return err
		})
		for _, c := range clients {
			_ = c.Close()
		}
	})
}
