package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"testing"

	"github.com/carillon-ws/carillon/bench/benchtest"
	"github.com/carillon-ws/carillon/bench/floor"
	"github.com/carillon-ws/carillon/bench/target"
)

// The test binary is also the servers that the tests start, each in a process of its own as in a real run: the floor
// server, and something with a gateway's flags and admin listener.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "floor", "worker":
			main()
		case "serve":
			if err := serveStandIn(os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	os.Exit(benchtest.Run(m))
}

// serveStandIn is a gateway as far as bench can tell: flags, /readyz, /info. Behind them works a floor server.
func serveStandIn(args []string) error {
	flags := map[string]string{}
	for i := 0; i+1 < len(args); i += 2 {
		flags[args[i]] = args[i+1]
	}
	runtime.GOMAXPROCS(3)
	debug.SetGCPercent(-1)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	f, err := floor.Listen(floor.Config{Addr: flags["-addr"], Control: "127.0.0.1:0", Mode: floor.Each})
	if err != nil {
		return err
	}
	defer f.Close()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	defer context.AfterFunc(ctx, f.Stop)()
	admin := &http.Server{Addr: flags["-admin"], Handler: standInAdmin(target.Info{
		Name: "stand-in", Version: "v0", PID: os.Getpid(), URL: f.Stats().URL,
		Redis: f.Stats().Control, RedisEmbedded: true, Loops: 1,
	})}
	defer admin.Close() //nolint:errcheck // the process ends
	go func() {
		if err := admin.ListenAndServe(); err != http.ErrServerClosed {
			fmt.Fprintln(os.Stderr, err)
		}
	}()
	return f.Serve()
}

func standInAdmin(i target.Info) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /info", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(i) })
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "# TYPE go_goroutines gauge\ngo_goroutines 17")
	})
	return mux
}
