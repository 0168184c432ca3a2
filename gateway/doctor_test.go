package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/carillon-ws/carillon/fanout/redis/redistest"
	"github.com/carillon-ws/carillon/gateway/doctor"
	"github.com/carillon-ws/carillon/gateway/server"
	"github.com/carillon-ws/carillon/gateway/settings"
)

func TestDoctor(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	tests := []struct {
		name   string
		args   []string
		status int
		want   string
	}{
		{"few", []string{"-connections", "10"}, exitOK, "10 connections: this host can hold them"},
		{"more than any process may have", []string{"-connections", "100000000"}, exitError, "FAIL  open files"},
		{"with Redis", []string{"-connections", "10", "-redis", redis.URL()}, exitOK, "Redis pubsub buffer"},
		{"Redis is away", []string{"-connections", "10", "-redis", redistest.Reserve(t).URL()}, exitError, "FAIL  Redis"},
		{"none", []string{"-connections", "0"}, exitUsage, ""},
		{"stray word", []string{"now"}, exitUsage, ""},
		{"help", []string{"-h"}, exitOK, "-connections"},
	}
	for _, tt := range tests {
		var stdout bytes.Buffer
		if status := run(t.Context(), append([]string{"doctor"}, tt.args...), &stdout, io.Discard); status != tt.status {
			t.Errorf("%s: exit status %d, want %d: %s", tt.name, status, tt.status, &stdout)
		}
		if !strings.Contains(stdout.String(), tt.want) {
			t.Errorf("%s: %q is not in %s", tt.name, tt.want, &stdout)
		}
	}
}

func TestDoctorJSON(t *testing.T) {
	t.Parallel()
	var stdout bytes.Buffer
	run(t.Context(), []string{"doctor", "-json", "-connections", "1000000"}, &stdout, io.Discard)
	var report doctor.Report
	if err := json.Unmarshal(stdout.Bytes(), &report); err != nil {
		t.Fatal(err)
	}
	if report.Connections != 1_000_000 || len(report.Checks) < 17 {
		t.Errorf("%+v", report)
	}
}

// TestFilesFor: the doctor checks fs.nr_open for 1,024 files more than connections; the gateway needs no more than that.
func TestFilesFor(t *testing.T) {
	t.Parallel()
	others := otherFiles(&settings.Settings{}) // the embedded Redis included
	for _, connections := range []int{1, 100, 3000, 4096, 1_000_000} {
		for _, loops := range []int{1, 2, 64} {
			need := server.FilesFor(connections, loops, others)
			if need <= connections || need > connections+1024 {
				t.Errorf("FilesFor(%d, %d) = %d: the kernel's ceiling is checked for at most 1,024 more", connections, loops, need)
			}
		}
	}
}

// TestHostIsTooSmall: when -max-connections is more than the host allows, the log says what is too small before the
// gateway ends.
func TestHostIsTooSmall(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	args := []string{"-addr", "127.0.0.1:0", "-admin", "127.0.0.1:0", "-max-connections", "100000000"}
	if status := run(t.Context(), args, io.Discard, &stderr); status != exitError {
		t.Errorf("exit status %d", status)
	}
	for _, want := range []string{"open files", "fs.nr_open", "gateway doctor -connections 100000000"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("the log at start-up does not say %q: %s", want, &stderr)
		}
	}
}

// TestHealthcheckKnowsTheEnvironment: healthcheck finds the listener where CARILLON_ADMIN has moved it.
func TestHealthcheckKnowsTheEnvironment(t *testing.T) {
	gw := start(t)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(gw.admin, "http://"))
	for _, admin := range []string{"127.0.0.1:" + port, "0.0.0.0:" + port, ":" + port} { // the last two stand for all addresses
		t.Setenv("CARILLON_ADMIN", admin)
		if s := run(t.Context(), []string{"healthcheck"}, io.Discard, os.Stderr); s != exitOK {
			t.Errorf("CARILLON_ADMIN=%s: exit status %d", admin, s)
		}
	}
	if s := run(t.Context(), []string{"healthcheck", "-admin", "127.0.0.1:1"}, io.Discard, io.Discard); s != exitError {
		t.Errorf("-admin does not win over CARILLON_ADMIN: exit status %d", s)
	}
}

func TestHealthcheck(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	gw := start(t, "-redis", redis.URL())
	admin := strings.TrimPrefix(gw.admin, "http://")
	check := func(args ...string) int {
		return run(t.Context(), append([]string{"healthcheck"}, args...), io.Discard, os.Stderr)
	}
	if s := check("-admin", admin); s != exitOK {
		t.Errorf("alive: exit status %d", s)
	}
	if s := check("-admin", admin, "-ready"); s != exitOK {
		t.Errorf("ready: exit status %d", s)
	}
	redis.Kill()
	gw.awaitReady(t, 503)
	if s := check("-admin", admin); s != exitOK {
		t.Errorf("without Redis it must be alive: exit status %d", s)
	}
	if s := check("-admin", admin, "-ready"); s != exitError {
		t.Errorf("without Redis it must not be ready: exit status %d", s)
	}
	gw.stop()
	if s := check("-admin", admin); s != exitError {
		t.Errorf("after its end: exit status %d", s)
	}
	if s := check("x"); s != exitUsage {
		t.Errorf("stray word: exit status %d", s)
	}
}
