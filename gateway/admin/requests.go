package admin

import (
	"context"
	"net"
	"net/http"
	"sync"
)

// requests counts what is served at a time, probes excepted. Safe for concurrent use.
type requests struct {
	mu   sync.Mutex
	all  int            // Guarded by mu.
	from map[string]int // Guarded by mu. By address, those with a request.
}

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

// socketKey is where a request's context holds its *socket.
type socketKey struct{}

func withSocket(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, socketKey{}, conn)
}

// bounded refuses requests over the bounds. Probes have none, because they are answered at once: whoever else is
// here, an orchestrator must not kill a gateway that is well.
func (a *Admin) bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := r.Context().Value(socketKey{}).(*socket)
		if isProbe(r.URL.Path) {
			s.serve(false) // the socket is fresh: it is left alone for as long as the answer takes
			next.ServeHTTP(w, r)
			return
		}
		if !a.requests.take(s.from) {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "too many requests are being served: ask again in a second", http.StatusServiceUnavailable)
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
