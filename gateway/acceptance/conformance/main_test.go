package conformance

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/carillon-ws/carillon/gateway/gatewaytest"
)

var full = flag.Bool("full", false, "the sizes and counts of the suite itself, instead of ones that take seconds")

// gateway is the path of the binary under test.
var gateway string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "conformance")
	if err == nil {
		defer os.RemoveAll(dir) //nolint:errcheck // a directory for the length of the run
		gateway, err = gatewaytest.Build(dir, "conformance")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// startEcho runs a gateway that echoes, with limits that allow the suite's messages.
func startEcho(t *testing.T, args ...string) *gatewaytest.Process {
	t.Helper()
	return gatewaytest.Start(t, gateway, append([]string{
		"-echo", "-loops", "2", "-max-message", "16MiB", "-max-backlog", "64MiB",
		"-max-fragments", fmt.Sprint(maxFragments), "-max-message-rate", "0",
	}, args...)...)
}
