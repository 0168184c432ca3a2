//go:build conformance

package main

import (
	"flag"

	"github.com/carillon-ws/carillon/gateway/server"
)

func init() {
	flagGroups = append(flagGroups, flagGroup{"Conformance", []string{"echo"}})
}

// echoFlag registers -echo, which the shipped binary does not have.
func echoFlag(fs *flag.FlagSet, cfg *server.Config) {
	fs.BoolVar(&cfg.Echo, "echo", false, "send every message back instead of carrying it out, for suites that judge echo servers")
}
