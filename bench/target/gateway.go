package target

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/carillon-ws/carillon/bench/client"
	"github.com/carillon-ws/carillon/bench/floor"
	"github.com/carillon-ws/carillon/bench/host"
	"github.com/carillon-ws/carillon/bench/settings"
)

// Gateway is what a run is about: one that was there, or one of our own.
type Gateway struct {
	Info  Info
	Admin *Admin // nil when there is none
	Redis string // where to publish; empty when nobody told

	adminErr error // why admin is nil, when there should be one

	Own   *host.Child // nil when it was there before us
	Local bool        // info.PID is a process of this machine
	// thread is the one whose CPU time counts, 0 for the whole process: a floor server is its loop, without the
	// runtime's own thread, which wakes up a hundred times a second for nothing.
	Thread int

	Start func(context.Context) (*Gateway, error) // once more, on the same addresses; nil when it is not ours
}

// Stop ends the gateway if it is ours.
func (g *Gateway) Stop() error {
	if g.Own == nil {
		return nil
	}
	return g.Own.Stop()
}

// findGateway asks the gateway at -url, or starts one when nothing answers there.
func findGateway(ctx context.Context, cfg *settings.Config, stderr io.Writer) (*Gateway, error) {
	if !cfg.OwnGateway() {
		answers, err := somethingAnswers(ctx, cfg.URL)
		if err != nil {
			return nil, err
		}
		if answers {
			return askGateway(ctx, cfg)
		}
		if cfg.Given["url"] {
			return nil, fmt.Errorf("nothing answers at %s (without -url, bench starts a gateway for the run)", cfg.URL)
		}
		fmt.Fprintf(stderr, "Nothing answers at %s: starting a gateway for this run.\n", cfg.URL)
	}
	binary, cleanUp, err := Provide(ctx, cfg.Gateway, stderr)
	if err != nil {
		return nil, err
	}
	defer cleanUp()
	return Start(ctx, binary, cfg.GatewayArgs, cfg.Redis, host.AnyCPU)
}

// somethingAnswers reports whether the address of a ws:// URL accepts connections.
func somethingAnswers(ctx context.Context, rawURL string) (bool, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return false, err
	}
	d := net.Dialer{Timeout: 5 * time.Second}
	c, err := d.DialContext(ctx, "tcp", client.HostPort(u))
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
func askGateway(ctx context.Context, cfg *settings.Config) (*Gateway, error) {
	g := &Gateway{Info: Info{URL: cfg.URL}, Redis: cfg.Redis}
	if cfg.Admin == "" {
		return g, nil
	}
	admin := newAdminClient(cfg.Admin)
	i, err := admin.info(ctx)
	if err == nil && !cfg.Given["admin"] && portOf(i.URL) != portOf(cfg.URL) {
		err = fmt.Errorf("the one at %s belongs to %s", cfg.Admin, i.URL)
	}
	if err != nil {
		g.adminErr = err
		return g, nil
	}
	if g.Redis == "" {
		g.Redis = i.Redis
	}
	i.URL = cfg.URL // as our user reaches it
	g.Info, g.Admin = i, admin
	g.Local = host.IsLocal(i.PID, cfg.Admin)
	return g, nil
}

// portOf is the port of a ws:// URL.
func portOf(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return ""
	}
	return cmp.Or(u.Port(), "80")
}

// Provide finds a gateway to start: the given one, one beside bench, one in PATH, or one built now; cleanUp removes that.
func Provide(ctx context.Context, given string, stderr io.Writer) (binary string, cleanUp func(), err error) {
	cleanUp = func() {}
	if given != "" {
		binary, err = exec.LookPath(given)
		return binary, cleanUp, err
	}
	self, _ := os.Executable() // without it, PATH is left
	for _, beside := range []string{filepath.Dir(self) + "/", ""} {
		for _, name := range []string{"gateway", "carillon"} {
			if path, err := exec.LookPath(beside + name); err == nil {
				return path, cleanUp, nil
			}
		}
	}
	dir, err := os.MkdirTemp("", "carillon-bench-")
	if err != nil {
		return "", nil, err
	}
	const pkg = "github.com/carillon-ws/carillon/gateway"
	binary, cleanUp = filepath.Join(dir, "gateway"), func() { _ = os.RemoveAll(dir) } // what stays is in the temporary directory
	fmt.Fprintln(stderr, "Building the gateway (go build; the first time can take two minutes). Give -gateway PATH to use a built one.")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, pkg).CombinedOutput(); err != nil {
		cleanUp()
		return "", nil, fmt.Errorf("go build %s: %w (run bench in Carillon's checkout, or give -gateway PATH)\n%s", pkg, err, bytes.TrimSpace(out))
	}
	return binary, cleanUp, nil
}

// Start starts a gateway on addresses of our own and waits until it is ready.
func Start(ctx context.Context, binary string, extra []string, redis string, cpu int) (*Gateway, error) {
	addrs, err := host.OwnAddrs(2)
	if err != nil {
		return nil, err
	}
	return launchGateway(ctx, binary, extra, redis, addrs[0], addrs[1], cpu)
}

// launchGateway starts a gateway on these addresses, host:port, and waits until it is ready.
func launchGateway(ctx context.Context, binary string, extra []string, redis, addr, admin string, cpu int) (*Gateway, error) {
	args := []string{"serve", "-addr", addr, "-admin", admin}
	if redis != "" {
		args = append(args, "-redis", redis)
	}
	own, err := host.Start(binary, slices.Concat(args, extra), host.Options{CPU: cpu})
	if err != nil {
		return nil, err
	}
	g := &Gateway{Own: own, Admin: newAdminClient("http://" + admin), Redis: redis, Local: true}
	err = own.Await(ctx, 30*time.Second, g.Admin.ready)
	if err == nil {
		g.Info, err = g.Admin.info(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, own.Stop())
	}
	g.Info.PID = own.PID()
	if g.Info.URL == "" {
		g.Info.URL = "ws://" + addr + "/ws"
	}
	if g.Redis == "" {
		g.Redis = g.Info.Redis
	}
	g.Start = func(ctx context.Context) (*Gateway, error) {
		return launchGateway(ctx, binary, extra, redis, addr, admin, cpu)
	}
	return g, nil
}

// metrics reads the gateway's own numbers, after a garbage collection if that is wanted.
func (g *Gateway) metrics(ctx context.Context, collect bool) (map[string]float64, error) {
	for range 2 { // a first collection may leave what sync.Pools held; they give it up at the second
		if !collect {
			break
		}
		if err := g.Admin.collect(ctx); err != nil {
			return nil, err
		}
	}
	return g.Admin.Metrics(ctx)
}

// findTarget is findGateway, or what stands in for one when publications go to a floor server.
func findTarget(ctx context.Context, cfg *settings.Config, stderr io.Writer) (*Gateway, error) {
	u, err := url.Parse(cfg.Redis)
	if err != nil || u.Scheme != floor.Scheme {
		return findGateway(ctx, cfg, stderr)
	}
	p, err := floor.Dial(ctx, u.Host)
	if err != nil {
		return nil, err
	}
	defer p.Close() //nolint:errcheck // the answer has come, or its error is returned
	s, err := p.Stats(ctx)
	if err != nil {
		return nil, fmt.Errorf("floor server at %s: %w", cfg.Redis, err)
	}
	g := &Gateway{Info: Info{Name: "floor", URL: cfg.URL, PID: s.PID, Loops: 1}, Redis: cfg.Redis, Thread: s.Thread}
	g.Local = host.IsLocal(s.PID, "http://"+u.Host)
	return g, nil
}
