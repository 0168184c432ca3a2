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

// guard decides who may ask for what.
type guard struct {
	next  http.Handler
	token string
	bound netip.Addr // the address listened on; may be unspecified, which is all of them
	names []string   // host names that are this listener, in lower case
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

// refusal is a reason not to serve a request; the zero value is none.
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
		return refusal{http.StatusForbidden, "only /metrics, /livez and /readyz are served off loopback: set -admin-token for the rest"}
	}
	if (g.token == "" || !safe) && !g.isOwnHost(r.Host) {
		return refusal{http.StatusForbidden, "the Host header names another host than this listener: " +
			"ask by its address or by localhost"}
	}
	if !safe && !sameOrigin(r) {
		return refusal{http.StatusForbidden, "a page of another origin may not do this"}
	}
	free := g.token == "" || safe && (isAsset(r.URL.Path) || opsAssets[r.URL.Path] != "")
	if !free && !g.hasToken(r) {
		return refusal{http.StatusUnauthorized, "the admin token is needed: Authorization: Bearer …, or for the page /?token=…"}
	}
	return refusal{}
}

// isOpen reports whether a path is for anybody who can reach the listener: what monitoring asks for.
func isOpen(path string) bool {
	return path == "/metrics" || isProbe(path)
}

// hasToken compares in constant time. Only the pages themselves take their token from the query: a browser cannot send
// a header for them, and their own requests do.
func (g *guard) hasToken(r *http.Request) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		token = ""
		if r.URL.Path == "/" || r.URL.Path == opsPath {
			token = r.URL.Query().Get("token")
		}
	}
	got, want := sha256.Sum256([]byte(strings.TrimSpace(token))), sha256.Sum256([]byte(g.token)) // equal lengths
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

// isOwnHost is the defence against DNS rebinding: a page at evil.example whose name is made to point at this
// listener still sends its own name as Host. An address cannot be made to point elsewhere, so a listener on all
// addresses takes any address.
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

// sameOrigin reports whether a request comes from no page at all or from a page of this listener.
func sameOrigin(r *http.Request) bool {
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return true
	}
	origin, err := url.Parse(origins[0])
	return err == nil && len(origins) == 1 && origin.Host != "" && strings.EqualFold(origin.Host, r.Host)
}

// hostOnly takes the port and the brackets of IPv6 off.
func hostOnly(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return strings.Trim(hostport, "[]")
}
