package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"github.com/carillon-ws/carillon/protocol/http1"
)

// guard decides which requests are served.
type guard struct {
	next  http.Handler
	token string
	bound netip.Addr // the address of the listener; unspecified: all addresses
	names []string   // host names of this listener, in lower case
}

func newGuard(cfg *Config, bound netip.Addr, next http.Handler) *guard {
	g := &guard{next: next, token: cfg.Token, bound: bound}
	if name, _, err := net.SplitHostPort(cfg.Addr); err == nil && name != "" {
		g.names = append(g.names, strings.ToLower(name))
	}
	if name, err := os.Hostname(); err == nil && !bound.IsLoopback() {
		g.names = append(g.names, strings.ToLower(name))
	}
	return g
}

// refusal says why a request is not served. The zero value means that it is served.
type refusal struct {
	status int
	text   string
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Content-Type-Options", "nosniff")
	refused := g.check(r)
	if refused.status == http.StatusUnauthorized {
		header.Set("WWW-Authenticate", `Bearer realm="carillon admin"`)
	}
	if refused != (refusal{}) {
		http.Error(w, refused.text, refused.status)
		return
	}
	g.next.ServeHTTP(w, r)
}

func (g *guard) check(r *http.Request) refusal {
	safe := r.Method == http.MethodGet || r.Method == http.MethodHead
	if safe && isOpen(r.URL.Path) {
		return refusal{}
	}
	if g.token == "" && !g.bound.IsLoopback() {
		return refusal{http.StatusForbidden, "only /metrics, /livez and /readyz are served beyond loopback without a token: set -admin-token for the rest"}
	}
	if (g.token == "" || !safe) && !g.isOwnHost(r.Host) {
		return refusal{http.StatusForbidden, "the Host header names another host than this listener: " +
			"use its address or localhost"}
	}
	if !safe && !sameOrigin(r) {
		return refusal{http.StatusForbidden, "requests from pages of another origin are refused"}
	}
	free := g.token == "" || safe && (isAsset(r.URL.Path) || opsAssets[r.URL.Path] != "")
	if !free && !g.hasToken(r) {
		return refusal{http.StatusUnauthorized, "the admin token is needed: Authorization: Bearer …, or ?token=… for the pages / and /ops"}
	}
	return refusal{}
}

// isOpen reports whether a path is served to anyone who can reach the listener: metrics and probes.
func isOpen(path string) bool {
	return path == "/metrics" || isProbe(path)
}

// hasToken reports whether a request has the token. It compares in constant time. Only for the two pages may the token be
// in the query: a browser cannot be told to send a header for a page. The requests of a page have the header.
func (g *guard) hasToken(r *http.Request) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		token = ""
		if r.URL.Path == "/" || r.URL.Path == opsPath {
			token = r.URL.Query().Get("token")
		}
	}
	got, want := sha256.Sum256([]byte(strings.TrimSpace(token))), sha256.Sum256([]byte(g.token)) // hashes have equal lengths
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

// isOwnHost reports whether a Host header names this listener. It is the defence against DNS rebinding: when evil.example
// is made to point at this listener, its page still sends that name as Host. Nobody can make an address point elsewhere,
// so a listener on all addresses accepts any address.
func (g *guard) isOwnHost(hostport string) bool {
	host := hostOnly(hostport)
	if http1.IsLoopbackHost(host) {
		return true
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return g.bound.IsUnspecified() || addr.Unmap().WithZone("") == g.bound.WithZone("")
	}
	for _, name := range g.names {
		if strings.ToLower(host) == name {
			return true
		}
	}
	return false
}

// sameOrigin reports whether a request comes from a page of this listener, or from no page.
func sameOrigin(r *http.Request) bool {
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return true
	}
	origin, err := url.Parse(origins[0])
	return err == nil && len(origins) == 1 && origin.Host != "" && strings.EqualFold(origin.Host, r.Host)
}

// hostOnly returns a host without its port and without the brackets of IPv6.
func hostOnly(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return strings.Trim(hostport, "[]")
}
