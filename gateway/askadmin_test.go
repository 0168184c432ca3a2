package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestAllAddressesAreAskedOnLoopback: -admin 0.0.0.0:9090 is where a gateway listens, not where it is asked. Go sends
// requests to 0.0.0.0 through the proxy that HTTP_PROXY names, and requests to loopback never.
func TestAllAddressesAreAskedOnLoopback(t *testing.T) {
	t.Parallel()
	gw := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.Host)) }))
	defer gw.Close()
	own := strings.TrimPrefix(gw.URL, "http://")
	_, port, err := net.SplitHostPort(own)
	if err != nil {
		t.Fatal(err)
	}
	for _, admin := range []string{own, ":" + port, "0.0.0.0:" + port, "[::]:" + port} {
		answer, err := askAdmin(t.Context(), admin, "", http.MethodGet, "/", "")
		if err != nil || answer.text != own {
			t.Errorf("-admin %s asks %q, %v, want %q", admin, answer.text, err, own)
		}
	}
}

// TestDemoURL: a visitor of the clients' port is not sent to an address that no browser can open.
func TestDemoURL(t *testing.T) {
	t.Parallel()
	for admin, want := range map[string]string{
		"127.0.0.1:9090": "http://127.0.0.1:9090/", "[::1]:9090": "http://[::1]:9090/", "admin.internal:9090": "http://admin.internal:9090/",
		"127.0.0.1:0": "", ":9090": "", "0.0.0.0:9090": "", "[::]:9090": "",
	} {
		if got := demoURL(admin); got != want {
			t.Errorf("demoURL(%q) = %q, want %q", admin, got, want)
		}
	}
}
