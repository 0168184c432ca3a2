package gatewaytest

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// Build compiles the gateway into dir and returns its path. Without tags it is the shipped binary.
func Build(dir string, tags ...string) (string, error) {
	path := filepath.Join(dir, "gateway")
	cmd := exec.Command("go", "build", "-trimpath", "-tags", strings.Join(tags, ","), "-o", path,
		"github.com/carillon-ws/carillon/gateway")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
}
