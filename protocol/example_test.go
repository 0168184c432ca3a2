package protocol_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/protocol"
	"github.com/carillon-ws/carillon/protocol/http1"
	"github.com/carillon-ws/carillon/protocol/websocket"
)

// One connection from its handshake to a notification. The bytes may arrive in parts of any size. All of it belongs to one
// loop.
func Example() {
	upgrader := http1.NewUpgrader(http1.Config{Loopback: true})
	limits := websocket.Limits{MaxMessage: 64 << 10, MaxFragments: 128}
	var reader websocket.Reader
	var decoder protocol.Decoder
	const now = 1_767_225_600_000

	received := []byte("GET /ws HTTP/1.1\r\nHost: localhost:8080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	received = append(received, fromClient(`{"type":"subscribe","id":1,"channel":"notifications:user:42"}`)...)

	head := http1.HeadLen(received, 0)
	sent, _, refusal := upgrader.Upgrade(nil, received[:head])
	if refusal != nil {
		fmt.Println(refusal.Status, refusal.Body)
		return
	}
	sent = protocol.AppendMessageFrame(sent, &protocol.Message{Type: protocol.MessageConnected, ClientID: "c1", Timestamp: now})

	for rest := received[head:]; len(rest) > 0; {
		event, used, err := reader.Next(rest, &limits)
		if err != nil {
			fmt.Println(err) // a *websocket.CloseError: append it with websocket.AppendClose, then close
			return
		}
		rest = rest[used:]
		if event.Op != ws.OpText {
			continue
		}
		command, err := decoder.Decode(event.Payload)
		if err != nil {
			fmt.Println(protocol.ErrorCodeOf(err), err) // an error message; the connection stays
			continue
		}
		for _, name := range command.Channels { // of a subscribe
			channel, err := protocol.ParseChannel(string(name))
			if err != nil {
				fmt.Println(protocol.ErrorCodeOf(err), err)
				continue
			}
			sent = protocol.AppendMessageFrame(sent, &protocol.Message{
				Type: protocol.MessageSubscribed, ID: command.ID, Channel: channel, Timestamp: now,
			})
		}
	}

	// A publication is encoded once for all subscribers.
	notification, _ := protocol.NewNotification("user:42", `{"title":"hi"}`, now)
	sent = append(sent, notification.Bytes()...)

	status, _, _ := strings.Cut(string(sent), "\r\n")
	fmt.Println(status)
	toClient := bytes.NewReader(sent[http1.HeadLen(sent, 0):])
	for toClient.Len() > 0 {
		header, err := ws.ReadHeader(toClient)
		if err != nil {
			fmt.Println(err)
			return
		}
		payload := make([]byte, header.Length)
		_, _ = io.ReadFull(toClient, payload)
		fmt.Printf("%s\n", payload)
	}
	// Output:
	// HTTP/1.1 101 Switching Protocols
	// {"type":"connected","clientId":"c1","timestamp":1767225600000}
	// {"type":"subscribed","id":1,"channel":"user:42","timestamp":1767225600000}
	// {"type":"notification","channel":"user:42","data":"{\"title\":\"hi\"}","timestamp":1767225600000}
}

func fromClient(text string) []byte {
	return ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte(text))))
}

// A frame that breaks a rule ends the connection with the code of that rule.
func ExampleReader_Next() {
	var reader websocket.Reader
	unmasked := ws.MustCompileFrame(ws.NewTextFrame([]byte("hello")))
	_, _, err := reader.Next(unmasked, &websocket.Limits{})
	if end, ok := errors.AsType[*websocket.CloseError](err); ok {
		fmt.Printf("%d %s: %x\n", end.Code, end.Reason, websocket.AppendClose(nil, end)[:4])
	}
	// Output: 1002 frame is not masked: 881503ea
}

func ExampleParseChannel() {
	for _, name := range []string{"user:42", "notifications:user:42", "notifications:"} {
		channel, err := protocol.ParseChannel(name)
		fmt.Printf("%q %v\n", channel, err)
	}
	// Output:
	// "user:42" <nil>
	// "user:42" <nil>
	// "" channel name is empty
}
