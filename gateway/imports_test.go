package main

import (
	"os/exec"
	"strings"
	"testing"
)

// TestImports: a package must not depend on certain others, also not through a third one. The linter sees only what a
// file itself imports.
func TestImports(t *testing.T) {
	t.Parallel()
	const module, redis, gnet = "github.com/carillon-ws/carillon/", "github.com/redis/go-redis", "github.com/panjf2000/gnet"
	const mini, lua = "github.com/alicebob/miniredis", "github.com/yuin/gopher-lua"
	for _, tt := range []struct {
		pkg   string
		needs string // a dependency that must be listed: proves that the listing works
		never []string
	}{
		{"protocol", "github.com/gobwas/ws", []string{redis, mini, lua, gnet, module + "fanout", module + "gateway"}},
		{"fanout", module + "protocol", []string{redis, mini, lua, gnet, module + "fanout/", module + "gateway"}},
		{"fanout/redis", redis, []string{gnet, module + "gateway"}},
		{"gateway/admin", "github.com/prometheus/client_golang", []string{redis, mini, lua, module + "fanout/redis"}},
		{"gateway/server", gnet, []string{redis, mini, lua, module + "fanout/redis"}},
	} {
		cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "./"+tt.pkg)
		cmd.Dir = ".."
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", cmd, err)
		}
		needed := false
		for dep := range strings.Lines(string(out)) {
			dep = strings.TrimSpace(dep)
			needed = needed || strings.HasPrefix(dep, tt.needs)
			for _, prefix := range tt.never {
				if strings.HasPrefix(dep, prefix) {
					t.Errorf("%s depends on %s", tt.pkg, dep)
				}
			}
		}
		if !needed {
			t.Errorf("%s does not depend on %s: is this still the right package?", tt.pkg, tt.needs)
		}
	}
}
