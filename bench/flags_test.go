package main

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/carillon-ws/carillon/bench/settings"
)

func TestUsageErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ args, want string }{
		{"-connection 5", "not defined"},
		{"extra", "unexpected argument"},
		{"-connections 0", "-connections 0"},
		{"-connections many", "invalid value"},
		{"-channels 0", "-channels 0"},
		{"-channels 11 -connections 10", "no subscriber"},
		{"-rate -1", "between 0 and 1000000"},
		{"-rate NaN", "between 0 and 1000000"},
		{"-ramp Inf", "between 0 and 1000000"},
		{"-max-inflight -1", "between 0"},
		{"-ping-every -1s", "between 0"},
		{"-vs-floor -ping-every 1s", "fixed by the scenarios"},
		{"-rate 5 -max-inflight 3", "give one of them"},
		{"-duration 0s", "-duration"},
		{"-payload 33", "-payload 33"},
		{"-payload 10000000", "-payload"},
		{"-url http://127.0.0.1/ws", "-url"},
		{"-url wss://example.org/ws", "-url"},
		{"-admin 127.0.0.1:9090", "-admin"},
		{"-redis http://127.0.0.1", "scheme"},
		{"-redis floor://127.0.0.1", "-redis"},
		{"-url ws://127.0.0.1:1/ws -gateway ./gateway", "give one of them"},
		{"-runs 3", "-vs-floor"},
		{"-loops 2", "-vs-floor"},
		{"-pin", "-vs-floor"},
		{"-vs-floor -rate 5", "fixed by the scenarios"},
		{"-vs-floor -connections 10", "at least 1000"},
		{"-vs-floor -runs 0", "-runs 0"},
		{"floor -mode some", "each or joined"},
		{"floor -addr nowhere", "-addr"},
		{"floor extra", "unexpected argument"},
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), strings.Fields(tt.args), &stdout, &stderr)
		text := stderr.String()
		if code != exitUsage || !strings.Contains(text, tt.want) || strings.Count(text, "\n") != 1 || stdout.Len() > 0 {
			t.Errorf("bench %s: exit %d, stderr %q, stdout %q, want 2 and one sentence with %q", tt.args, code, text, &stdout, tt.want)
		}
	}
}

func TestHelpNamesEveryFlag(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"-h", "floor -h"} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), strings.Fields(args), &stdout, &stderr); code != exitOK || stderr.Len() > 0 || stdout.Len() == 0 {
			t.Errorf("bench %s: exit %d, stderr %q, want 0 and the help on stdout", args, code, &stderr)
		}
	}
	var help bytes.Buffer
	_, err := settings.Parse([]string{"-h"}, &help)
	if err == nil {
		t.Fatal("-h is no error, want flag.ErrHelp")
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	settings.NewFlags(&settings.Config{}).VisitAll(func(f *flag.Flag) {
		if !strings.Contains(help.String(), "  -"+f.Name+" ") {
			t.Errorf("the help does not name -%s", f.Name)
		}
		if !strings.Contains(string(readme), "| `-"+f.Name) {
			t.Errorf("README.md's table does not name -%s", f.Name)
		}
	})
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	cfg, err := settings.Parse(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Connections != 10000 || cfg.Channels != 1 || cfg.Rate != 1 || cfg.Payload != 128 || cfg.Inflight != 0 || cfg.OwnGateway() {
		t.Errorf("defaults are %+v", cfg)
	}
	if cfg, err = settings.Parse(strings.Fields("-max-inflight 4"), nil); err != nil || cfg.Rate != 0 {
		t.Errorf("-max-inflight 4: rate %v, %v, want none", cfg.Rate, err)
	}
	if cfg, err = settings.Parse([]string{"-gateway-args", "-loops 1  -ping-interval 0"}, nil); err != nil || len(cfg.GatewayArgs) != 4 || !cfg.OwnGateway() {
		t.Errorf("-gateway-args: %q, %v, want four", cfg.GatewayArgs, err)
	}
}
