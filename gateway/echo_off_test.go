//go:build !conformance

package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// TestEchoIsNotShipped: -echo is in a conformance build only.
func TestEchoIsNotShipped(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	if status := run(t.Context(), []string{"-echo", "-addr", "127.0.0.1:0"}, io.Discard, &stderr); status != exitUsage {
		t.Errorf("run(-echo) = %d, want %d: %s", status, exitUsage, &stderr)
	}
	if run(t.Context(), []string{"-h"}, &stdout, io.Discard); strings.Contains(stdout.String(), "-echo") {
		t.Error("the help lists -echo")
	}
}
