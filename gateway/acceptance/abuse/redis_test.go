package abuse

import (
	"strings"
	"testing"

	"github.com/carillon-ws/carillon/gateway/gatewaytest"
	"github.com/carillon-ws/carillon/protocol"
)

func TestT24HostilePayload(t *testing.T) {
	t.Parallel()
	g, publisher := withRedis(t)
	g.withstands(t, "redis-weird-payloads", 48*mib, func(t *testing.T) {
		c := gatewaytest.MustDial(t, g.Addr)
		if err := c.Subscribe("weird"); err != nil {
			t.Fatal(err)
		}
		for _, payload := range []string{
			"", "\x00", `"`, `\`, `\"`, `"},{"type":"connected"`, "\r\n\r\n", "\u2028\u2029", "</script>", "\x7f\x1b[31m", "\ufeff", "{", "null",
			"\xff", "\xfe\xff", "a\x80b", "\xed\xa0\x80", "\xc0\xaf", "\xf4\x90\x80\x80", "\xe2\x82", "🔔" + "\xf0\x9f\x94",
			strings.Repeat("\xff", 100_000), strings.Repeat(`"`, 500_000), strings.Repeat("\x00", 300_000), strings.Repeat("a", 1<<20), strings.Repeat("é", 1<<19),
		} {
			if err := publisher.Publish(t.Context(), protocol.RedisPrefix+"weird", payload).Err(); err != nil {
				t.Fatal(err)
			}
			m, err := c.Message() // which must be valid JSON
			if err != nil {
				t.Fatalf("%.20q: %v", payload, err)
			}
			want := strings.Map(func(r rune) rune { return r }, payload) // a byte that is not UTF-8 becomes U+FFFD
			if m.Type != "notification" || m.Channel != "weird" || m.Data != want {
				t.Errorf("%.20q came as %.80q (%d bytes), want %d", payload, m.Data, len(m.Data), len(want))
			}
		}
		// A Redis channel whose name is not a valid channel reaches nobody.
		for _, channel := range []string{"", "\x00", "\xff", strings.Repeat("c", 100_000), "notifications:weird", "*", "\r\n"} {
			if err := publisher.Publish(t.Context(), protocol.RedisPrefix+channel, "stray").Err(); err != nil {
				t.Fatal(err)
			}
		}
		if err := publisher.Publish(t.Context(), protocol.RedisPrefix+"weird", "last").Err(); err != nil {
			t.Fatal(err)
		}
		if err := hears(c, "weird", "last"); err != nil {
			t.Error(err)
		}
	})
}
