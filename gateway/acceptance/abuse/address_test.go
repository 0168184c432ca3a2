package abuse

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/carillon-ws/carillon/gateway/gatewaytest"
)

// tooMany reports whether an error is the refusal of an address with as many connections as it may have.
func tooMany(err error) bool {
	var refused *gatewaytest.StatusError
	return errors.As(err, &refused) && slices.Contains([]int{http.StatusTooManyRequests, http.StatusServiceUnavailable}, refused.Status)
}

func TestT08SpoofedAddress(t *testing.T) {
	t.Parallel()
	const most = 5
	limit := []string{"-max-connections-per-address", fmt.Sprint(most)}
	// fill connects most clients and 20 more. Exactly these 20 must be refused.
	fill := func(t *testing.T, dial func(i int) (*gatewaytest.Client, error)) {
		t.Helper()
		for i := range most + 20 {
			c, err := dial(i)
			if err == nil {
				t.Cleanup(func() { _ = c.Close() })
			}
			if i < most && err != nil || i >= most && !tooMany(err) {
				t.Errorf("client %d: %v, want %d served and the others refused", i, err, most)
			}
		}
	}
	forwarded := func(i int) string { return fmt.Sprintf("X-Forwarded-For: 203.0.113.%d", i) }
	dialer := func(g *target) func(string, ...string) (*gatewaytest.Client, error) {
		return func(before string, lines ...string) (*gatewaytest.Client, error) {
			c, err := gatewaytest.Connect(g.Addr)
			if err != nil {
				return nil, err
			}
			if err := c.Upgrade(before + gatewaytest.Head(lines...)); err != nil {
				return nil, errors.Join(err, c.Close())
			}
			return c, nil
		}
	}

	// The bystander has an address of its own: the limit of one address must not affect another.
	g := attacked(t, limit...)
	g.options = []gatewaytest.Option{gatewaytest.From("127.0.0.9")}
	g.withstands(t, "hs-per-ip", 8*mib, func(t *testing.T) {
		dial := dialer(g)
		fill(t, func(i int) (*gatewaytest.Client, error) { return dial("", forwarded(i)) })
	})

	behind := attacked(t, append(limit, "-trusted-proxy", "127.0.0.0/8")...)
	behind.head = []string{"X-Forwarded-For: 198.51.100.9"}
	behind.withstands(t, "hs-per-ip-behind-a-proxy", 8*mib, func(t *testing.T) {
		dial := dialer(behind)
		for i := range 20 { // the proxy names another address each time
			c, err := dial("", forwarded(i))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
		}
		// The proxy adds its entry to the right of what the client itself wrote.
		fill(t, func(i int) (*gatewaytest.Client, error) {
			return dial("", fmt.Sprintf("X-Forwarded-For: 192.0.2.%d, 203.0.113.200", i))
		})
	})

	proxied := attacked(t, append(limit, "-proxy-protocol", "-trusted-proxy", "127.0.0.0/8")...)
	line := func(client string) string { return "PROXY TCP4 " + client + " 192.0.2.1 56324 443\r\n" }
	t.Run("hs-per-ip-proxy-protocol", func(t *testing.T) {
		dial := dialer(proxied)
		for i := range 20 {
			c, err := dial(line(fmt.Sprintf("203.0.113.%d", i)))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
		}
		fill(t, func(int) (*gatewaytest.Client, error) { return dial(line("203.0.113.200")) })
	})
}

func TestT09SecretsInLogs(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t-t0k3n"
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(strings.Repeat(secret, 4)), 0o600); err != nil {
		t.Fatal(err)
	}
	g := attacked(t, "-log-level", "debug", "-jwt-secret", key, "-jwt-query")
	// No client may be served here, so there is no bystander: only the log is judged.
	t.Run("hs-log-secret", func(t *testing.T) {
		query := strings.Replace(gatewaytest.Head(), "/ws", "/ws?token="+secret, 1)
		for _, head := range []string{
			query,
			strings.Replace(query, "Upgrade: websocket\r\n", "", 1), strings.Replace(query, "/ws?", "/elsewhere?", 1),
			gatewaytest.Head("Authorization: Bearer " + secret), gatewaytest.Head("Cookie: token=" + secret),
			gatewaytest.Head("Sec-WebSocket-Protocol: carillon.v1, bearer." + secret),
			gatewaytest.Head("Authorization: Bearer "+secret, "Origin: http://evil.example"),
			gatewaytest.Head("Cookie: token="+secret, "Bad Header"),
		} {
			_, answer, err := ask(g.Addr, head)
			if err != nil {
				t.Errorf("%.80q: %v", head, err)
			}
			if strings.Contains(answer, secret) {
				t.Errorf("%.80q: the answer repeats the secret: %s", head, answer)
			}
		}
		if c, err := g.dial(); err == nil {
			_ = c.Send(`{"type":"auth","token":"` + secret + `"}`)
			if m, err := c.Message(); err != nil || m.Type != "error" {
				t.Errorf("answer to a bad token: %+v, %v", m, err)
			}
			_ = c.Close()
		}
		gatewaytest.Eventually(t, gatewaytest.Patience, "connections are still open", func() bool { return g.Metric("ws_sockets_active") == 0 })
		_, metrics, err := gatewaytest.Get(g.Admin + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		for where, text := range map[string]string{"log": g.Log(), "metrics": metrics} {
			if at := strings.Index(text, secret); at >= 0 {
				t.Errorf("the secret is in the %s: %q", where, text[max(0, at-100):at+len(secret)])
			}
		}
	})
}
