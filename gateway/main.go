// Command gateway is the Carillon notification gateway: it sends what is PUBLISHed in Redis to every WebSocket client
// that subscribed to that channel.
//
//	gateway [serve] [flags]         run the gateway; without -redis it has an embedded Redis
//	gateway demo [flags]            the same on loopback; it publishes a notification every 3 s for the demo page
//	gateway publish CHANNEL DATA    send one notification
//	gateway token -key FILE -sub ID make a token for development
//	gateway doctor -connections N   say what this host lacks for N connections
//	gateway healthcheck             ask a running gateway whether its loops turn; for containers
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
	exitError = 1 // the command failed
	exitUsage = 2 // bad flags or arguments
)

func main() {
	os.Exit(run(untilSignal(), os.Args[1:], os.Stdout, os.Stderr))
}

// untilSignal returns a context that ends with the first SIGTERM or interrupt. The second signal ends the process at
// once. It is not lost, however soon after the first it comes.
func untilSignal() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	go func() {
		<-signals
		cancel()
		second := <-signals
		os.Exit(128 + int(second.(syscall.Signal))) // the status that a shell reports for a process that a signal ended
	}()
	return ctx
}

// run is the whole program in a function that tests can call. It returns the exit status.
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
		return settings.Usagef("unknown command %q; the commands are serve, demo, publish, token, doctor, healthcheck and version", name)
	}
}
