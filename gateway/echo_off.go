//go:build !conformance

package main

import (
	"flag"

	"github.com/carillon-ws/carillon/gateway/server"
)

func echoFlag(*flag.FlagSet, *server.Config) {}
