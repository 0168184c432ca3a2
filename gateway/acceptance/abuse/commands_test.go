package abuse

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/gateway/gatewaytest"
	"github.com/carillon-ws/carillon/protocol"
)

// policy are the close codes for a client that sends too much.
var policy = []ws.StatusCode{ws.StatusPolicyViolation, protocol.CloseRateLimit}

// refusedCommand sends a text message, which must be refused: by an error message, or by a close with policy. If there are
// codes, the code of the error message must be one of them.
func (g *target) refusedCommand(text string, codes ...string) error {
	c, err := g.dial()
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // it is of no more use
	if err := c.Send(text); err != nil {
		return err
	}
	m, err := c.Message()
	var closed *gatewaytest.CloseError
	switch {
	case errors.As(err, &closed) && slices.Contains(policy, closed.Code):
		return nil
	case err != nil:
		return err
	case m.Type != "error" || len(codes) > 0 && !slices.Contains(codes, m.Code):
		return fmt.Errorf("%.60q was answered by %.200v", text, m)
	}
	return c.Ping() // the connection must stay open
}

func TestT19HostileJSON(t *testing.T) {
	t.Parallel()
	g := attacked(t)
	n := maxMessage
	g.withstands(t, "app-json-depth", 8*mib, func(t *testing.T) {
		for _, text := range []string{
			strings.Repeat("[", n), strings.Repeat("{", n), strings.Repeat(`{"a":`, n/5), strings.Repeat(`[{"a":`, n/6), strings.Repeat("[]", n/2),
			`{"type":"subscribe","channel":"a","x":` + strings.Repeat("[", n-100) + "}",
			`{"type":"subscribe","channel":"a","x":` + strings.Repeat("[", n/2-100) + strings.Repeat("]", n/2-100) + "}",
		} {
			if err := g.refusedCommand(text); err != nil {
				t.Error(err)
			}
		}
	})
	g.withstands(t, "app-json-garbage", 8*mib, func(t *testing.T) {
		for _, text := range []string{
			"", " ", "null", "true", "0", `""`, "[]", "{}", "{", "}", "\x00", "subscribe", `{"type":"subscribe"}`,
			`{"type":1}`, `{"type":null}`, `{"type":["subscribe"]}`, `{"type":{"type":"subscribe"}}`, `{"TYPE":"subscribe","channel":"a"}`,
			`{"type":"subscribe","channel":1}`, `{"type":"subscribe","channel":{}}`, `{"type":"subscribe","channel":[]}`, `{"type":"subscribe","channel":true}`,
			`{"type":"subscribe","channel":1e99999}`, `{"type":"subscribe","channels":"a"}`, `{"type":"subscribe","channels":[1]}`, `{"type":"subscribe","channels":[["a"]]}`,
			`{"type":"subscribe","channel":"\ud800"}`, `{"type":"subscribe","channel":"\udc00\ud800"}`, `{"type":"subscribe","channel":"\ud800a"}`,
			`{"type":"subscribe","channel":"\x"}`, `{"type":"subscribe","channel":"\u12"}`, `{"type":"subscribe","channel":"a` + "\n" + `"}`,
			`{"type":"subscribe","channel":"a"}x`, `{"type":"subscribe","channel":"a"}{"type":"subscribe","channel":"b"}`, `{"type":"subscribe","channel":"a"},`,
			`{"type":"subscribe","channel":"a",}`, `{"type":"subscribe" "channel":"a"}`, `{type:"subscribe",channel:"a"}`, `{'type':'subscribe','channel':'a'}`,
			`{"type":"subscribe","channel":"a","id":1e99999e}`, `{"type":"subscribe","channel":"a","id":{}}`, `{"type":"subscribe","channel":"a","x":01}`,
			`{"type":"subscribe","channel":"a","x":NaN}`, `{"type":"subscribe","channel":"a"` + strings.Repeat(" ", n-100), "\ufeff" + `{"type":"ping"}`,
			`{"type":"subscribe","channel":"a","id":"` + strings.Repeat("i", n-100) + `"}`,
			`{"type":"` + strings.Repeat("s", n-100) + `"}`,
		} {
			if err := g.refusedCommand(text); err != nil {
				t.Errorf("%.80q: %v", text, err)
			}
		}
	})
	g.withstands(t, "app-json-flood", 24*mib, func(t *testing.T) {
		g.converse(t, func(i int) string { return [...]string{`{"type":`, "\x00", `[[[[`, `{"type":"x"}`}[i%4] }, 100*scale(100, 1000), func(_ int, m gatewaytest.Message) error {
			if m.Type != "error" {
				return fmt.Errorf("answer %+v", m)
			}
			return nil
		})
	})
}

// converse sends n commands, a hundred at a time, and judges the answer to each, until the gateway closes the connection
// with policy. A client that sends more without reading is a slow consumer, which is T23.
func (g *target) converse(t *testing.T, command func(i int) string, n int, judge func(i int, m gatewaytest.Message) error) {
	t.Helper()
	c, err := g.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // it is of no more use
	const window = 100
	for i := range n {
		if i%window == 0 {
			var round strings.Builder
			for j := i; j < i+window; j++ {
				round.WriteString(gatewaytest.Frame(true, ws.OpText, command(j)))
			}
			if err := c.Say(round.String()); err != nil {
				t.Fatal(err)
			}
		}
		m, err := c.Message()
		var closed *gatewaytest.CloseError
		if errors.As(err, &closed) && slices.Contains(policy, closed.Code) {
			return
		}
		if err == nil {
			err = judge(i, m)
		}
		if err != nil {
			t.Fatalf("command %d: %v", i, err)
		}
	}
}

func TestT20ChannelAbuse(t *testing.T) {
	t.Parallel()
	g := attacked(t)
	subscribe := func(channel string) string {
		name, err := json.Marshal(channel)
		if err != nil {
			t.Fatal(err)
		}
		return `{"type":"subscribe","channel":` + string(name) + `}`
	}
	g.withstands(t, "app-channel-names", 8*mib, func(t *testing.T) {
		for _, name := range []string{
			"", strings.Repeat("a", 60<<10), strings.Repeat("é", 128), "a\x00b", "a\r\nPUBLISH x y", "a\nb", "\x1b[31m", "a\u0085b", "a\x7fb",
			"notifications:", "notifications:notifications:a",
		} {
			if err := g.refusedCommand(subscribe(name), "bad_channel"); err != nil {
				t.Errorf("%.60q: %v", name, err)
			}
		}
	})
	g.withstands(t, "app-subscribe-flood", 16*mib, func(t *testing.T) {
		g.converse(t, func(i int) string { return subscribe(fmt.Sprintf("flood:%d", i)) }, 100*scale(100, 1000), func(i int, m gatewaytest.Message) error {
			const most = 1000 // the default of -max-channels
			if i < most && m.Type != "subscribed" || i >= most && (m.Type != "error" || m.Code != "too_many_channels" && m.Code != "rate_limited") {
				return fmt.Errorf("answer %+v", m)
			}
			return nil
		})
		if n := g.Metric("ws_subscriptions_active"); n > 1000+200 {
			t.Errorf("%v subscriptions are held", n)
		}
	})
	g.withstands(t, "app-subscribe-churn", 16*mib, func(t *testing.T) {
		g.converse(t, func(i int) string {
			if i%2 == 0 {
				return subscribe(fmt.Sprintf("churn:%d", i))
			}
			return strings.Replace(subscribe(fmt.Sprintf("churn:%d", i-1)), "subscribe", "unsubscribe", 1)
		}, 100*scale(100, 1000), func(i int, m gatewaytest.Message) error {
			if want := [...]string{"subscribed", "unsubscribed"}[i%2]; m.Type != want && m.Code != "rate_limited" {
				return fmt.Errorf("answer %+v, want %s", m, want)
			}
			return nil
		})
		gatewaytest.Eventually(t, gatewaytest.Patience, "channels are held that nobody is subscribed to", func() bool {
			return g.Metric("ws_channels_active") < 100
		})
	})
}

// hears reads a message, which must be exactly this notification.
func hears(c *gatewaytest.Client, channel, data string) error {
	m, err := c.Message()
	if err == nil && (m.Type != "notification" || m.Channel != channel || m.Data != data) {
		err = fmt.Errorf("got %+v, want %s on %s", m, data, channel)
	}
	return err
}

func TestT21PatternLeak(t *testing.T) {
	t.Parallel()
	g := attacked(t)
	g.withstands(t, "app-glob-channel", 8*mib, func(t *testing.T) {
		spy, owner := gatewaytest.MustDial(t, g.Addr), gatewaytest.MustDial(t, g.Addr)
		for _, pattern := range []string{"*", "user:*", "user:?", "user:[0-9]", "notifications:*", "%", ".*", "user:1\u200b", "USER:1", "user:1 "} {
			if err := spy.Send(`{"type":"subscribe","channel":"` + pattern + `"}`); err != nil {
				t.Fatal(err)
			}
			if m, err := spy.Message(); err != nil || m.Type != "subscribed" && m.Type != "error" {
				t.Fatalf("%s: %+v, %v", pattern, m, err)
			}
		}
		if err := owner.Subscribe("user:1"); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(g.Publish("user:1", "private"), hears(owner, "user:1", "private")); err != nil {
			t.Fatal(err)
		}
		if err := spy.Ping(); err != nil { // the answer would come after what leaked
			t.Errorf("the spy: %v", err)
		}
	})
}

func TestT22ForgedPublish(t *testing.T) {
	t.Parallel()
	g := attacked(t)
	g.withstands(t, "app-client-publish", 8*mib, func(t *testing.T) {
		victim := gatewaytest.MustDial(t, g.Addr)
		if err := victim.Subscribe("user:1"); err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{
			`{"type":"notification","channel":"user:1","data":"forged","timestamp":1}`, `{"type":"publish","channel":"user:1","data":"forged"}`,
			`{"type":"PUBLISH","channel":"notifications:user:1","data":"forged"}`, `{"type":"gap","channel":"user:1","reason":"redis"}`,
			`{"type":"subscribed","channel":"user:1"}`, `{"type":"connected"}`, `{"type":"broadcast","data":"forged"}`,
		} {
			if err := g.refusedCommand(text, "bad_type"); err != nil {
				t.Error(err)
			}
		}
		if err := victim.Ping(); err != nil {
			t.Errorf("the victim: %v", err)
		}
		if n := g.Metric("redis_pubsub_messages"); n != 0 {
			t.Errorf("%v publications reached Redis", n)
		}
	})
}
