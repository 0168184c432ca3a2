package admin

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
)

const maxLogLevel = 16 // bytes of a level's name

// logLevel tells the level in force.
func (a *Admin) logLevel(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, levelName(a.cfg.LogLevel.Level())+"\n") // the asker is gone: nothing to do
}

// setLogLevel changes what is logged from now on; the body is debug, info, warn or error. It is logged as a
// warning: whoever reads the log later must see why it became quieter.
func (a *Admin) setLogLevel(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxLogLevel))
	var level slog.Level
	if err == nil {
		err = level.UnmarshalText([]byte(strings.TrimSpace(string(body))))
	}
	if err != nil {
		http.Error(w, "the body is debug, info, warn or error", http.StatusBadRequest)
		return
	}
	before := a.cfg.LogLevel.Level()
	a.cfg.LogLevel.Set(level)
	a.cfg.Log.Warn("log level changed", "from", levelName(before), "to", levelName(level))
	a.logLevel(w, r)
}

func levelName(level slog.Level) string { return strings.ToLower(level.String()) }
