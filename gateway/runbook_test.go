package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestRunbookKnowsEveryAlert: whoever is called finds the alert's name in the runbook, and no alert that is no more.
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
