package protocol_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	coder "github.com/coder/websocket"
	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/protocol"
	"github.com/carillon-ws/carillon/protocol/http1"
	"github.com/carillon-ws/carillon/protocol/websocket"
)

// Another implementation, coder/websocket, reads what this one compresses, and the other way round, with each of its offers.
func TestDeflateCoder(t *testing.T) {
	for _, mode := range []coder.CompressionMode{coder.CompressionNoContextTakeover, coder.CompressionContextTakeover} {
		ours, theirs := net.Pipe()
		served := make(chan error, 1)
		go func() { served <- echo(ours) }()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		dial := func(context.Context, string, string) (net.Conn, error) { return theirs, nil }
		c, res, err := coder.Dial(ctx, "ws://gate.example/ws", &coder.DialOptions{
			HTTPClient:           &http.Client{Transport: &http.Transport{DialContext: dial}},
			CompressionMode:      mode,
			CompressionThreshold: 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := res.Header.Get("Sec-WebSocket-Extensions"); !strings.Contains(got, "permessage-deflate") {
			t.Fatalf("the answer has extensions %q", got)
		}
		c.SetReadLimit(1 << 20)
		for _, data := range []string{"short", strings.Repeat(`{"id":7,"read":false},`, 14), strings.Repeat(`{"id":7,"read":false},`, 14), strings.Repeat(`{"id":7,"read":false},`, 900), "", strings.Repeat("🔔", 5000)} {
			if err := c.Write(ctx, coder.MessageText, []byte(data)); err != nil {
				t.Fatal(err)
			}
			_, got, err := c.Read(ctx)
			if err != nil {
				t.Fatal(err)
			}
			want, _ := protocol.AppendMessage(nil, &protocol.Message{Type: protocol.MessageNotification, Channel: "c", Data: data, Timestamp: 1})
			if !bytes.Equal(got, want) {
				t.Fatalf("the client reads %.100q, want %.100q", got, want)
			}
		}
		if err := c.Close(coder.StatusNormalClosure, ""); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
}

// echo is a gateway for one connection. It answers each message with a notification that has the message as its data.
func echo(conn net.Conn) error {
	defer func() { _ = conn.Close() }()
	buf := make([]byte, 64<<10)
	var in []byte
	for http1.HeadLen(in, 0) == 0 {
		n, err := conn.Read(buf)
		if err != nil {
			return err
		}
		in = append(in, buf[:n]...)
	}
	out, req, refusal := http1.NewUpgrader(http1.Config{Deflate: true}).Upgrade(nil, in)
	if refusal != nil || !req.Deflate {
		return fmt.Errorf("refused: %+v, or deflate not accepted: %+v", refusal, req)
	}
	var r websocket.Reader
	lim := websocket.Limits{MaxMessage: 1 << 20, Inflater: new(websocket.Inflater)}
	for {
		if _, err := conn.Write(out); err != nil {
			return err
		}
		n, err := conn.Read(buf)
		if err != nil {
			return err
		}
		out = out[:0]
		for data := buf[:n]; len(data) > 0; {
			ev, used, err := r.Next(data, &lim)
			if err != nil {
				return err
			}
			data = data[used:]
			switch {
			case ev.None():
			case ev.Op == ws.OpText:
				f, _ := protocol.NewNotification("c", string(ev.Payload), 1)
				out = append(out, f.In(protocol.Deflated).Bytes()...)
			case ev.Op == ws.OpClose:
				_, err = conn.Write(websocket.AppendClose(out, protocol.PeerClose(ws.StatusNormalClosure)))
				return err
			}
		}
	}
}
