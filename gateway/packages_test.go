package main

import (
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/carillon-ws/carillon/gateway/server"
	"github.com/carillon-ws/carillon/gateway/settings"
)

func script(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../scripts/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// submatch returns the first group of the only match.
func submatch(t *testing.T, text, pattern string) string {
	t.Helper()
	m := regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1)
	if len(m) != 1 {
		t.Fatalf("%d matches of %s, want one", len(m), pattern)
	}
	return m[0][1]
}

// TestServiceFits: the unit's time-outs and limits fit the program's.
func TestServiceFits(t *testing.T) {
	t.Parallel()
	unit := script(t, "carillon.service")
	cfg, err := settings.Parse("serve", nil, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	stop, err := time.ParseDuration(submatch(t, unit, `(?m)^TimeoutStopSec=(\S+)$`))
	if longest := cfg.Server.DrainDelay + cfg.Server.Drain + server.StopPatience; err != nil || stop < longest+stopMargin {
		t.Errorf("TimeoutStopSec=%s (%v), and a drain takes %s", stop, err, longest)
	}
	start, err := time.ParseDuration(submatch(t, unit, `(?m)^TimeoutStartSec=(\S+)$`))
	if err != nil || start < 2*redisGrace {
		t.Errorf("TimeoutStartSec=%s (%v), and Redis is waited for %s", start, err, redisGrace)
	}
	files, err := strconv.Atoi(submatch(t, unit, `(?m)^LimitNOFILE=(\d+)$`))
	if need := server.FilesFor(1_000_000, 64, otherFiles(cfg)); err != nil || files < need {
		t.Errorf("LimitNOFILE=%d (%v), a million connections need %d", files, err, need)
	}
	for _, line := range []string{"Type=notify", "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX"} {
		if !strings.Contains(unit, "\n"+line+"\n") {
			t.Errorf("the unit lacks %s", line)
		}
	}
	if regexp.MustCompile(`(?m)^ProcSubset=`).MatchString(unit) {
		t.Error("ProcSubset= hides somaxconn from the loops")
	}
}

// TestComposeFits: the gateway takes the flags of compose.yaml, and the drain is shorter than stop_grace_period.
func TestComposeFits(t *testing.T) {
	t.Parallel()
	compose := script(t, "compose.yaml")
	var args []string
	for _, m := range regexp.MustCompile(`(?m)^      - (-\S+)`).FindAllStringSubmatch(compose, -1) {
		args = append(args, m[1])
	}
	cfg, err := settings.Parse("serve", args, os.Stderr)
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	if cfg.Redis == "" || cfg.Admin != "0.0.0.0:9090" {
		t.Errorf("flags %q were not understood", args)
	}
	grace, err := time.ParseDuration(submatch(t, compose, `stop_grace_period: (\S+)`))
	if longest := cfg.Server.DrainDelay + cfg.Server.Drain + server.StopPatience; err != nil || grace < longest {
		t.Errorf("stop_grace_period %s (%v), and a drain takes %s", grace, err, longest)
	}
}

// TestImageFits: the health check of the image is a command of this program.
func TestImageFits(t *testing.T) {
	t.Parallel()
	words := submatch(t, script(t, "Dockerfile"), `HEALTHCHECK .*CMD \["/gateway", "([^\]]*)"\]`)
	if status := run(t.Context(), append(strings.Split(words, `", "`), "-admin", "127.0.0.1:1"), io.Discard, io.Discard); status != exitError {
		t.Errorf("%q = %d, want %d: nobody there", words, status, exitError)
	}
}
