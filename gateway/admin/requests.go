package admin

import (
	"context"
	"net"
	"net/http"
	"sync"
)

// requests counts the requests that are being served, without probes. Safe for concurrent use.
type requests struct {
	mu   sync.Mutex
	all  int            // Guarded by mu.
	from map[string]int // Guarded by mu. How many of them come from an address; only addresses with a request.
}

// take counts one more request. It reports false if that is one too many; otherwise put must follow.
func (r *requests) take(from string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all >= maxRequests || r.from[from] >= maxRequestsPerAddress {
		return false
	}
	if r.from == nil {
		r.from = make(map[string]int)
	}
	r.all++
	r.from[from]++
	return true
}

func (r *requests) put(from string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all--
	if r.from[from]--; r.from[from] == 0 {
		delete(r.from, from)
	}
}

// socketKey is the key of a request's *socket in its context.
type socketKey struct{}

func withSocket(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, socketKey{}, conn)
}

// bounded refuses requests over the bounds. Probes are not counted and never refused, because they are answered at once,
// and because an orchestrator kills a gateway whose probe fails.
func (a *Admin) bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := r.Context().Value(socketKey{}).(*socket)
		if isProbe(r.URL.Path) {
			s.serve(false) // the socket is fresh from now on, so it is not closed before the probe is answered
			next.ServeHTTP(w, r)
			return
		}
		if !a.requests.take(s.from) {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "too many requests are being served: try again in a second", http.StatusServiceUnavailable)
			return
		}
		defer a.requests.put(s.from)
		s.serve(true)
		defer s.serve(false)
		next.ServeHTTP(w, r)
	})
}

// isProbe reports whether a path is a health check.
func isProbe(path string) bool { return path == "/livez" || path == "/readyz" }
