package server

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// lineBuffer is a log that tests read while it is written.
type lineBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer // Guarded by mu.
}

func (b *lineBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

type logLine struct {
	Msg, Event, Reason, Client, Remote string
	Events                             int
}

func (b *lineBuffer) lines(t testing.TB) (out []logLine) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for text := range strings.Lines(b.text.String()) {
		var line logLine
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("log line %q: %v", text, err)
		}
		if strings.HasPrefix(line.Msg, "connection") {
			out = append(out, line)
		}
	}
	return out
}

func TestEventsTellOfConnectionsAndOfNothingTheySay(t *testing.T) {
	t.Parallel()
	var log lineBuffer
	level := new(slog.LevelVar)
	s, _ := startServer(t, func(cfg *Config) {
		cfg.Loops = 1
		cfg.Log = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: level}))
	})
	quiet := dial(t, s)
	quiet.wantPong()
	if lines := log.lines(t); len(lines) > 0 {
		t.Fatalf("logged at info: %+v", lines)
	}
	level.Set(slog.LevelDebug) // at run time
	p := dialRaw(t, s)
	p.write(strings.Replace(handshake, "/ws", "/ws?user=ann&token=secret", 1))
	p.wantStatus(http.StatusSwitchingProtocols)
	id := p.want("connected").ClientID
	p.subscribe("private")
	p.write(closeFrame(1000, "secret"))
	p.wantClose(1000)
	refused := dialRaw(t, s)
	refused.write("GET /elsewhere?token=secret HTTP/1.1\r\nHost: localhost\r\nCookie: secret\r\n\r\n")
	refused.response()
	eventually(t, "three events in the log", func() bool { return len(log.lines(t)) >= 3 })
	var got []string
	for _, line := range log.lines(t) {
		got = append(got, line.Event+" "+line.Reason)
		if !strings.HasPrefix(line.Remote, "127.0.0.1:") || line.Event != "refused" && line.Client != id {
			t.Errorf("line %+v, want the address, and client %s", line, id)
		}
	}
	if strings.Join(got[:2], ", ") != "opened , closed peer" || !strings.HasPrefix(got[2], "refused ") {
		t.Errorf("events %q", got)
	}
	for _, private := range []string{"secret", "ann", "private", "token"} {
		if log.mu.Lock(); strings.Contains(log.text.String(), private) {
			t.Errorf("the log holds %q: %s", private, log.text.String())
		}
		log.mu.Unlock()
	}
}

func TestEventsAreSampled(t *testing.T) {
	t.Parallel()
	var log lineBuffer
	s, _ := startServer(t, func(cfg *Config) {
		cfg.Loops = 1
		cfg.Log = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	p := dial(t, s)
	lp := s.loops[0]
	onLoop(t, lp, func() {
		lp.nextSecond()
		for range 1000 {
			lp.event(lp.conns.at(1), "opened", "")
		}
		lp.nextSecond()
		lp.event(lp.conns.at(1), "opened", "")
	})
	p.wantPong()
	opened, left := 0, 0
	for _, line := range log.lines(t) {
		if left += line.Events; line.Event != "" {
			opened++
		}
	}
	if want := 1 + eventsPerSecond + 1; opened != want || left != 1000-eventsPerSecond {
		t.Errorf("%d events logged and %d counted, want %d and %d", opened, left, want, 1000-eventsPerSecond)
	}
}
