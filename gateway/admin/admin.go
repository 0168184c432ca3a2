package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"github.com/carillon-ws/carillon/fanout"
	"github.com/carillon-ws/carillon/gateway/server"
)

// Config says where the listener is and what it serves. Every function is called from many goroutines, must not block for
// long, and must not be nil unless the comment allows it.
type Config struct {
	Addr  string // host:port; port 0 takes a free one
	Token string // needed for a guarded route; empty: no token is needed on loopback, and guarded routes are refused elsewhere
	Info  Info

	Server      func() server.Stats
	Feeder      func() fanout.FeederStats
	Redis       func() RedisStats
	Publish     func(ctx context.Context, channel, data string) (receivers int64, err error) // channel in its short form
	Kick        func(context.Context, server.Kick) (ended int, err error)
	Connections func(context.Context, server.ConnectionQuery) (server.ConnectionList, error)
	Ready       func() []Check
	Live        func() error

	LogLevel   *slog.LevelVar // what is logged; POST /log-level changes it
	LogDropped func() uint64  // how many lines were dropped

	// PauseRedis stops the embedded Redis of a demo for a time, to show what happens then; nil: it cannot be stopped.
	PauseRedis func(time.Duration) error

	Log *slog.Logger // nil: nothing is logged
}

// MaxFiles is how many descriptors this package holds at most: the listener, its sockets, and one that is being accepted.
// The gateway reserves them.
const MaxFiles = 1 + maxSockets + 1

// Bounds of the listener. A socket with a request keeps its place. At most maxRequests sockets have one, so at least
// maxSockets - maxRequests places can be freed for a probe.
const (
	maxSockets            = 96
	maxRequests           = 64 // served at a time, without probes
	maxRequestsPerAddress = 48 // of them, from one address

	maxHeaderBytes    = 16 << 10
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 15 * time.Second // for a body of 1 MiB over a slow link; profiles have no read timeout
	writeTimeout      = 30 * time.Second // profiles have the time that they record on top
	idleTimeout       = 60 * time.Second
	shutdownGrace     = time.Second // for answers that are being written when Run's context ends
)

// Admin is the second listener. Its methods are safe to call from any goroutine.
type Admin struct {
	cfg      Config
	listener net.Listener
	http     *http.Server
	requests requests
}

// New binds the listener. Requests are served once Run is called.
func New(cfg Config) (*Admin, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	listener, err := net.Listen(network(cfg.Addr), cfg.Addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("admin address %s is taken, perhaps by another gateway; choose another with -admin: %w", cfg.Addr, err)
	}
	if err != nil {
		return nil, fmt.Errorf("admin address %s (-admin): %w", cfg.Addr, err)
	}
	cfg.Info.Admin = listener.Addr().String()
	cfg.Info.RedisPauses = cfg.PauseRedis != nil
	a := &Admin{cfg: cfg, listener: limitSockets(listener, maxSockets)}
	a.http = &http.Server{
		Handler:           newGuard(&cfg, boundTo(listener), a.bounded(a.routes())),
		ConnContext:       withSocket,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(cfg.Log.Handler(), slog.LevelWarn),
	}
	return a, nil
}

// Addr returns the address that is bound, with the real port if Config.Addr has port 0.
func (a *Admin) Addr() string { return a.cfg.Info.Admin }

// Run serves until ctx ends. Then it waits a moment for answers that are being written, closes the other connections, and
// returns nil.
func (a *Admin) Run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- a.http.Serve(a.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("admin listener %s: %w", a.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	if a.http.Shutdown(grace) != nil {
		_ = a.http.Close() // the listener is closed already; this ends the long requests
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin listener %s: %w", a.Addr(), err)
	}
	return nil
}

// network makes 0.0.0.0 mean IPv4 only: "tcp" would listen on [::] as well.
func network(addr string) string {
	if addrPort, err := netip.ParseAddrPort(addr); err == nil && addrPort.Addr().Is4() {
		return "tcp4"
	}
	return "tcp"
}

func boundTo(listener net.Listener) netip.Addr {
	return listener.Addr().(*net.TCPAddr).AddrPort().Addr().Unmap()
}
