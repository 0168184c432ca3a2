package admin

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
)

const maxLogLevel = 16 // bytes of a level's name

// logLevel answers with the present log level.
func (a *Admin) logLevel(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, levelName(a.cfg.LogLevel.Level())+"\n") // an error means that the client is gone
}

// setLogLevel changes the log level; the body is debug, info, warn or error. The change is logged as a warning, so that the
// log shows why it has fewer lines from then on.
func (a *Admin) setLogLevel(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxLogLevel))
	var level slog.Level
	if err == nil {
		err = level.UnmarshalText([]byte(strings.TrimSpace(string(body))))
	}
	if err != nil {
		http.Error(w, "the body must be debug, info, warn or error", http.StatusBadRequest)
		return
	}
	before := a.cfg.LogLevel.Level()
	a.cfg.LogLevel.Set(level)
	a.cfg.Log.Warn("log level changed", "from", levelName(before), "to", levelName(level))
	a.logLevel(w, r)
}

func levelName(level slog.Level) string { return strings.ToLower(level.String()) }
