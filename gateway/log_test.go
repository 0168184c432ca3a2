package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/carillon-ws/carillon/gateway/settings"
)

// A reader that stops reading does not block the gateway. When it reads again, a line says how many lines it lost.
func TestLogWriterNeverBlocks(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	log := newLogWriter(w, noticeOf(newHandler(true)))
	for i := range 3 * logQueue { // nobody reads
		fmt.Fprintf(log, "line %d\n", i)
	}
	text := make(chan string, 1)
	go func() {
		all, err := io.ReadAll(r)
		if err != nil {
			t.Error(err)
		}
		text <- string(all)
	}()
	log.close()
	<-log.written // close may give up before that on a busy machine
	_ = w.Close() // a pipe's does not fail
	got := <-text
	lines := strings.Count(got, "line ")
	if !strings.Contains(got, "line 0\n") || lines < logQueue || lines > logQueue+2 || !strings.Contains(got, "log lines dropped") {
		t.Errorf("%d lines came, want %d, as many as the queue holds, and a line about the others", lines, logQueue)
	}
}

// The gateway ends although nobody reads its standard error.
func TestStandardErrorThatNobodyReads(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	defer r.Close() //nolint:errcheck // a pipe's does not fail
	cfg, err := settings.Parse("serve", []string{"-addr", "127.0.0.1:0", "-admin", "127.0.0.1:0", "-drain", "0"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, cfg, w) }()
	if _, err := io.ReadFull(r, make([]byte, 1)); err != nil { // it has begun to greet
		t.Fatal(err)
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("the gateway does not end")
	}
}
