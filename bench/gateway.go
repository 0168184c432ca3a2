package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/carillon-ws/carillon/bench/host"
)

// gateway is what a run is about: one that was there, or one of our own.
type gateway struct {
	info  info
	admin *adminClient // nil when there is none
	redis string       // where to publish; empty when nobody told

	adminErr error // why admin is nil, when there should be one

	own   *host.Child // nil when it was there before us
	local bool        // info.PID is a process of this machine
	// thread is the one whose CPU time counts, 0 for the whole process: a floor server is its loop, without the
	// runtime's own thread, which wakes up a hundred times a second for nothing.
	thread int

	start func(context.Context) (*gateway, error) // once more, on the same addresses; nil when it is not ours
}

// stop ends the gateway if it is ours.
func (g *gateway) stop() error {
	if g.own == nil {
		return nil
	}
	return g.own.Stop()
}

// findGateway asks the gateway at -url, or starts one when nothing answers there.
func findGateway(ctx context.Context, cfg *config, stderr io.Writer) (*gateway, error) {
	if !cfg.ownGateway() {
		answers, err := somethingAnswers(ctx, cfg.url)
		if err != nil {
			return nil, err
		}
		if answers {
			return askGateway(ctx, cfg)
		}
		if cfg.given["url"] {
			return nil, fmt.Errorf("nothing answers at %s (without -url, bench starts a gateway for the run)", cfg.url)
		}
		fmt.Fprintf(stderr, "Nothing answers at %s: starting a gateway for this run.\n", cfg.url)
	}
	binary, cleanUp, err := provideGateway(ctx, cfg.gateway, stderr)
	if err != nil {
		return nil, err
	}
	defer cleanUp()
	return startGateway(ctx, binary, cfg.gatewayArgs, cfg.redis, host.AnyCPU)
}

// somethingAnswers reports whether the address of a ws:// URL accepts connections.
func somethingAnswers(ctx context.Context, rawURL string) (bool, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return false, err
	}
	host := u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(u.Hostname(), "80")
	}
	d := net.Dialer{Timeout: 5 * time.Second}
	c, err := d.DialContext(ctx, "tcp", host)
	switch {
	case err == nil:
		return true, c.Close()
	case errors.Is(err, syscall.ECONNREFUSED):
		return false, nil
	default:
		return false, err
	}
}

// askGateway learns what is needed about a gateway that was there before us.
func askGateway(ctx context.Context, cfg *config) (*gateway, error) {
	g := &gateway{info: info{URL: cfg.url}, redis: cfg.redis}
	if cfg.admin == "" {
		return g, nil
	}
	admin := newAdminClient(cfg.admin)
	i, err := admin.info(ctx)
	if err == nil && !cfg.given["admin"] && portOf(i.URL) != portOf(cfg.url) {
		err = fmt.Errorf("the one at %s belongs to %s", cfg.admin, i.URL)
	}
	if err != nil {
		g.adminErr = err
		return g, nil
	}
	if g.redis == "" {
		g.redis = i.Redis
	}
	i.URL = cfg.url // as our user reaches it
	g.info, g.admin = i, admin
	g.local = host.IsLocal(i.PID, cfg.admin)
	return g, nil
}

// portOf is the port of a ws:// URL.
func portOf(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil || u.Port() == "" {
		return "80"
	}
	return u.Port()
}

// gatewayBinary finds a gateway to start: the given one, one beside bench, one in PATH, or one built now into dir.
func gatewayBinary(ctx context.Context, given, dir string, stderr io.Writer) (string, error) {
	if given != "" {
		return exec.LookPath(given)
	}
	names := []string{"gateway", "carillon"}
	if self, err := os.Executable(); err == nil {
		for _, name := range names {
			path := filepath.Join(filepath.Dir(self), name)
			if path, err := exec.LookPath(path); err == nil {
				return path, nil
			}
		}
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	const pkg = "github.com/carillon-ws/carillon/gateway"
	path := filepath.Join(dir, "gateway")
	fmt.Fprintln(stderr, "Building the gateway (go build; the first time can take two minutes). Give -gateway PATH to use a built one.")
	build := exec.CommandContext(ctx, "go", "build", "-o", path, pkg)
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w (run bench in Carillon's checkout, or give -gateway PATH)\n%s", pkg, err, strings.TrimSpace(string(out)))
	}
	return path, nil
}

// startGateway starts a gateway on addresses of our own and waits until it is ready.
func startGateway(ctx context.Context, binary string, extra []string, redis string, cpu int) (*gateway, error) {
	addrs, err := host.OwnAddrs(2)
	if err != nil {
		return nil, err
	}
	return launchGateway(ctx, binary, extra, redis, addrs[0], addrs[1], cpu)
}

// launchGateway starts a gateway on these addresses, host:port, and waits until it is ready.
func launchGateway(ctx context.Context, binary string, extra []string, redis, addr, admin string, cpu int) (*gateway, error) {
	args := []string{"serve", "-addr", addr, "-admin", admin}
	if redis != "" {
		args = append(args, "-redis", redis)
	}
	own, err := host.Start(binary, slices.Concat(args, extra), host.Options{CPU: cpu})
	if err != nil {
		return nil, err
	}
	g := &gateway{own: own, admin: newAdminClient("http://" + admin), redis: redis, local: true}
	err = own.Await(ctx, 30*time.Second, g.admin.ready)
	if err == nil {
		g.info, err = g.admin.info(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, own.Stop())
	}
	g.info.PID = own.PID()
	if g.info.URL == "" {
		g.info.URL = "ws://" + addr + "/ws"
	}
	if g.redis == "" {
		g.redis = g.info.Redis
	}
	g.start = func(ctx context.Context) (*gateway, error) {
		return launchGateway(ctx, binary, extra, redis, addr, admin, cpu)
	}
	return g, nil
}

// usage looks at the gateway's process, if it is here.
func (g *gateway) usage() (host.Usage, error) {
	if !g.local {
		return host.Usage{}, nil
	}
	return host.ReadUsage(g.info.PID, g.thread)
}

// metrics reads the gateway's own numbers, after a garbage collection if that is wanted.
func (g *gateway) metrics(ctx context.Context, collect bool) (map[string]float64, error) {
	if collect {
		// A first collection may leave what sync.Pools held; they give it up at the second.
		for range 2 {
			if err := g.admin.collect(ctx); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
		}
	}
	return g.admin.metrics(ctx)
}
