package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/carillon-ws/carillon/gateway/settings"

	"golang.org/x/sys/unix"
)

// logger is where the gateway's log goes, and how.
type logger struct {
	*slog.Logger
	lines *logWriter
	level *slog.LevelVar
	text  bool // for people; else JSON
}

// newLogger logs to w as the flags say.
func newLogger(cfg *settings.Settings, w io.Writer) (*logger, error) {
	level := new(slog.LevelVar)
	if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		return nil, err
	}
	// The demo is for people, wherever its words go.
	asText := cfg.LogFormat == "text" || cfg.LogFormat == "auto" && (cfg.Demo || isTerminal(w))
	handler := newHandler(asText)
	lines := newLogWriter(w, noticeOf(handler))
	return &logger{slog.New(handler(lines, level)), lines, level, asText}, nil
}

// handlerOf makes a handler of one format.
type handlerOf func(io.Writer, slog.Leveler) slog.Handler

func newHandler(asText bool) handlerOf {
	return func(w io.Writer, level slog.Leveler) slog.Handler {
		opts := &slog.HandlerOptions{Level: level}
		if asText {
			return slog.NewTextHandler(w, opts)
		}
		opts.ReplaceAttr = func(_ []string, a slog.Attr) slog.Attr {
			if a.Value.Kind() == slog.KindDuration { // else a number of nanoseconds
				a.Value = slog.StringValue(a.Value.Duration().String())
			}
			return a
		}
		return slog.NewJSONHandler(w, opts)
	}
}

// noticeOf makes the line that tells of dropped ones, in the format of the others.
func noticeOf(handler handlerOf) func(dropped uint64) []byte {
	return func(dropped uint64) []byte {
		var line bytes.Buffer
		r := slog.NewRecord(time.Now(), slog.LevelWarn, "log lines dropped: standard error is not read fast enough", 0)
		r.AddAttrs(slog.Uint64("lines", dropped))
		_ = handler(&line, slog.LevelWarn).Handle(context.Background(), r) // a buffer takes everything
		return line.Bytes()
	}
}

// isTerminal reports whether somebody looks at w.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return err == nil
}
