package abuse

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/gateway/gatewaytest"
	"github.com/carillon-ws/carillon/protocol"
)

const maxMessage = 64 << 10 // the default of -max-message

// ended connects and sends bytes. A close frame with one of the codes must come, and then the gateway must end the
// connection, within a time.
func (g *target) ended(sent string, within time.Duration, codes ...ws.StatusCode) error {
	c, err := g.dial()
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // it has ended
	began := time.Now()
	if err := c.Say(sent); err != nil {
		return err
	}
	return endsWith(c, began, within, codes...)
}

func endsWith(c *gatewaytest.Client, began time.Time, within time.Duration, codes ...ws.StatusCode) error {
	closed, err := c.AwaitClose()
	if err != nil {
		return fmt.Errorf("no close frame: %w", err)
	}
	if !slices.Contains(codes, closed.Code) {
		return fmt.Errorf("%w, want %v", closed, codes)
	}
	if took := time.Since(began); tooLate(took, within) {
		return fmt.Errorf("closed after %v, want %v", took, within)
	}
	_, err = c.AwaitEnd()
	return err
}

func TestT10DeclaredLength(t *testing.T) {
	t.Parallel()
	g := attacked(t)
	for _, tc := range []struct {
		name   string
		header string
	}{
		{"fr-declared-1TiB", gatewaytest.HeaderOf(ws.OpText, 1<<40)},
		{"fr-declared-max", gatewaytest.HeaderOf(ws.OpText, 1<<62)},
		{"fr-declared-top-bit", "\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00"},
		{"fr-declared-one-over", gatewaytest.HeaderOf(ws.OpText, maxMessage+1)},
		{"fr-declared-in-fragments", gatewaytest.Frame(false, ws.OpText, "a") + gatewaytest.HeaderOf(ws.OpContinuation, maxMessage)},
	} {
		g.withstands(t, tc.name, 24*mib, func(t *testing.T) {
			each(t, 20, func(int) error {
				return g.ended(tc.header, 2*answerWithin, ws.StatusMessageTooBig, ws.StatusProtocolError)
			})
		})
	}
	g.withstands(t, "fr-declared-and-nothing-sent", 24*mib, func(t *testing.T) {
		clients := make([]*gatewaytest.Client, scale(300, 600))
		each(t, len(clients), func(i int) (err error) {
			if clients[i], err = g.dial(); err == nil {
				err = clients[i].Say(gatewaytest.HeaderOf(ws.OpText, maxMessage) + "a")
			}
			return err
		})
		if err := g.serves(); err != nil { // after all that was sent
			t.Error(err)
		}
		for _, c := range clients {
			c.Reset()
		}
	})
}

// flood writes the same bytes again and again until the connection ends or it has written enough rounds. It returns how
// much it wrote.
func flood(c *gatewaytest.Client, round string, rounds int) (written int, err error) {
	for range rounds {
		n, err := c.Write([]byte(round))
		if written += n; err != nil {
			return written, err
		}
	}
	return written, nil
}

func TestT11OversizedStream(t *testing.T) {
	t.Parallel()
	g := attacked(t)
	g.withstands(t, "fr-oversize-stream", 24*mib, func(t *testing.T) {
		c, err := g.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close() //nolint:errcheck // it has ended
		began := time.Now()
		var written atomic.Int64
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			if c.Say(gatewaytest.HeaderOf(ws.OpText, 64*mib)) == nil {
				n, _ := flood(c, strings.Repeat("a", 64<<10), 1024) // until the gateway ends it
				written.Store(int64(n))
			}
		}()
		if err := endsWith(c, began, 2*answerWithin, ws.StatusMessageTooBig); err != nil {
			t.Error(err)
		}
		<-stopped
		if n := written.Load(); n > 48*mib {
			t.Errorf("%d MiB were taken of a message that was refused", n/mib)
		}
	})
}

func TestT12FragmentMemory(t *testing.T) {
	t.Parallel()
	g := attacked(t)
	for _, tc := range []struct {
		name  string
		first string
		more  string
		times int
		codes []ws.StatusCode
	}{
		{"fr-fragments-unbounded", "a", strings.Repeat("a", 4<<10), 10_000, []ws.StatusCode{ws.StatusMessageTooBig, ws.StatusPolicyViolation}},
		{"fr-fragments-empty", "", "", 1_000_000, []ws.StatusCode{ws.StatusMessageTooBig, ws.StatusPolicyViolation}},
	} {
		g.withstands(t, tc.name, 8*mib, func(t *testing.T) {
			each(t, 10, func(int) error {
				c, err := g.dial()
				if err != nil {
					return err
				}
				defer c.Close() //nolint:errcheck // it has ended
				began := time.Now()
				go func() {
					if c.Say(gatewaytest.Frame(false, ws.OpText, tc.first)) == nil {
						// A hundred frames in a write: the gateway refuses one of the first of them.
						round := strings.Repeat(gatewaytest.Frame(false, ws.OpContinuation, tc.more), 100)
						_, _ = flood(c, round, tc.times/100)
					}
				}()
				return endsWith(c, began, 2*answerWithin, tc.codes...)
			})
		})
	}
}

func TestT13UnfinishedMessage(t *testing.T) {
	t.Parallel()
	const within = 2*time.Second + timerSlack
	g := attacked(t, "-message-timeout", "1s")
	dripped := func(sent, more string) func(*testing.T) {
		return func(t *testing.T) {
			each(t, 20, func(int) error {
				c, err := g.dial()
				if err != nil {
					return err
				}
				defer c.Close() //nolint:errcheck // it has ended
				if err := c.SetDeadline(time.Now().Add(within + gatewaytest.Patience)); err != nil {
					return err
				}
				began, over := time.Now(), make(chan struct{})
				defer close(over)
				if err := c.Say(sent); err != nil {
					return err
				}
				go func() {
					tick := time.NewTicker(100 * time.Millisecond)
					defer tick.Stop()
					for more != "" && c.Say(more) == nil {
						select {
						case <-tick.C:
						case <-over:
							return
						}
					}
				}()
				return endsWith(c, began, within, ws.StatusPolicyViolation)
			})
		}
	}
	g.withstands(t, "slow-open-message", 8*mib, dripped(gatewaytest.Frame(false, ws.OpText, "a"), gatewaytest.Frame(true, ws.OpPing, "p")))
	g.withstands(t, "slow-partial-frame", 8*mib, dripped(gatewaytest.HeaderOf(ws.OpText, 1000)+"half", ""))
	g.withstands(t, "slow-partial-header", 8*mib, dripped("\x81", ""))
	g.withstands(t, "slow-drip-frame", 8*mib, dripped(gatewaytest.HeaderOf(ws.OpText, 60_000), "a"))
}

func TestT14ControlFlood(t *testing.T) {
	t.Parallel()
	rounds := scale(300, 3000)
	const together = 100
	// flooded sends that many control frames and then a message ping, and reads all answers. It returns nil if the pong
	// came, after as many pong frames as there were ping frames; else it returns what ended the connection.
	flooded := func(g *target, op ws.OpCode) error {
		c, err := g.dial()
		if err != nil {
			return err
		}
		defer c.Close() //nolint:errcheck // it is of no more use
		go func() {
			if _, err := flood(c, strings.Repeat(gatewaytest.Frame(true, op, "flood"), together), rounds); err == nil {
				_ = c.Send(`{"type":"ping"}`) // the reader finds an error
			}
		}()
		for pongs := 0; ; pongs++ {
			h, payload, err := readControl(c)
			switch {
			case err != nil:
				return err
			case h.OpCode == ws.OpPong:
			case op == ws.OpPing && pongs != together*rounds:
				return fmt.Errorf("%q behind %d pongs, want %d", payload, pongs, together*rounds)
			default:
				return nil
			}
		}
	}
	// ends wants an error that is a limit of the gateway.
	ends := func(err error, codes ...ws.StatusCode) error {
		var closed *gatewaytest.CloseError
		if errors.As(err, &closed) && slices.Contains(codes, closed.Code) {
			return nil
		}
		return fmt.Errorf("ended with %w, want %v", err, codes)
	}
	limited := attacked(t)
	for name, op := range map[string]ws.OpCode{"fr-ping-flood": ws.OpPing, "fr-pong-flood": ws.OpPong} {
		limited.withstands(t, name, 24*mib, func(t *testing.T) {
			if err := ends(flooded(limited, op), policy...); err != nil {
				t.Error(err)
			}
		})
	}
	// Without a limit of the rate, a flood is answered as long as the client reads.
	free := attacked(t, "-max-message-rate", "0")
	for name, op := range map[string]ws.OpCode{"fr-ping-flood-without-rates": ws.OpPing, "fr-pong-flood-without-rates": ws.OpPong} {
		free.withstands(t, name, 24*mib, func(t *testing.T) {
			if err := flooded(free, op); err != nil && ends(err, protocol.CloseSlowConsumer) != nil {
				t.Error(err)
			}
		})
	}
	free.withstands(t, "fr-ping-flood-unread", 24*mib, func(t *testing.T) {
		each(t, 4, func(int) error {
			c, err := free.dial()
			if err != nil {
				return err
			}
			defer c.Close() //nolint:errcheck // it is of no more use
			return unread(c, strings.Repeat(gatewaytest.Frame(true, ws.OpPing, strings.Repeat("f", 125)), together), rounds)
		})
	})
}

// unread writes again and again and reads nothing, so that answers pile up. The gateway must close the connection, or go on
// reading.
func unread(c *gatewaytest.Client, round string, rounds int) error {
	if err := c.SetWriteDeadline(time.Now().Add(gatewaytest.Patience)); err != nil {
		return err
	}
	_, err := flood(c, round, rounds)
	if err == nil || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return fmt.Errorf("the gateway neither takes what is written nor ends it: %w", err)
}

func TestT15ProtocolErrors(t *testing.T) {
	t.Parallel()
	g := attacked(t)
	part, more := gatewaytest.Frame(false, ws.OpText, "a"), gatewaytest.Frame(true, ws.OpContinuation, "b")
	g.withstands(t, "fr-protocol-errors", 8*mib, func(t *testing.T) {
		for _, tc := range []struct {
			name, sent string
			code       ws.StatusCode
		}{
			{"not masked", "\x81\x02hi", ws.StatusProtocolError},
			{"RSV1", gatewaytest.RawFrame(true, 4, ws.OpText, "x"), ws.StatusProtocolError},
			{"RSV2", gatewaytest.RawFrame(true, 2, ws.OpText, "x"), ws.StatusProtocolError},
			{"RSV3", gatewaytest.RawFrame(true, 1, ws.OpPing, "x"), ws.StatusProtocolError},
			{"reserved data opcode", gatewaytest.Frame(true, 3, "x"), ws.StatusProtocolError},
			{"reserved control opcode", gatewaytest.Frame(true, 11, "x"), ws.StatusProtocolError},
			{"control of 126 octets", gatewaytest.Frame(true, ws.OpPing, strings.Repeat("x", 126)), ws.StatusProtocolError},
			{"control in fragments", gatewaytest.Frame(false, ws.OpPing, "x"), ws.StatusProtocolError},
			{"continuation of nothing", more, ws.StatusProtocolError},
			{"message in a message", part + part, ws.StatusProtocolError},
			{"close of one octet", gatewaytest.Frame(true, ws.OpClose, "x"), ws.StatusProtocolError},
			{"close with 1005", gatewaytest.CloseFrame(1005, ""), ws.StatusProtocolError},
			{"close with 2000", gatewaytest.CloseFrame(2000, ""), ws.StatusProtocolError},
			{"close reason not UTF-8", gatewaytest.Frame(true, ws.OpClose, "\x03\xe8\xff"), ws.StatusInvalidFramePayloadData},
			{"text not UTF-8", gatewaytest.Frame(true, ws.OpText, "\xff"), ws.StatusInvalidFramePayloadData},
			{"text not UTF-8, unfinished", gatewaytest.HeaderOf(ws.OpText, 100) + "\xff", ws.StatusInvalidFramePayloadData},
			{"rune cut at the end", part + gatewaytest.Frame(true, ws.OpContinuation, "\xe2\x82"), ws.StatusInvalidFramePayloadData},
			{"binary", gatewaytest.Frame(true, ws.OpBinary, "x"), ws.StatusUnsupportedData},
			{"HTTP", gatewaytest.Head(), ws.StatusProtocolError},
		} {
			// Commands after the fault must have no effect: only the close frame may come.
			if err := g.ended(tc.sent+gatewaytest.Frame(true, ws.OpText, `{"type":"ping"}`), 2*answerWithin, tc.code); err != nil {
				t.Errorf("%s: %v", tc.name, err)
			}
		}
	})
}
