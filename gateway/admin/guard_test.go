package admin

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

func TestGuard(t *testing.T) {
	t.Parallel()
	const (
		loopback = "127.0.0.1"
		lan      = "10.1.2.3"
		all      = "0.0.0.0"
	)
	tests := []struct {
		name          string
		bound, token  string
		method, path  string
		host          string // empty: the bound address
		origin        string
		authorization string
		want          int // 0: served
	}{
		{name: "loopback page", bound: loopback, path: "/"},
		{name: "loopback publish", bound: loopback, method: "POST", path: "/publish/a"},
		{name: "loopback IPv6", bound: "::1", host: "[::1]:9090", method: "POST", path: "/publish/a"},
		{name: "through a tunnel", bound: loopback, host: "localhost:7000", method: "POST", path: "/publish/a"},

		{name: "rebound name publishes", bound: loopback, host: "evil.example", method: "POST", path: "/publish/a", want: 403},
		{name: "rebound name reads", bound: loopback, host: "evil.example:9090", path: "/debug/pprof/heap", want: 403},
		{name: "name that begins like ours", bound: loopback, host: "127.0.0.1.evil.example", method: "POST", path: "/publish/a", want: 403},
		{name: "address of another host", bound: loopback, host: "10.9.9.9", method: "POST", path: "/publish/a", want: 403},
		{name: "rebound name and metrics", bound: loopback, host: "evil.example", path: "/metrics"},

		{name: "own origin", bound: loopback, host: "127.0.0.1:9090", origin: "http://127.0.0.1:9090", method: "POST", path: "/publish/a"},
		{name: "other origin", bound: loopback, origin: "https://evil.example", method: "POST", path: "/publish/a", want: 403},
		{name: "other loopback port", bound: loopback, host: "127.0.0.1:9090", origin: "http://127.0.0.1:3000", method: "POST", path: "/publish/a", want: 403},
		{name: "opaque origin", bound: loopback, origin: "null", method: "POST", path: "/publish/a", want: 403},
		{name: "preflight", bound: loopback, origin: "https://evil.example", method: "OPTIONS", path: "/publish/a", want: 403},

		{name: "off loopback metrics", bound: lan, path: "/metrics"},
		{name: "off loopback livez", bound: lan, path: "/livez"},
		{name: "off loopback readyz", bound: all, path: "/readyz"},
		{name: "off loopback page", bound: lan, path: "/", want: 403},
		{name: "off loopback info", bound: all, path: "/info", want: 403},
		{name: "off loopback style sheet", bound: all, path: "/page.css", want: 403},
		{name: "off loopback pprof", bound: "::", path: "/debug/pprof/", want: 403},
		{name: "off loopback publish", bound: lan, method: "POST", path: "/publish/a", want: 403},
		{name: "off loopback, asked as localhost", bound: all, host: "localhost", path: "/info", want: 403},
		{name: "off loopback, metrics by POST", bound: lan, method: "POST", path: "/metrics", want: 403},

		{name: "token missing", bound: lan, token: "secret", path: "/info", want: 401},
		{name: "token wrong", bound: lan, token: "secret", path: "/info", authorization: "Bearer secre", want: 401},
		{name: "token empty", bound: lan, token: "secret", path: "/info", authorization: "Bearer ", want: 401},
		{name: "token by another scheme", bound: lan, token: "secret", path: "/info", authorization: "Basic secret", want: 401},
		{name: "token right", bound: lan, token: "secret", path: "/info", authorization: "Bearer secret"},
		{name: "token right, scheme in lower case", bound: lan, token: "secret", path: "/info", authorization: "bearer secret"},
		{name: "token on loopback", bound: loopback, token: "secret", path: "/debug/pprof/", want: 401},
		{name: "token and metrics", bound: lan, token: "secret", path: "/metrics"},
		{name: "token and readyz", bound: lan, token: "secret", path: "/readyz"},
		{name: "token in the page's query", bound: lan, token: "secret", path: "/?token=secret"},
		{name: "wrong token in the page's query", bound: lan, token: "secret", path: "/?token=no", want: 401},
		{name: "token in another query", bound: lan, token: "secret", path: "/info?token=secret", want: 401},
		{name: "token in the operator page's query", bound: lan, token: "secret", path: "/ops?token=secret"},
		{name: "operator page without it", bound: lan, token: "secret", path: "/ops", want: 401},
		{name: "operator page's script", bound: lan, token: "secret", path: "/ops.js"},
		{name: "connections with the token in the query", bound: lan, token: "secret", path: "/connections?token=secret", want: 401},
		{name: "off loopback connections", bound: lan, path: "/connections", want: 403},
		{name: "off loopback log level", bound: lan, method: "POST", path: "/log-level", want: 403},
		{name: "token and style sheet", bound: lan, token: "secret", path: "/page.css"},
		{name: "token and any name", bound: all, token: "secret", host: "gateway.internal", path: "/info", authorization: "Bearer secret"},
		{name: "publish without token", bound: lan, token: "secret", method: "POST", path: "/publish/a", want: 401},
		{name: "publish with token", bound: lan, token: "secret", method: "POST", path: "/publish/a", authorization: "Bearer secret"},
		{name: "publish with token in the query", bound: lan, token: "secret", method: "POST", path: "/publish/a?token=secret", want: 401},
		{name: "publish with token, any address", bound: all, host: "192.0.2.7:9090", token: "secret", method: "POST", path: "/publish/a", authorization: "Bearer secret"},
		{name: "publish with token, configured name", bound: lan, host: "Admin.Internal:9090", token: "secret", method: "POST", path: "/publish/a", authorization: "Bearer secret"},
		{name: "publish with token, other name", bound: lan, host: "evil.example", token: "secret", method: "POST", path: "/publish/a", authorization: "Bearer secret", want: 403},
		{name: "publish with token, other origin", bound: lan, origin: "http://evil.example", token: "secret", method: "POST", path: "/publish/a", authorization: "Bearer secret", want: 403},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			served := false
			next := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served = true })
			bound := netip.MustParseAddr(tt.bound)
			g := newGuard(&Config{Addr: "admin.internal:9090", Token: tt.token}, bound, next)
			method := tt.method
			if method == "" {
				method = "GET"
			}
			r := httptest.NewRequest(method, tt.path, nil)
			r.Host = tt.host
			if r.Host == "" {
				r.Host = netip.AddrPortFrom(bound, 9090).String()
			}
			if tt.origin != "" {
				r.Header.Set("Origin", tt.origin)
			}
			if tt.authorization != "" {
				r.Header.Set("Authorization", tt.authorization)
			}
			w := httptest.NewRecorder()
			g.ServeHTTP(w, r)
			if want := tt.want == 0; served != want || !want && w.Code != tt.want {
				t.Errorf("%s %s: served = %v, status %d %q, want %d", method, tt.path, served, w.Code, w.Body, tt.want)
			}
			if challenged := w.Header().Get("WWW-Authenticate") != ""; challenged != (tt.want == 401) {
				t.Errorf("WWW-Authenticate = %q at status %d", w.Header().Get("WWW-Authenticate"), w.Code)
			}
		})
	}
}

func TestOffLoopbackOverTheWire(t *testing.T) {
	t.Parallel()
	cfg := testConfig()
	cfg.Addr = "0.0.0.0:0"
	_, url := start(t, cfg)
	for path, want := range map[string]int{"/metrics": 200, "/livez": 200, "/readyz": 200, "/": 403, "/info": 403, "/debug/pprof/": 403} {
		if got := do(t, "GET", url+path, ""); got.status != want {
			t.Errorf("GET %s = %d %q, want %d", path, got.status, got.body, want)
		}
	}
	if got := do(t, "POST", url+"/publish/a", ""); got.status != 403 || !strings.Contains(got.body, "-admin-token") {
		t.Errorf("publish = %d %q, want 403 that names the flag", got.status, got.body)
	}
}

func TestTokenOverTheWire(t *testing.T) {
	t.Parallel()
	cfg := testConfig()
	cfg.Addr, cfg.Token = "0.0.0.0:0", "secret"
	_, url := start(t, cfg)
	if got := do(t, "POST", url+"/publish/a", "", header("Authorization", "Bearer secret")); got.status != 200 {
		t.Errorf("publish with the token = %d %q", got.status, got.body)
	}
	if got := do(t, "POST", url+"/publish/a", "", header("Authorization", "Bearer secret"), host("evil.example")); got.status != 403 {
		t.Errorf("publish with another Host = %d %q, want 403", got.status, got.body)
	}
	if got := do(t, "GET", url+"/?token=secret", ""); got.status != 200 {
		t.Errorf("page with the token = %d %q", got.status, got.body)
	}
	if got := do(t, "GET", url+"/", ""); got.status != 401 {
		t.Errorf("page without the token = %d %q, want 401", got.status, got.body)
	}
}
