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

// adminFlag adds -admin: the address of the gateway that the command asks. In a container the command and the gateway
// have the same environment, so the default is the gateway's CARILLON_ADMIN.
func adminFlag(fs *flag.FlagSet, usage string) *string {
	value := os.Getenv(settings.EnvName("admin"))
	if value == "" {
		value = "127.0.0.1:9090"
	}
	return fs.String("admin", value, usage)
}

// adminAnswer is a gateway's answer: its status, as in "200 OK", and the first 4 KiB of its text without the white space
// around it.
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
	defer resp.Body.Close() //nolint:errcheck // the answer was read, or reading it failed
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
