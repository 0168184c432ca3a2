package floor

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/carillon-ws/carillon/bench/host"
)

// Scheme is the URL scheme of a floor server's control address: -redis floor://host:port publishes there.
const Scheme = "floor"

// Mode is how the floor server writes what has piled up.
type Mode string

// Modes.
const (
	Each   Mode = "each"   // one sendto per frame and socket
	Joined Mode = "joined" // the frames of a channel in one sendto per socket
)

// Config is what the flags of `bench floor` say.
type Config struct {
	Addr, Control string
	Mode          Mode
}

// ParseFlags reads the arguments of bench floor.
func ParseFlags(args []string, help io.Writer) (Config, error) {
	cfg := Config{Mode: Each}
	fs := flag.NewFlagSet("bench floor", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&cfg.Addr, "addr", "127.0.0.1:0", "where clients connect (IPv4); port 0 takes a free one")
	fs.StringVar(&cfg.Control, "control", "127.0.0.1:0", "where publications come from: lines of `CHANNEL PAYLOAD`; the line stats is answered")
	fs.Func("mode", "each writes every frame to every socket by itself, joined the frames of a channel at once (default each)", func(v string) error {
		switch m := Mode(v); m {
		case Each, Joined:
			cfg.Mode = m
			return nil
		default:
			return errors.New("must be each or joined")
		}
	})
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(help, "bench floor [flags]   the cheapest server there can be: one thread, one raw sendto per subscriber")
			fs.SetOutput(help)
			fs.PrintDefaults()
			return cfg, err
		}
		return cfg, fmt.Errorf("%w (bench floor -h lists the flags)", err)
	}
	if fs.NArg() > 0 {
		return cfg, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	for name, addr := range map[string]string{"addr": cfg.Addr, "control": cfg.Control} {
		if _, err := net.ResolveTCPAddr("tcp4", addr); err != nil {
			return cfg, fmt.Errorf("-%s %q is not an IPv4 host:port", name, addr)
		}
	}
	return cfg, nil
}

// Stats is what the floor server says about itself: when it starts, when asked, and when it ends.
type Stats struct {
	URL           string  `json:"url"`
	Control       string  `json:"control"` // floor://host:port
	PID           int     `json:"pid"`
	Thread        int     `json:"thread"` // that does all the work
	Connections   int     `json:"connections"`
	Publications  int     `json:"publications"`
	Deliveries    int     `json:"deliveries"`
	Writes        int     `json:"writes"`
	Failed        int     `json:"failed"`        // writes that did not go through whole: that connection was closed
	CPUUs         float64 `json:"cpuUs"`         // user and system time per delivery since the first publication
	UserUs        float64 `json:"userUs"`        // the user part
	ConnectUs     float64 `json:"connectUs"`     // user and system time per connection before the first publication
	ConnectUserUs float64 `json:"connectUserUs"` // the user part
}

// Run is the floor server's whole process.
func Run(ctx context.Context, cfg Config, stdout, stderr io.Writer) error {
	// The loop never gives its processor back while it waits; the goroutine that hears of a signal needs another. The
	// loop allocates nothing once it runs, and a collection would have to wait for it.
	runtime.GOMAXPROCS(2)
	debug.SetGCPercent(-1)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	f, err := Listen(cfg)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := json.NewEncoder(stdout).Encode(f.Stats()); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, f.Stop)()
	if err := f.Serve(); err != nil {
		return err
	}
	s := f.Stats()
	fmt.Fprintf(stderr, "floor (%s): %d connections, %.1f us CPU each; %d deliveries in %d writes, %.2f us CPU each (%.2f user); %d writes failed\n",
		cfg.Mode, s.Connections, s.ConnectUs, s.Deliveries, s.Writes, s.CPUUs, s.UserUs, s.Failed)
	return nil
}

// Stats reads the clocks and counters. Runs on the loop's thread.
func (f *Server) Stats() Stats {
	now := host.ThreadUsage()
	s := Stats{
		URL: "ws://" + f.clients.Addr().String() + "/ws", Control: Scheme + "://" + f.publishers.Addr().String(), PID: os.Getpid(), Thread: f.thread,
		Connections: f.accepted, Publications: f.publications, Deliveries: f.deliveries, Writes: f.writes, Failed: f.failed,
	}
	connected, connections := now, f.accepted
	if f.publications > 0 {
		connected, connections = f.atFirst, f.acceptedAtFirst
	}
	s.ConnectUs = perUnit(connected.CPU-f.atStart.CPU, connections)
	s.ConnectUserUs = perUnit(connected.User-f.atStart.User, connections)
	s.CPUUs = perUnit(now.CPU-connected.CPU, f.deliveries)
	s.UserUs = perUnit(now.User-connected.User, f.deliveries)
	return s
}

func perUnit(d time.Duration, n int) float64 {
	return float64(d.Nanoseconds()) / 1e3 / float64(max(n, 1))
}
