package admin

import (
	"bytes"
	"embed"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// The demo page. `make client` builds it from the sources in page/ and the client in protocol/client.
//
//go:embed page/dist
var pageFiles embed.FS

// assets are the files of the demo page, by path. They are served without the token, which a browser cannot send for them;
// nothing in them is secret.
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

// page serves the demo page. Its policy allows files and requests of this listener, and the gateway's WebSocket; it allows
// no inline script or style.
func (a *Admin) page(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "+
		"connect-src 'self' "+socketSource(a.cfg.Info.seenFrom(r.Host).URL)+"; "+
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	servePage(w, r, "/index.html", "text/html; charset=utf-8")
}

// socketSource returns the scheme, host and port of a WebSocket URL, for a Content-Security-Policy.
func socketSource(wsURL string) string {
	u, err := url.Parse(wsURL)
	if err != nil || u.Host == "" || strings.ContainsAny(u.Host, " ;,'\"") {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

func servePage(w http.ResponseWriter, r *http.Request, path, contentType string) {
	content, err := pageFiles.ReadFile("page/dist" + path)
	if err != nil { // a name in assets without a file in the folder
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	http.ServeContent(w, r, path, time.Time{}, bytes.NewReader(content))
}
