package main

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// TestOutages kills the Redis of two real gateways, and then one of them. bench knows the gateway only as a program.
func TestOutages(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("needs redis-server: make setup")
	}
	binary := filepath.Join(t.TempDir(), "gateway")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../gateway").CombinedOutput(); err != nil {
		t.Fatalf("go build ../gateway: %v\n%s", err, out)
	}
	r := play(t, "-gateway", binary, "-fleet", "2", "-connections", "60", "-rate", "20", "-duration", "200ms",
		"-kill-redis", "300ms", "-kill-gateway", "-phases", "steady,kill-redis,kill-gateway,drain")
	o := r.Redis
	switch {
	case o == nil || !o.OK || o.Down < 0.3 || o.Healed <= 0:
		t.Errorf("kill-redis: %+v, want it healed", o)
	case o.Unpublished == 0 || o.Cut != 0 || o.Told != 60 || o.Signaled == 0 || o.Unsignaled != 0:
		t.Errorf("kill-redis: %+v, want all 60 to be told of what they missed, and nobody cut", o)
	}
	if o = r.Gateway; o == nil || !o.OK || o.Cut != 30 || o.Up != 60 || o.Unsignaled != 0 {
		t.Errorf("kill-gateway: %+v, want 30 cut and all 60 up", o)
	}
	if !r.OK || r.Drain.Left != 0 {
		t.Errorf("ok %v, drain %+v", r.OK, r.Drain)
	}
}
