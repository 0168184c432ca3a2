package main

import (
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/carillon-ws/carillon/gateway/settings"
	"github.com/carillon-ws/carillon/protocol/http1"
)

// TestRunbookKnowsEveryAlert: the runbook has a heading for each alert, and none for an alert that does not exist.
func TestRunbookKnowsEveryAlert(t *testing.T) {
	t.Parallel()
	rules, err := os.ReadFile("../scripts/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	var alerts, known []string
	for _, m := range regexp.MustCompile(`(?m)^ *- alert: (\w+)$`).FindAllStringSubmatch(string(rules), -1) {
		alerts = append(alerts, m[1])
	}
	for _, m := range regexp.MustCompile(`(?m)^### (Carillon.*)$`).FindAllStringSubmatch(script(t, "README.md"), -1) {
		known = append(known, strings.Split(m[1], ", ")...)
	}
	slices.Sort(alerts)
	slices.Sort(known)
	if !slices.Equal(alerts, known) {
		t.Errorf("the runbook knows %v, the alerts are %v", known, alerts)
	}
	for _, m := range regexp.MustCompile(`- \./(\S+?):`).FindAllStringSubmatch(script(t, "compose.yaml"), -1) {
		if _, err := os.Stat("../scripts/" + m[1]); err != nil {
			t.Errorf("compose.yaml mounts %s: %v", m[1], err)
		}
	}
}

// TestRunbookEnvironment: the gateway takes the configuration in the runbook, and it has the token that the runbook's
// requests to the admin listener need beyond loopback.
func TestRunbookEnvironment(t *testing.T) {
	t.Parallel()
	runbook := script(t, "README.md")
	environ := strings.Fields(strings.ReplaceAll(submatch(t, runbook, `(?s)<<END\n(.*?)\nEND\n`), "$(head -c 24 /dev/urandom | base64 | tr +/ -_)", "token"))
	cfg, err := settings.Read("serve", nil, environ, io.Discard)
	if err != nil {
		t.Fatalf("%q: %v", environ, err)
	}
	for _, entry := range environ {
		if near := settings.Misspelt([]string{entry}); len(near) > 0 {
			t.Error(near)
		}
	}
	if host, _, _ := net.SplitHostPort(cfg.Admin); !http1.IsLoopbackHost(host) && cfg.AdminToken == "" {
		t.Errorf("the admin listener at %s has no token: only metrics and health are served there", cfg.Admin)
	}
	if bare := regexp.MustCompile(`curl \S*HOST`).FindAllString(runbook, -1); len(bare) > 0 {
		t.Errorf("asked without the token: %q", bare)
	}
}
