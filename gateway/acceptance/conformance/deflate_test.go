package conformance

import (
	"bytes"
	"compress/flate"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/gateway/gatewaytest"
)

// rsv1 marks a compressed message (RFC 7692 section 6).
var rsv1 = ws.Rsv(true, false, false)

// deflateSizes are the 18 sizes of 12.*.* and 13.*.*: octets of a message, and of its fragments; 0: one frame.
var deflateSizes = [][2]int{
	{16, 0},
	{64, 0},
	{256, 0},
	{1 << 10, 0},
	{4 << 10, 0},
	{8 << 10, 0},
	{16 << 10, 0},
	{32 << 10, 0},
	{64 << 10, 0},
	{128 << 10, 0},
	{8 << 10, 256},
	{16 << 10, 256},
	{32 << 10, 256},
	{64 << 10, 256},
	{128 << 10, 256},
	{128 << 10, 1 << 10},
	{128 << 10, 4 << 10},
	{128 << 10, 32 << 10},
}

// deflateData are 12.1 to 12.5: texts and bytes like those of the suite, whose files are not ours to copy.
func deflateData() []struct {
	op   ws.OpCode
	data string
} {
	rnd := rand.New(rand.NewPCG(12, 13))
	var js, html, prose, bitmap, noise strings.Builder
	for js.Len() < 512<<10 {
		fmt.Fprintf(&js, `{"id":%d,"name":"user %d","tags":["a","b"],"score":%f},`, rnd.IntN(1e6), rnd.IntN(1e3), rnd.Float64())
		fmt.Fprintf(&html, "<tr><td class=\"c%d\">%d</td><td><a href=\"/item/%d\">more</a></td></tr>\n", rnd.IntN(9), rnd.IntN(1e4), rnd.IntN(1e6))
		fmt.Fprintf(&prose, "Habe nun, ach! %d Philosophie, Juristerei und %d Medizin\r\n", rnd.IntN(10), rnd.IntN(10))
	}
	for i := range 512 << 10 {
		bitmap.WriteByte(byte(i/512/4 + rnd.IntN(8)))
		noise.WriteByte(byte(rnd.Uint32()))
	}
	return []struct {
		op   ws.OpCode
		data string
	}{
		{ws.OpText, js.String()},
		{ws.OpBinary, bitmap.String()},
		{ws.OpBinary, prose.String()},
		{ws.OpText, html.String()},
		{ws.OpBinary, noise.String()},
	}
}

// deflateOffers are 13.1 to 13.7: what the client offers, and whether the gateway accepts it. The gateway's window has always
// 15 bits, so it declines offers of a smaller one, which the suite calls not implemented.
var deflateOffers = []struct {
	offer  string
	agrees bool
}{
	{deflateOffer, true},
	{deflateOffer + "; server_no_context_takeover", true},
	{deflateOffer + "; server_max_window_bits=9", false},
	{deflateOffer + "; server_max_window_bits=15", true},
	{deflateOffer + "; server_no_context_takeover; server_max_window_bits=9", false},
	{deflateOffer + "; server_no_context_takeover; server_max_window_bits=15", true},
	{
		deflateOffer + "; server_no_context_takeover; server_max_window_bits=9, " +
			deflateOffer + "; server_no_context_takeover, " + deflateOffer, true,
	},
}

const deflateOffer = "permessage-deflate; client_no_context_takeover; client_max_window_bits"

// TestAutobahnDeflate runs the suite's cases 12 and 13.
func TestAutobahnDeflate(t *testing.T) {
	gw := startEcho(t, "-compress")
	count := 2
	if *full {
		count = 20
	}
	var counts tally
	sets := deflateData()
	for i, set := range sets {
		for j, size := range deflateSizes {
			counts.judge(t, fmt.Sprintf("12.%d.%d", i+1, j+1), func(t *testing.T) {
				deflateTrips(t, gw.Addr, deflateOffer, true, set.op, set.data, size[0], size[1], count)
			})
		}
	}
	for i, o := range deflateOffers {
		for j, size := range deflateSizes {
			counts.judge(t, fmt.Sprintf("13.%d.%d", i+1, j+1), func(t *testing.T) {
				deflateTrips(t, gw.Addr, o.offer, o.agrees, sets[0].op, sets[0].data, size[0], size[1], count)
			})
		}
	}
	counts.report()
	if n := counts.total(); n != 216 {
		t.Errorf("%d cases ran, the suite has 216", n)
	}
}

// deflateTrips negotiates compression and sends messages, compressed or not. They must come back unchanged.
func deflateTrips(t *testing.T, addr, offer string, agrees bool, op ws.OpCode, data string, size, fragment, count int) {
	c, err := gatewaytest.Connect(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // it has ended
	say(t, c, gatewaytest.Head("Sec-WebSocket-Extensions: "+offer))
	header, err := c.Response()
	if err != nil {
		t.Fatal(err)
	}
	if answer := header.Get("Sec-WebSocket-Extensions"); strings.HasPrefix(answer, "permessage-deflate") != agrees {
		t.Fatalf("offered %q, answered %q, want agreement %t", offer, answer, agrees)
	}
	if fragment == 0 {
		fragment = 16 << 20
	}
	for i := range count {
		from := i * size % (len(data) - size)
		payload := data[from : from+size]
		sent, first := payload, byte(0)
		if agrees {
			sent, first = deflate(t, payload), rsv1
		}
		frames := fragments(op, sent, fragment)
		frames[0] = gatewaytest.RawFrame(len(frames) == 1, first, op, sent[:min(len(sent), fragment)])
		say(t, c, strings.Join(frames, ""))
		h, got, err := c.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		echo := string(got)
		if h.Rsv == rsv1 && agrees {
			echo = inflate(t, got)
		} else if h.Rsv != 0 {
			t.Fatalf("reserved bits %b", h.Rsv)
		}
		if h.OpCode != op || !h.Fin || echo != payload {
			t.Fatalf("message %d: opcode %d, %d octets, want %d", i, h.OpCode, len(echo), len(payload))
		}
	}
	say(t, c, gatewaytest.CloseFrame(ws.StatusNormalClosure, ""))
	wantClosed(t, c, ws.StatusNormalClosure)
}

// tail are the bytes that a sender leaves out (RFC 7692 section 7.2.1).
const tail = "\x00\x00\xff\xff"

// deflate compresses a message by itself.
func deflate(t *testing.T, payload string) string {
	t.Helper()
	var out bytes.Buffer
	z, err := flate.NewWriter(&out, flate.DefaultCompression)
	if err == nil {
		_, err = io.WriteString(z, payload)
	}
	if err == nil {
		err = z.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(out.String(), tail)
}

// inflate decompresses a message.
func inflate(t *testing.T, payload []byte) string {
	t.Helper()
	in := io.MultiReader(bytes.NewReader(payload), strings.NewReader(tail+"\x01\x00\x00\xff\xff")) // and an end
	out, err := io.ReadAll(flate.NewReader(in))
	if err != nil {
		t.Fatalf("inflate: %v", err)
	}
	return string(out)
}

// TestAnotherClientDeflate uses another WebSocket library as the client, with compression, with and without context takeover.
func TestAnotherClientDeflate(t *testing.T) {
	gw := startEcho(t, "-compress")
	ctx, cancel := context.WithTimeout(t.Context(), gatewaytest.Patience)
	defer cancel()
	for _, mode := range []websocket.CompressionMode{websocket.CompressionNoContextTakeover, websocket.CompressionContextTakeover} {
		c, resp, err := websocket.Dial(ctx, "ws://"+gw.Addr+"/ws", &websocket.DialOptions{CompressionMode: mode, CompressionThreshold: 1})
		if err != nil {
			t.Fatal(err)
		}
		if answer := resp.Header.Get("Sec-WebSocket-Extensions"); !strings.HasPrefix(answer, "permessage-deflate") {
			t.Errorf("answered %q", answer)
		}
		c.SetReadLimit(-1)
		for _, set := range deflateData() {
			kind := websocket.MessageType(set.op) // the same numbers
			for range 2 {
				if err := c.Write(ctx, kind, []byte(set.data)); err != nil {
					t.Fatal(err)
				}
				got, echo, err := c.Read(ctx)
				if err != nil || got != kind || string(echo) != set.data {
					t.Fatalf("got %v of %d octets, %v, want %v of %d", got, len(echo), err, kind, len(set.data))
				}
			}
		}
		if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Errorf("close: %v", err)
		}
	}
}
