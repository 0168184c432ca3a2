package main

import (
	"github.com/carillon-ws/carillon/fanout/redis"
	"github.com/carillon-ws/carillon/gateway/admin"
	"github.com/carillon-ws/carillon/gateway/settings"
)

const (
	// processFiles is what the process holds whatever its parts do: standard streams (3), Go's epoll and eventfd (2),
	// a message to the service manager (1), /proc while metrics are read (2), and name look-ups: two sockets and a file
	// for each of two names (6).
	processFiles = 3 + 2 + 1 + 2 + 6
	// keySetFiles is what fetching the key set takes: a connection, and another while an address is changed.
	keySetFiles = 2
	// spareFiles is for what nobody counted: a debugger's, a library's.
	spareFiles = 16
)

// otherFiles is how many descriptors the process needs at most, beside its server's. Each part keeps to its own bound.
func otherFiles(cfg *settings.Settings) int {
	n := processFiles + spareFiles + admin.MaxFiles + redis.MaxFiles
	if cfg.Redis == "" {
		n += redis.MaxEmbeddedFiles
	}
	if cfg.Authenticates() {
		n += keySetFiles
	}
	return n
}
