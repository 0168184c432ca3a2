package main

import (
	"bytes"
	"io"
	"sync/atomic"
	"time"
)

// logQueue is how many lines can wait to be written to standard error.
const logQueue = 1024

// logPatience is how long close waits for lines that are not written yet.
const logPatience = time.Second

// logWriter writes the log on a goroutine of its own. So a pipe that nobody reads, or a terminal that is stopped, does
// not block those who log, event loops among them. A line that finds the queue full is dropped and counted; a notice
// with the number of dropped lines is written when the queue has room again. Safe for concurrent use.
type logWriter struct {
	w       io.Writer
	notice  func(dropped uint64) []byte // makes the line that says how many were dropped
	lines   chan []byte
	dropped atomic.Uint64 // lines dropped since the last notice
	total   atomic.Uint64 // lines dropped since the start
	closing chan struct{}
	written chan struct{} // closed when every line of the queue is written
}

// newLogWriter starts the goroutine that writes to w. close ends it.
func newLogWriter(w io.Writer, notice func(dropped uint64) []byte) *logWriter {
	l := &logWriter{w: w, notice: notice, lines: make(chan []byte, logQueue), closing: make(chan struct{}), written: make(chan struct{})}
	go l.run()
	return l
}

func (l *logWriter) run() {
	defer close(l.written)
	for {
		select {
		case line := <-l.lines:
			l.write(line)
		case <-l.closing:
			for len(l.lines) > 0 { // only this goroutine takes from it
				l.write(<-l.lines)
			}
			return
		}
	}
}

func (l *logWriter) write(line []byte) {
	if n := l.dropped.Swap(0); n > 0 {
		_, _ = l.w.Write(l.notice(n))
	}
	_, _ = l.w.Write(line) // an error has nowhere to go
}

// Write takes one line. It never blocks and never fails.
func (l *logWriter) Write(line []byte) (int, error) {
	select {
	case l.lines <- bytes.Clone(line):
	default:
		l.dropped.Add(1)
		l.total.Add(1)
	}
	return len(line), nil
}

// close waits until what was logged before is written, but for logPatience at most. What is logged later is lost.
func (l *logWriter) close() {
	close(l.closing)
	select {
	case <-l.written:
	case <-time.After(logPatience):
	}
}
