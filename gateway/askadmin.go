package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"

	"github.com/carillon-ws/carillon/gateway/settings"
)

// adminFlag is where a running gateway is asked. Like the gateway's own flag it may come from the environment, which
// both have in a container.
func adminFlag(fs *flag.FlagSet, usage string) *string {
	value := os.Getenv(settings.EnvName("admin"))
	if value == "" {
		value = "127.0.0.1:9090"
	}
	return fs.String("admin", value, usage)
}

// adminAnswer is what a gateway says: its status, as in "200 OK", and its text, trimmed and of 4 KiB at most.
type adminAnswer struct {
	ok           bool
	status, text string
}

// askAdmin sends a request to the admin listener of a running gateway. admin may be what the gateway has as -admin: if it
// listens on all addresses, the request goes to loopback, and so never through a proxy that HTTP_PROXY names. An empty
// token is not sent.
func askAdmin(ctx context.Context, admin, token, method, path, body string) (adminAnswer, error) {
	host, port, err := net.SplitHostPort(admin)
	if err != nil {
		return adminAnswer{}, settings.Usagef("-admin %q is not host:port", admin)
	}
	if isAllAddresses(host) {
		host = "127.0.0.1"
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+net.JoinHostPort(host, port)+path, strings.NewReader(body))
	if err != nil {
		return adminAnswer{}, settings.Usagef("-admin: %w", err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return adminAnswer{}, fmt.Errorf("no gateway answers at -admin %s: %w", admin, err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end, or given up
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return adminAnswer{}, fmt.Errorf("read the gateway's answer: %w", err)
	}
	return adminAnswer{resp.StatusCode == http.StatusOK, resp.Status, strings.TrimSpace(string(text))}, nil
}

// isAllAddresses reports whether a host stands for all addresses of this machine: 0.0.0.0, [::], or none.
func isAllAddresses(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "" || err == nil && addr.IsUnspecified()
}
