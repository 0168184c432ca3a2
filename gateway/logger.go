package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/carillon-ws/carillon/gateway/settings"
)

// logger is the gateway's log: its format, its level, and the writer behind it.
type logger struct {
	*slog.Logger
	lines *logWriter
	level *slog.LevelVar
	text  bool // text for people; else JSON
}

// newLogger logs to w as the flags say.
func newLogger(cfg *settings.Settings, w io.Writer) (*logger, error) {
	level := new(slog.LevelVar)
	if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		return nil, err
	}
	// A demo is for people, also when standard error is not a terminal.
	asText := cfg.LogFormat == "text" || cfg.LogFormat == "auto" && (cfg.Demo || isTerminal(w))
	handler := newHandler(asText)
	lines := newLogWriter(w, noticeOf(handler))
	return &logger{slog.New(handler(lines, level)), lines, level, asText}, nil
}

// handlerOf makes a handler that writes in one format.
type handlerOf func(io.Writer, slog.Leveler) slog.Handler

func newHandler(asText bool) handlerOf {
	return func(w io.Writer, level slog.Leveler) slog.Handler {
		opts := &slog.HandlerOptions{Level: level}
		if asText {
			return slog.NewTextHandler(w, opts)
		}
		opts.ReplaceAttr = func(_ []string, a slog.Attr) slog.Attr {
			if a.Value.Kind() == slog.KindDuration { // JSON would have a number of nanoseconds
				a.Value = slog.StringValue(a.Value.Duration().String())
			}
			return a
		}
		return slog.NewJSONHandler(w, opts)
	}
}

// noticeOf returns a function that makes the line about dropped lines, in the same format as the others.
func noticeOf(handler handlerOf) func(dropped uint64) []byte {
	return func(dropped uint64) []byte {
		var line bytes.Buffer
		r := slog.NewRecord(time.Now(), slog.LevelWarn, "log lines dropped: standard error is not read fast enough", 0)
		r.AddAttrs(slog.Uint64("lines", dropped))
		_ = handler(&line, slog.LevelWarn).Handle(context.Background(), r) // a write to a buffer does not fail
		return line.Bytes()
	}
}

// isTerminal reports whether w is a terminal.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return err == nil
}
