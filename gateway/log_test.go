package main

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

// A reader that stops must not stop whoever logs; once it reads again it is told what it did not get.
func TestLogWriterNeverBlocks(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	log := newLogWriter(w)
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
	_ = w.Close() // a pipe's does not fail
	got := <-text
	lines := strings.Count(got, "line ")
	if !strings.Contains(got, "line 0\n") || lines < logQueue || lines > logQueue+2 || !strings.Contains(got, "log lines dropped") {
		t.Errorf("%d lines came, want the queue's %d and a line about the others", lines, logQueue)
	}
}
