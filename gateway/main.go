// Command gateway is the Carillon notification gateway: what is PUBLISHed in Redis is heard by every WebSocket client
// that subscribed to that channel.
//
//	gateway [serve] [flags]         run the gateway; without -redis with an embedded Redis
//	gateway demo [flags]            the same on loopback, with a notification every 3 s for the demo page
//	gateway publish CHANNEL DATA    send one notification
//	gateway token -key FILE -sub ID make a token for development
//	gateway doctor -connections N   say whether this host holds that many, and what to change
//	gateway healthcheck             ask a running gateway whether it is alive, for containers
//	gateway version
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/carillon-ws/carillon/gateway/settings"
)

// Exit statuses.
const (
	exitOK    = 0
	exitError = 1 // it did not work
	exitUsage = 2 // it was asked for wrongly
)

func main() {
	os.Exit(run(untilSignal(), os.Args[1:], os.Stdout, os.Stderr))
}

// untilSignal returns a context that ends with the first SIGTERM or interrupt. The second leaves at once, however soon
// it comes: one that is sent while the first is being acted on must not be lost.
func untilSignal() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	go func() {
		<-signals
		cancel()
		second := <-signals
		os.Exit(128 + int(second.(syscall.Signal))) // what a shell makes of a signal that ended a process
	}()
	return ctx
}

// run is the whole program, so that tests can be its caller. It returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := command(ctx, args, stdout, stderr)
	var usage settings.UsageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintln(stderr, "gateway: "+err.Error())
		return exitUsage
	default:
		fmt.Fprintln(stderr, "gateway: "+err.Error())
		return exitError
	}
}

func command(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	name := "serve"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	switch name {
	case "serve", "demo":
		cfg, err := settings.Parse(name, args, stdout)
		if err != nil {
			return err
		}
		cfg.Demo = name == "demo"
		return serve(ctx, cfg, stderr)
	case "publish":
		return publish(ctx, args, stdout)
	case "token":
		return token(args, stdout)
	case "doctor":
		return examine(ctx, args, stdout)
	case "healthcheck":
		return healthcheck(ctx, args, stdout)
	case "version":
		if len(args) > 0 {
			return settings.Usagef("version takes no arguments")
		}
		fmt.Fprintln(stdout, versionLine())
		return nil
	case "help":
		_, err := settings.Parse("serve", []string{"-h"}, stdout)
		return err
	default:
		return settings.Usagef("unknown command %q: there are serve, demo, publish, token, doctor, healthcheck and version", name)
	}
}
