package main

import (
	"cmp"

	"github.com/carillon-ws/carillon/fanout/redis"
	"github.com/carillon-ws/carillon/gateway/admin"
	"github.com/carillon-ws/carillon/gateway/settings"
)

const (
	// processFiles is what the process itself holds: standard streams (3), Go's epoll and eventfd (2), a message to the
	// service manager (1), /proc while metrics are read (2), and name look-ups: two sockets and a file for each of two
	// names (6).
	processFiles = 3 + 2 + 1 + 2 + 6
	// keySetFiles is what the fetch of a key set holds: a connection, and another one while it tries a second address.
	keySetFiles = 2
	// spareFiles is for what is not counted here, as for files of a debugger or a library.
	spareFiles = 16
)

// otherFiles returns how many descriptors the process holds at most, without those of its server. Each part of the sum
// is a bound that the part itself enforces.
func otherFiles(cfg *settings.Settings) int {
	n := processFiles + spareFiles + admin.MaxFiles + redis.MaxFiles(cmp.Or(cfg.Redis, "redis://embedded"))
	if cfg.Redis == "" {
		n += redis.MaxEmbeddedFiles
	}
	if cfg.Authenticates() {
		n += keySetFiles
	}
	return n
}
