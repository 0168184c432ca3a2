package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/carillon-ws/carillon/fanout/fanouttest"
	"github.com/carillon-ws/carillon/gateway/settings"
)

// In the JSON format every line is JSON: the settings, where the gateway listens, and the notice of dropped lines.
func TestLogForMachines(t *testing.T) {
	t.Parallel()
	gw := start(t, "-log-format", "text", "-max-channels", "5")
	if log := gw.stderr.String(); !strings.Contains(log, "level=INFO msg=settings") || !strings.Contains(log, "max-channels=5") {
		t.Errorf("the log does not have the settings:\n%s", log)
	}
	var out bytes.Buffer
	cfg, err := settings.Read("serve", nil, nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	log, err := newLogger(cfg, &out) // auto, and a buffer is no terminal
	if err != nil {
		t.Fatal(err)
	}
	log.lines.dropped.Store(3) // the notice comes before the next line
	log.Info("listening", "loops", 2, "after", 6*time.Millisecond)
	log.lines.close()
	for line := range strings.Lines(out.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("%q is no JSON", line)
		}
	}
	if !strings.Contains(out.String(), `"lines":3`) || !strings.Contains(out.String(), `"loops":2,"after":"6ms"`) {
		t.Errorf("the log holds %s", &out)
	}
}

func TestJSONLogOfAWholeGateway(t *testing.T) {
	t.Parallel()
	clients := fanouttest.Addr(t) // a log in JSON has no greeting that names them
	gw := startAt(t, clients, fanouttest.Addr(t), "-log-format", "json", "-admin-token", "hush")
	gw.awaitReady(t, http.StatusOK)
	gw.stop()
	var listening, stopping, stopped bool
	for line := range strings.Lines(gw.stderr.String()) {
		var entry struct {
			Msg     string
			Clients string
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Errorf("%q: %v", line, err)
		}
		stopping = stopping || strings.HasPrefix(entry.Msg, "stopping")
		stopped = stopping && entry.Msg == "stopped" // the last line
		listening = listening || entry.Msg == "listening" && entry.Clients == "ws://"+clients+"/ws"
	}
	if !listening || !stopped || strings.Contains(gw.stderr.String(), "hush") {
		t.Errorf("the log is %s", gw.stderr)
	}
}

// The level changes while the gateway runs.
func TestLogLevelAtRunTime(t *testing.T) {
	t.Parallel()
	gw := start(t)
	join(t, gw.ws, "room")
	if strings.Contains(gw.stderr.String(), "event=opened") {
		t.Error("connections are logged at info")
	}
	resp, err := http.Post(gw.admin+"/log-level", "", strings.NewReader("debug"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	join(t, gw.ws, "room")
	gw.stop()
	if !strings.Contains(gw.stderr.String(), "event=opened") {
		t.Errorf("connections are not logged at debug:\n%s", gw.stderr)
	}
}

func TestOnlyATerminalIsATerminal(t *testing.T) {
	t.Parallel()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close() //nolint:errcheck // nothing was written
	for name, w := range map[string]io.Writer{"a buffer": &bytes.Buffer{}, "/dev/null": null} {
		if isTerminal(w) {
			t.Errorf("%s is taken for a terminal", name)
		}
	}
}
