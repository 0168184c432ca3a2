package admin

import (
	"bytes"
	"embed"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Built by `make client` from the sources beside it and the client in protocol/client.
//
//go:embed page/dist
var pageFiles embed.FS

// assets are the files beside the page itself, by path. They hold nothing that is not public, so that a browser may
// load them without the token, which it cannot send for them.
var assets = map[string]string{
	"/page.css": "text/css; charset=utf-8",
	"/page.js":  "text/javascript; charset=utf-8",
	"/bell.svg": "image/svg+xml",
}

func isAsset(path string) bool { return assets[path] != "" }

func (a *Admin) pageRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", a.page)
	for path, contentType := range assets {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			servePage(w, r, path, contentType)
		})
	}
}

// page allows its own files, its own listener, and the gateway's WebSocket, and nothing that stands inline.
func (a *Admin) page(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "+
		"connect-src 'self' "+socketSource(a.cfg.Info.seenFrom(r.Host).URL)+"; "+
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	servePage(w, r, "/index.html", "text/html; charset=utf-8")
}

// socketSource is the scheme, host and port of a WebSocket URL, for a policy.
func socketSource(wsURL string) string {
	u, err := url.Parse(wsURL)
	if err != nil || u.Host == "" || strings.ContainsAny(u.Host, " ;,'\"") {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

func servePage(w http.ResponseWriter, r *http.Request, path, contentType string) {
	content, err := pageFiles.ReadFile("page/dist" + path)
	if err != nil { // a name in assets that is not in the folder
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	http.ServeContent(w, r, path, time.Time{}, bytes.NewReader(content))
}
