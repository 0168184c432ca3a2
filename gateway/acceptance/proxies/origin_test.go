package proxies

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/gobwas/ws"

	"github.com/carillon-ws/carillon/fanout/redis/redistest"
)

// TestPagesOfTheProxy: a page at the proxy's name connects through the proxy to gateways on loopback without tokens. Such a
// gateway accepts only loopback pages unless it knows of the proxy; the configurations of the proxies name their origin.
func TestPagesOfTheProxy(t *testing.T) {
	const name = "bell.example"
	for _, px := range proxies {
		t.Run(px.name, func(t *testing.T) {
			t.Parallel()
			store := redistest.Start(t)
			gw := startGateway(t, append([]string{"-redis", store.URL()}, px.gatewayFlags...)...)
			front := px.start(t, []*gatewayProcess{gw})
			for origin, want := range map[string]int{
				"https://" + name: http.StatusSwitchingProtocols, "https://evil.example": http.StatusForbidden, "null": http.StatusForbidden,
			} {
				if status, err := statusAt(t.Context(), front.addr, name, origin); status != want {
					t.Errorf("a page of %s: status %d, %v, want %d", origin, status, err, want)
				}
			}
		})
	}
}

// statusAt returns the status of the answer to a page's handshake through a proxy.
func statusAt(ctx context.Context, addr, host, origin string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	d := ws.Dialer{TLSConfig: certificate.client, Host: host, Header: ws.HandshakeHeaderHTTP{"Origin": {origin}}}
	conn, buffered, _, err := d.Dial(ctx, "wss://"+addr+"/ws")
	if err == nil {
		if buffered != nil {
			ws.PutReader(buffered)
		}
		return http.StatusSwitchingProtocols, conn.Close()
	}
	refused := ws.StatusError(0)
	errors.As(err, &refused)
	return int(refused), err
}
