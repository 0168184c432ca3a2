package publish

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/carillon-ws/carillon/bench/benchtest"
)

func TestPublishThroughACommand(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "published")
	p, err := StartCommand("cat > "+file, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Publish(t.Context(), twoPublications()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.Close(), p.Close()); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "notifications:bench:0 one\nnotifications:bench:1 two\n" {
		t.Errorf("the command read %q, %v", got, err)
	}
}

// A command that does not read must not keep bench from being interrupted, and what it complains about must be seen.
func TestCommandThatDoesNotRead(t *testing.T) {
	t.Parallel()
	complaint := &benchtest.Until{Text: "not today", Seen: make(chan struct{})}
	p, err := StartCommand("exec 0<&-; echo not today >&2; exec tail -f /dev/null", complaint)
	if err != nil {
		t.Fatal(err)
	}
	<-complaint.Seen
	if err := p.Publish(t.Context(), twoPublications()); err == nil {
		t.Error("published to a command that has closed its input")
	}
	_ = p.cmd.Process.Kill() // it would end by itself, some time
	_ = p.Close()

	if p, err = StartCommand("exec tail -f /dev/null", io.Discard); err != nil { // reads nothing
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	full := make(chan error, 1)
	go func() {
		var err error
		for err == nil {
			err = p.Publish(ctx, twoPublications())
		}
		full <- err
	}()
	cancel()
	if err := <-full; err == nil {
		t.Error("no error")
	}
	_ = p.cmd.Process.Kill()
	_ = p.Close()
}
