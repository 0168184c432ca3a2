package conformance

import (
	"fmt"
	"testing"

	"github.com/coder/websocket"
	"github.com/gobwas/ws"
)

// TestAutobahn runs the suite's cases 1 to 10 and reports how many of each category passed.
func TestAutobahn(t *testing.T) {
	gw := startEcho(t)
	count, largest := 100, 1<<20
	if *full {
		count, largest = 1000, 16<<20
	}
	var counts tally
	for _, cases := range [][]testCase{
		framingCases(), utf8Cases(), closingCases(), limitCases(largest),
	} {
		for _, tc := range cases {
			counts.judge(t, tc.number, func(t *testing.T) { tc.run(t, gw.Addr) })
		}
	}
	counts.judge(t, "5.19", func(t *testing.T) { slowFragments(t, gw.Addr, oneWrite) })
	counts.judge(t, "5.20", func(t *testing.T) { slowFragments(t, gw.Addr, frameWise) })
	for _, number := range []string{"6.4.1", "6.4.2", "6.4.3", "6.4.4"} {
		counts.judge(t, number, func(t *testing.T) { failFast(t, gw.Addr, number) })
	}
	for i, size := range []int{0, 16, 64, 256, 1024, 4096} {
		counts.judge(t, fmt.Sprintf("9.7.%d", i+1), func(t *testing.T) { roundTrips(t, gw.Addr, ws.OpText, size, count) })
		counts.judge(t, fmt.Sprintf("9.8.%d", i+1), func(t *testing.T) { roundTrips(t, gw.Addr, ws.OpBinary, size, count) })
	}
	counts.report()
	// The suite has 301 cases without compression. The test fails if a case is lost from a table.
	if n := counts.total(); n != 301 {
		t.Errorf("%d cases ran, the suite has 301", n)
	}
	if failures := gw.Metric("loop_panics_total"); failures != 0 {
		t.Errorf("%v handlers failed", failures)
	}
}

// TestAnotherClient uses another WebSocket library as the client. A mistake in the frames of our own tests would not be in
// that library too.
func TestAnotherClient(t *testing.T) {
	gw := startEcho(t)
	c, _, err := websocket.Dial(t.Context(), "ws://"+gw.Addr+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow() //nolint:errcheck // it is closed already if all went well
	c.SetReadLimit(-1)
	for _, kind := range []websocket.MessageType{websocket.MessageText, websocket.MessageBinary} {
		for _, size := range []int{0, 1, 125, 126, 65535, 65536, 1 << 20} {
			payload := make([]byte, size)
			for i := range payload {
				payload[i] = 'a' + byte(i%26)
			}
			if err := c.Write(t.Context(), kind, payload); err != nil {
				t.Fatal(err)
			}
			got, echo, err := c.Read(t.Context())
			if err != nil || got != kind || string(echo) != string(payload) {
				t.Fatalf("%v of %d octets: got %v of %d, %v", kind, size, got, len(echo), err)
			}
		}
	}
	if err := c.Ping(c.CloseRead(t.Context())); err != nil {
		t.Errorf("ping: %v", err)
	}
	if err := c.Close(websocket.StatusNormalClosure, "done"); err != nil {
		t.Errorf("close: %v", err)
	}
}
