package admin

import (
	"bytes"
	"embed"
	"net/http"
	"time"
)

//go:embed ops
var opsFiles embed.FS

// opsAssets are the files of the operator page, by path. Like those of the demo page they are served without the token.
var opsAssets = map[string]string{
	"/ops.css": "text/css; charset=utf-8",
	"/ops.js":  "text/javascript; charset=utf-8",
}

// opsPath is the path of the operator page, which asks for the numbers that it shows once a second.
const opsPath = "/ops"

func (a *Admin) opsRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET "+opsPath, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "+
			"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		serveOps(w, r, "/index.html", "text/html; charset=utf-8")
	})
	for path, contentType := range opsAssets {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) { serveOps(w, r, path, contentType) })
	}
}

func serveOps(w http.ResponseWriter, r *http.Request, path, contentType string) {
	content, err := opsFiles.ReadFile("ops" + path)
	if err != nil { // a name in opsAssets without a file in the folder
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	http.ServeContent(w, r, path, time.Time{}, bytes.NewReader(content))
}
