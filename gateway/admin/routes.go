package admin

import (
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"time"
)

// routes returns the handler of all routes. The guard before it decides which requests reach it.
func (a *Admin) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", newMetrics(&a.cfg))
	mux.HandleFunc("GET /livez", a.livez)
	mux.HandleFunc("GET /readyz", a.readyz)
	mux.HandleFunc("GET /info", a.info)
	mux.HandleFunc("GET /stats", a.stats)
	mux.HandleFunc("GET /loops", a.loops)
	mux.HandleFunc("GET /connections", a.connections)
	mux.HandleFunc("GET /log-level", a.logLevel)
	mux.HandleFunc("POST /log-level", a.setLogLevel)
	mux.HandleFunc("POST /disconnect", a.disconnect)
	mux.HandleFunc("GET /debug/pprof/", profiling(pprof.Index))
	mux.HandleFunc("GET /debug/pprof/cmdline", profiling(pprof.Cmdline))
	mux.HandleFunc("GET /debug/pprof/profile", profiling(pprof.Profile))
	mux.HandleFunc("GET /debug/pprof/symbol", profiling(pprof.Symbol))
	mux.HandleFunc("POST /debug/pprof/symbol", profiling(pprof.Symbol))
	mux.HandleFunc("GET /debug/pprof/trace", profiling(pprof.Trace))
	if a.cfg.PauseRedis != nil {
		mux.HandleFunc("POST /demo/redis", a.pauseRedis)
	}
	a.pageRoutes(mux)
	a.opsRoutes(mux)
	return a.publishBefore(mux)
}

// profiling removes the read deadline: when it passes, net/http cancels the request's context, and the profile would end
// early. Package pprof itself moves the write deadline.
func profiling(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).SetReadDeadline(time.Time{}); err != nil {
			http.Error(w, "remove the read deadline: "+err.Error(), http.StatusInternalServerError)
			return
		}
		h(w, r)
	}
}

func answerJSON(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(body, '\n')) // an error means that the client is gone
}
