package main

import (
	"bytes"
	"io"
	"sync/atomic"
	"time"
)

// logQueue is how many lines wait for whoever reads standard error.
const logQueue = 1024

// logPatience is how long the end of the process waits for lines that are not written yet.
const logPatience = time.Second

// logWriter takes the log off the hands of whoever logs, event loops among them: a pipe that nobody reads, or a
// terminal that is held, must not stop them. Lines that find the queue full are dropped, and said once there is room.
// Safe for concurrent use.
type logWriter struct {
	w       io.Writer
	notice  func(dropped uint64) []byte // the line that says so
	lines   chan []byte
	dropped atomic.Uint64 // since the last notice
	total   atomic.Uint64
	closing chan struct{}
	written chan struct{} // closed when everything is
}

// newLogWriter writes to w from a goroutine of its own, which close ends.
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
	_, _ = l.w.Write(line) // there is nowhere left to say it
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

// close has what was logged before written, unless that takes longer than logPatience. What is logged later is lost.
func (l *logWriter) close() {
	close(l.closing)
	select {
	case <-l.written:
	case <-time.After(logPatience):
	}
}
