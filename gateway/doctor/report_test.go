package doctor

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"testing/fstest"
)

func TestReport(t *testing.T) {
	t.Parallel()
	h, files := bigHost()
	set(files, "proc/sys/fs/nr_open", "1000")
	report := NewReport(million(), Examine(h, million()))

	var text bytes.Buffer
	if err := report.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(text.String()), "\n")
	// A line for each check, one for the only fix, an empty one and two for the lasting command, an empty one and the verdict.
	if want := len(report.Checks) + 6; len(lines) != want {
		t.Errorf("%d lines, want %d:\n%s", len(lines), want, &text)
	}
	for _, want := range []string{"FAIL  fs.nr_open", "1000; needed: at least 1,001,024; why: ", "> sysctl -w fs.nr_open=1001024", "> scripts/tune-host.sh --apply --connections 1000000 --send-buffer 65536\n", "1,000,000 connections: this host cannot hold them (1 failed"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text has no %q:\n%s", want, &text)
		}
	}

	var out bytes.Buffer
	if err := report.WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	var read Report
	dec := json.NewDecoder(&out)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&read); err != nil {
		t.Fatal(err)
	}
	if read.Schema != 1 || read.Status != Fail || read.Connections != 1_000_000 || len(read.Checks) != len(report.Checks) {
		t.Errorf("read back %+v", read)
	}
}

// TestWhatLasts: the report names tune-host.sh only if the script has something to set.
func TestWhatLasts(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		spoil func(fstest.MapFS)
		want  bool
	}{
		"well":        {func(fstest.MapFS) {}, false},
		"a parameter": {func(files fstest.MapFS) { set(files, "proc/sys/net/core/somaxconn", "128") }, true},
		"huge pages": {func(files fstest.MapFS) {
			set(files, "sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never")
		}, true},
		"a listen port": {func(files fstest.MapFS) { set(files, "proc/sys/net/ipv4/ip_local_port_range", "1024 65535") }, false},
	} {
		h, files := bigHost()
		tt.spoil(files)
		if r := NewReport(million(), Examine(h, million())); (r.Lasting != "") != tt.want {
			t.Errorf("%s: %q lasts", name, r.Lasting)
		}
	}
}
