package server

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/carillon-ws/carillon/fanout"
)

// One accept that fails for want of a descriptor ends a whole engine and every connection on it. So the limit on
// connections must be met first, and every other descriptor of the process is counted here.
const (
	// loopFiles is what one loop holds: its listener, epoll and eventfd (gnet), the two ends of its self-wake, and a
	// socket that was accepted and is closed at once. While an engine starts, two more copies of a self-wake's end.
	loopFiles = 3 + 2 + 1 + 2
	// serverFiles is what the loops share: the watcher's epoll and eventfd, the port's claim, and a copy of a listener's
	// descriptor while an engine starts.
	serverFiles = 2 + 1 + 1
)

// reserve is how many descriptors are kept from connections: for the loops, for the rest of the process, and for
// refused sockets that linger.
func reserve(loops, others, limit int) int {
	return loops*loopFiles + serverFiles + others + lingerRoom(limit)
}

// lingerRoom is how many sockets over the limit of connections are answered with a 503 before they are closed.
// Beyond it they are closed at once.
func lingerRoom(limit int) int { return min(256, limit/16) }

// FilesFor is the limit of open files with which this many connections fit, on so many loops (0: as many as there are
// by default), in a process that holds so many others.
func FilesFor(connections, loops, others int) int {
	if loops == 0 {
		loops = min(runtime.NumCPU(), fanout.MaxLoops)
	}
	limit := connections
	for { // the reserve depends on the limit, and stops growing with it
		next := connections + reserve(loops, others, limit)
		if next == limit {
			return limit
		}
		limit = next
	}
}

func (cfg *Config) budgetFiles() error {
	limit, err := fileLimit()
	if err != nil {
		return err
	}
	most := limit - reserve(cfg.Loops, cfg.OtherFiles, limit)
	if most < 1 {
		return fmt.Errorf("the limit of %d open files leaves none for connections: raise it (ulimit -n, LimitNOFILE=)", limit)
	}
	if cfg.MaxConnections == 0 {
		cfg.MaxConnections = most
	}
	if cfg.MaxConnections > most {
		return fmt.Errorf("%d connections need an open-file limit of %d, and it is %d: raise it (ulimit -n, LimitNOFILE=) or lower -max-connections to %d",
			cfg.MaxConnections, cfg.MaxConnections+limit-most, limit, most)
	}
	return nil
}

func fileLimit() (int, error) {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return 0, fmt.Errorf("read the open-file limit: %w", err)
	}
	return int(min(lim.Cur, 1<<30)), nil
}
